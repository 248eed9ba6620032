//! Root-mean-square normalisation over the last axis (Zhang and Sennrich 2019).
//!
//! forward  y = x·s, s = 1/√(mean x² + ε); then y∘gain
//! vjp      x̄ = s·(ȳ − y·mean(ȳ∘y))                      (saves y and s)
#![doc = include_str!("../explain/text/rms_norm.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

/// 1/√(x + ε).
#[derive(Clone, Copy, Debug)]
pub struct InverseRoot(pub f64);

impl Unary for InverseRoot {
    const NAME: &'static str = "inverse_root";
    const SAVES: Saves = Saves::Output;
    #[inline(always)]
    fn value<T: Scalar>(self, x: T) -> T {
        T::one() / (x + T::from_f64(self.0)).sqrt()
    }
    #[inline(always)]
    fn derivative<T: Scalar>(self, y: T) -> T {
        T::from_f64(-0.5) * y * y * y
    }
}

struct RmsNorm<B: Backend> {
    y: B::Array,
    s: B::Array,
}

impl<B: Backend> Operation<B> for RmsNorm<B> {
    fn name(&self) -> &'static str {
        "rms_norm"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        vec![Some(backend.rms_norm_vjp(&self.y, &self.s, &y_bar))]
    }
}

impl<B: Backend> Tensor<B> {
    /// x/√(mean x² + ε) over the last axis, times `gain` (of the last axis' extent, or broadcast to it).
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[track_caller]
    pub fn rms_norm(&self, gain: &Self, epsilon: f64) -> Self {
        assert!(self.rank() > 0, "rms_norm: a scalar has no last axis");
        broadcast_or_panic("rms_norm", self.shape(), gain.shape());
        let (y, s) = self.backend.rms_norm(&self.value, epsilon);
        Tensor::record(&self.backend, y.clone(), &[self], || RmsNorm { y, s }).mul(gain)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    let inputs = [draw.normal(&shape), draw.normal(&shape[shape.len() - 1..])];
    Sample::new(function!(|x| x[0].rms_norm(&x[1], 1e-2)), inputs).with_twin(function!(|x| {
        let last = x[0].rank() - 1;
        let mean_square = x[0].mul(&x[0]).mean(last).reshape(&with_axis(x[0].shape(), last, 1));
        let epsilon = Tensor::full(x[0].backend(), 1e-2, &[]);
        x[0].div(&mean_square.add(&epsilon).sqrt()).mul(&x[1])
    }))
}
