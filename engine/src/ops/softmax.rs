//! Softmax over the last axis.
//!
//! forward  yᵢ = e^{xᵢ − m}/Σⱼ e^{xⱼ − m}, m = max x
//! vjp      x̄ᵢ = yᵢ(ȳᵢ − Σⱼ ȳⱼyⱼ)            (saves y, not x)
#![doc = include_str!("../explain/text/softmax.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct Softmax<B: Backend> {
    y: B::Array,
}

impl<B: Backend> Operation<B> for Softmax<B> {
    fn name(&self) -> &'static str {
        "softmax"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        vec![Some(backend.softmax_vjp(&self.y, &y_bar))]
    }
}

impl<B: Backend> Tensor<B> {
    /// e^x/Σ e^x over the last axis, in the shape of x; finite for every finite input.
    ///
    /// # Panics
    /// If the tensor is a scalar.
    #[track_caller]
    pub fn softmax(&self) -> Self {
        assert!(self.rank() > 0, "softmax: a scalar has no last axis");
        let y = self.backend.softmax(&self.value);
        Tensor::record(&self.backend, y.clone(), &[self], || Softmax { y })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    Sample::new(function!(|x| x[0].softmax()), [draw.logits(&shape)]).with_twin(function!(|x| x[0].log_softmax().exp()))
}
