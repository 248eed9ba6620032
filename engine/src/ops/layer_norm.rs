//! Layer normalisation over the last axis (Ba, Kiros, Hinton 2016).
//!
//! forward  y = (x − μ)·s, μ = mean x, s = 1/√(mean (x − μ)² + ε); then y∘gain + bias
//! vjp      x̄ = s·(ȳ − mean ȳ − y·mean(ȳ∘y))            (saves y and s)
#![doc = include_str!("../explain/text/layer_norm.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct LayerNorm<B: Backend> {
    y: B::Array,
    s: B::Array,
}

impl<B: Backend> Operation<B> for LayerNorm<B> {
    fn name(&self) -> &'static str {
        "layer_norm"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        vec![Some(backend.layer_norm_vjp(&self.y, &self.s, &y_bar))]
    }
}

impl<B: Backend> Tensor<B> {
    /// (x − mean x)/√(var x + ε) over the last axis, times `gain` plus `bias` (both of the last axis' extent, or broadcast to it).
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[track_caller]
    pub fn layer_norm(&self, gain: &Self, bias: &Self, epsilon: f64) -> Self {
        assert!(self.rank() > 0, "layer_norm: a scalar has no last axis");
        broadcast_or_panic("layer_norm", self.shape(), gain.shape());
        broadcast_or_panic("layer_norm", self.shape(), bias.shape());
        let (y, s) = self.backend.layer_norm(&self.value, epsilon);
        Tensor::record(&self.backend, y.clone(), &[self], || LayerNorm { y, s }).mul(gain).add(bias)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    let width = [shape[shape.len() - 1]];
    let inputs = [draw.normal(&shape), draw.normal(&width), draw.normal(&width)];
    Sample::new(function!(|x| x[0].layer_norm(&x[1], &x[2], 1e-2)), inputs).with_twin(function!(|x| {
        let last = x[0].rank() - 1;
        let kept = with_axis(x[0].shape(), last, 1);
        let centred = x[0].sub(&x[0].mean(last).reshape(&kept));
        let variance = centred.mul(&centred).mean(last).reshape(&kept);
        let epsilon = Tensor::full(x[0].backend(), 1e-2, &[]);
        centred.div(&variance.add(&epsilon).sqrt()).mul(&x[1]).add(&x[2])
    }))
}
