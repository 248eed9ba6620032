//! Root-mean-square normalisation over the last axis (Zhang and Sennrich 2019).
//!
//! forward  y = x̂∘g, x̂ = x·s, s = 1/√(mean x² + ε), g the gain
//! vjp      x̄ = s·(ȳ∘g − x̂·mean(ȳ∘g∘x̂)), ḡ = Σ ȳ∘x̂ over the rows      (saves x, g and s)
//!
//! A gain that is not one vector for all rows is multiplied on afterwards, as an op of its own.
#![doc = include_str!("../explain/text/rms_norm.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::tape::add_cotangents;

struct ScaledRmsNorm<B: Backend> {
    x: B::Array,
    gain: B::Array,
    s: B::Array,
}

impl<B: Backend> Operation<B> for ScaledRmsNorm<B> {
    fn name(&self) -> &'static str {
        "rms_norm"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        let (x, gain) = backend.scaled_rms_norm_vjp(&self.x, &self.gain, &self.s, &y_bar);
        vec![Some(x), Some(gain)]
    }
    fn vjp_added(&self, backend: &B, y_bar: B::Array, needed: &[bool], mut sums: Vec<Option<B::Array>>) -> Vec<Option<B::Array>> {
        let Some(sum) = sums[0].take() else { return add_cotangents(backend, "rms_norm", sums, self.vjp(backend, y_bar, needed)) };
        let (x, gain) = backend.scaled_rms_norm_vjp_to(sum, &self.x, &self.gain, &self.s, &y_bar);
        add_cotangents(backend, "rms_norm", sums, vec![Some(x), Some(gain)])
    }
}

/// Without a gain; saves x̂ and s.
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
        if gain.shape() == &self.shape()[self.rank() - 1..] {
            let (y, s) = self.backend.scaled_rms_norm(&self.value, &gain.value, epsilon);
            let saved = || ScaledRmsNorm { x: self.value.clone(), gain: gain.value.clone(), s };
            return Tensor::record(&self.backend, y, &[self, gain], saved);
        }
        let (y, s) = self.backend.rms_norm(&self.value, epsilon);
        Tensor::record(&self.backend, y.clone(), &[self], || RmsNorm { y, s }).mul(gain)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    let gain = if draw.coin() { &shape[shape.len() - 1..] } else { &shape[..] };
    let inputs = [draw.normal(&shape), draw.normal(gain)];
    Sample::new(function!(|x| x[0].rms_norm(&x[1], 1e-2)), inputs).with_twin(function!(|x| {
        let last = x[0].rank() - 1;
        let mean_square = x[0].mul(&x[0]).mean(last).reshape(&with_axis(x[0].shape(), last, 1));
        let epsilon = Tensor::full(x[0].backend(), 1e-2, &[]);
        x[0].div(&mean_square.add(&epsilon).sqrt()).mul(&x[1])
    }))
}
