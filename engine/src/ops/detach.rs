//! A value cut from the computation that made it.
//!
//! forward  y = x
//! vjp      none: y is a constant
#![doc = include_str!("../explain/text/detach.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::formula::Formula;

impl<B: Backend> Tensor<B> {
    /// The same value as a constant: no gradient flows through it.
    pub fn detach(&self) -> Self {
        Tensor { backend: self.backend.clone(), value: self.value.clone(), node: None }
    }

    /// f(a, b) of every pair of elements of this tensor and another, broadcasting, as a constant: no gradient flows through it.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[track_caller]
    pub fn detached_zip<F: Formula<2>>(&self, f: F, other: &Self) -> Self {
        broadcast_or_panic("detached_zip", self.shape(), other.shape());
        Self::from_array(&self.backend, self.backend.zip(f, &self.value, &other.value))
    }
}

/// x∘detach(e^c): differences in x agree with the walk only if the detached factor is the value it should be and a constant.
pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    let (fixed, inputs) = (draw.normal(&shape), draw.normal(&shape));
    let data = fixed.data;
    Sample::new(
        function!(|x; data: Vec<f64>| {
            let fixed = Tensor::parameter(x[0].backend(), data, x[0].shape());
            x[0].mul(&fixed.exp().detach())
        }),
        [inputs],
    )
}

#[cfg(test)]
mod tests {
    use crate::formula::Mul;
    use crate::{Cpu, Tensor};

    #[test]
    fn no_gradient_flows_through_a_detached_value() {
        let x = Tensor::parameter(&Cpu::<f64>::new(), &[3.0], &[1]);
        let gradients = x.mul(&x.detach()).sum_all().backward();
        assert_eq!(gradients.of(&x).to_f64(), [3.0]);
    }

    #[test]
    fn no_gradient_flows_through_a_detached_function_of_two() {
        let x = Tensor::parameter(&Cpu::<f64>::new(), &[3.0, 4.0], &[2]);
        let product = x.detached_zip(Mul, &Tensor::full(x.backend(), 2.0, &[]));
        assert_eq!(product.to_f64(), [6.0, 8.0]);
        assert!(!product.is_differentiable());
    }
}
