//! The gated linear unit with silu (Shazeer 2020), without its matrices.
//!
//! forward  y = silu(g)∘u
//! vjp      ḡ = silu′(g)∘u∘ȳ, ū = silu(g)∘ȳ          (saves g and u)
#![doc = include_str!("../explain/text/swiglu.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct Swiglu<B: Backend> {
    gate: B::Array,
    up: B::Array,
}

impl<B: Backend> Operation<B> for Swiglu<B> {
    fn name(&self) -> &'static str {
        "swiglu"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        let (gate, up) = backend.swiglu_vjp(&self.gate, &self.up, &y_bar);
        vec![Some(gate), Some(up)]
    }
}

impl<B: Backend> Tensor<B> {
    /// silu(self)∘up, in their common shape.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn swiglu(&self, up: &Self) -> Self {
        assert_eq!(self.shape(), up.shape(), "swiglu: the gate and the up projection differ in shape");
        let y = self.backend.swiglu(&self.value, &up.value);
        Tensor::record(&self.backend, y, &[self, up], || Swiglu { gate: self.value.clone(), up: up.value.clone() })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    let inputs = [draw.normal(&shape), draw.normal(&shape)];
    Sample::new(function!(|x| x[0].swiglu(&x[1])), inputs).with_twin(function!(|x| x[0].silu().mul(&x[1])))
}
