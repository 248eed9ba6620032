//! The signs `+ − * /` between tensors, borrowed or owned, and between a tensor and a number. Each is the op of its name, with
//! broadcasting.

use crate::backend::Backend;
use crate::tensor::Tensor;
use std::ops::{Add, Div, Mul, Neg, Sub};

macro_rules! between_tensors {
    ($($trait:ident $method:ident),*) => {$(
        between_tensors!(@ $trait $method, &Tensor<B>, &Tensor<B>);
        between_tensors!(@ $trait $method, &Tensor<B>, Tensor<B>);
        between_tensors!(@ $trait $method, Tensor<B>, &Tensor<B>);
        between_tensors!(@ $trait $method, Tensor<B>, Tensor<B>);
    )*};
    (@ $trait:ident $method:ident, $left:ty, $right:ty) => {
        impl<B: Backend> $trait<$right> for $left {
            type Output = Tensor<B>;
            #[track_caller]
            fn $method(self, other: $right) -> Tensor<B> {
                Tensor::$method(&self, &other)
            }
        }
    };
}
between_tensors!(Add add, Sub sub, Mul mul, Div div);

macro_rules! of_one_tensor {
    ($($own:ty),*) => {$(
        impl<B: Backend> Neg for $own {
            type Output = Tensor<B>;
            fn neg(self) -> Tensor<B> {
                Tensor::neg(&self)
            }
        }
        impl<B: Backend> Mul<f64> for $own {
            type Output = Tensor<B>;
            fn mul(self, factor: f64) -> Tensor<B> {
                self.scale(factor)
            }
        }
        impl<B: Backend> Mul<$own> for f64 {
            type Output = Tensor<B>;
            fn mul(self, x: $own) -> Tensor<B> {
                x.scale(self)
            }
        }
        impl<B: Backend> Div<f64> for $own {
            type Output = Tensor<B>;
            fn div(self, divisor: f64) -> Tensor<B> {
                Tensor::div(&self, &Tensor::full(self.backend(), divisor, &[]))
            }
        }
        impl<B: Backend> Add<f64> for $own {
            type Output = Tensor<B>;
            fn add(self, term: f64) -> Tensor<B> {
                Tensor::add(&self, &Tensor::full(self.backend(), term, &[]))
            }
        }
        impl<B: Backend> Sub<f64> for $own {
            type Output = Tensor<B>;
            fn sub(self, term: f64) -> Tensor<B> {
                Tensor::sub(&self, &Tensor::full(self.backend(), term, &[]))
            }
        }
        impl<B: Backend> Add<$own> for f64 {
            type Output = Tensor<B>;
            fn add(self, x: $own) -> Tensor<B> {
                Tensor::add(&Tensor::full(x.backend(), self, &[]), &x)
            }
        }
        impl<B: Backend> Sub<$own> for f64 {
            type Output = Tensor<B>;
            fn sub(self, x: $own) -> Tensor<B> {
                Tensor::sub(&Tensor::full(x.backend(), self, &[]), &x)
            }
        }
        impl<B: Backend> Div<$own> for f64 {
            type Output = Tensor<B>;
            fn div(self, x: $own) -> Tensor<B> {
                Tensor::div(&Tensor::full(x.backend(), self, &[]), &x)
            }
        }
    )*};
}
of_one_tensor!(&Tensor<B>, Tensor<B>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;

    #[test]
    fn signs_are_the_ops_with_their_gradients() {
        let cpu = Cpu::<f64>::new();
        let a = Tensor::parameter(&cpu, &[1.0, 2.0, 4.0], &[3]);
        let b = Tensor::parameter(&cpu, &[2.0], &[1]);
        let y = (&a * &b + 1.0 / &a - &b) / 2.0 - -&a * 3.0 + (2.0 * &b - 1.0);
        let by_name = |a: f64| (a * 2.0 + 1.0 / a - 2.0) / 2.0 + 3.0 * a + 3.0;
        assert_eq!(y.to_f64(), [1.0, 2.0, 4.0].map(by_name));
        let gradients = y.sum_all().backward();
        assert_eq!(gradients.of(&a).to_f64(), [1.0, 2.0, 4.0].map(|a| (2.0 - 1.0 / (a * a)) / 2.0 + 3.0));
        assert_eq!(gradients.of(&b).to_f64(), [(1.0 + 2.0 + 4.0 - 3.0) / 2.0 + 6.0]);
    }
}
