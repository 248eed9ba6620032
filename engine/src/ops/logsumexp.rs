//! The logarithm of a sum of exponentials over the last axis, of all entries or of those a mask keeps.
//!
//! forward  y = m + ln Σⱼ e^{xⱼ − m}, m = max x; a masked entry counts as −∞
//! vjp      x̄ⱼ = e^{xⱼ − y}·ȳ, 0 where masked         (saves x and y)
//!
//! A row with nothing left gives −∞ and passes no cotangent on.
#![doc = include_str!("../explain/text/logsumexp.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::backend::{Add, Mul, Sub};
use crate::ops::exp::Exp;

/// x where it is finite, else 0: keeps −∞ − (−∞) out of a difference.
#[derive(Clone, Copy, Debug)]
pub struct FiniteOrZero;

impl Unary for FiniteOrZero {
    const NAME: &'static str = "finite_or_zero";
    const SAVES: Saves = Saves::Input;
    #[inline(always)]
    fn value<T: Scalar>(self, x: T) -> T {
        if x.is_finite() || x.is_nan() { x } else { T::zero() }
    }
    #[inline(always)]
    fn derivative<T: Scalar>(self, x: T) -> T {
        if x.is_finite() { T::one() } else { T::zero() }
    }
}

struct Logsumexp<B: Backend> {
    /// The input, with −∞ where masked.
    x: B::Array,
    /// The output, with the last axis kept at extent 1.
    y: B::Array,
}

impl<B: Backend> Operation<B> for Logsumexp<B> {
    fn name(&self) -> &'static str {
        "logsumexp"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        let p = backend.map(Exp, &backend.zip(Sub, &self.x, &backend.map(FiniteOrZero, &self.y)));
        vec![Some(backend.zip(Mul, &p, &backend.reshape(&y_bar, backend.shape(&self.y))))]
    }
}

impl<B: Backend> Tensor<B> {
    /// ln Σ e^x over the last axis, which is dropped.
    ///
    /// # Panics
    /// If the tensor is a scalar.
    #[track_caller]
    pub fn logsumexp(&self) -> Self {
        assert!(self.rank() > 0, "logsumexp: a scalar has no last axis");
        self.logsumexp_of(self.value.clone())
    }

    /// ln Σ e^x over the entries of the last axis that `keep` (one for each element, row-major) says, −∞ where it keeps none.
    ///
    /// # Panics
    /// If the tensor is a scalar or `keep` has another number of elements.
    #[track_caller]
    pub fn masked_logsumexp(&self, keep: &[bool]) -> Self {
        assert!(self.rank() > 0, "masked_logsumexp: a scalar has no last axis");
        assert!(keep.len() == self.len(), "masked_logsumexp: a mask of {} for {:?}", keep.len(), self.shape());
        let mask = keep.iter().map(|&keep| if keep { B::Scalar::zero() } else { B::Scalar::neg_infinity() }).collect();
        self.logsumexp_of(self.backend.zip(Add, &self.value, &self.backend.from_vec(mask, self.shape())))
    }

    fn logsumexp_of(&self, x: B::Array) -> Self {
        let y = self.backend.logsumexp(&x);
        let dropped = self.backend.reshape(&y, &self.shape()[..self.rank() - 1]);
        Tensor::record(&self.backend, dropped, &[self], || Logsumexp { x, y })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    if draw.coin() {
        return Sample::new(function!(|x| x[0].logsumexp()), [draw.logits(&shape)])
            .with_twin(function!(|x| {
                let rows = x[0].shape()[..x[0].rank() - 1].to_vec();
                let kept = [&rows[..], &[1]].concat();
                let m = x[0].max(x[0].rank() - 1).detach();
                x[0].sub(&m.reshape(&kept)).exp().sum(x[0].rank() - 1).ln().add(&m)
            }))
            .with_inner_magnitude(1.0);
    }
    let width = shape[shape.len() - 1];
    let keep: Vec<bool> = (0..count(&shape)).map(|i| i % width == 0 || draw.coin()).collect();
    Sample::new(function!(|x; keep: Vec<bool>| x[0].masked_logsumexp(keep)), [draw.logits(&shape)]).with_inner_magnitude(1.0)
}

#[cfg(test)]
mod tests {
    use crate::{Cpu, Tensor};

    #[test]
    fn a_row_with_nothing_left_is_minus_infinity_and_passes_nothing_on() {
        let x = Tensor::parameter(&Cpu::<f64>::new(), &[1.0, 2.0], &[1, 2]);
        let y = x.masked_logsumexp(&[false, false]);
        assert_eq!(y.to_f64(), [f64::NEG_INFINITY]);
        assert_eq!(y.sum_all().backward().of(&x).to_f64(), [0.0, 0.0]);
    }
}
