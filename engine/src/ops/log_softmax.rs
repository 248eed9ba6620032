//! The logarithm of softmax over the last axis.
//!
//! forward  yᵢ = xᵢ − m − ln Σⱼ e^{xⱼ − m}, m = max x
//! vjp      x̄ᵢ = ȳᵢ − e^{yᵢ}·Σⱼ ȳⱼ           (saves y, not x)
#![doc = include_str!("../explain/text/log_softmax.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct LogSoftmax<B: Backend> {
    y: B::Array,
}

impl<B: Backend> Operation<B> for LogSoftmax<B> {
    fn name(&self) -> &'static str {
        "log_softmax"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        vec![Some(backend.log_softmax_vjp(&self.y, &y_bar))]
    }
}

impl<B: Backend> Tensor<B> {
    /// x − ln Σ e^x over the last axis, in the shape of x; finite for every finite input.
    ///
    /// # Panics
    /// If the tensor is a scalar.
    #[track_caller]
    pub fn log_softmax(&self) -> Self {
        assert!(self.rank() > 0, "log_softmax: a scalar has no last axis");
        let y = self.backend.log_softmax(&self.value);
        Tensor::record(&self.backend, y.clone(), &[self], || LogSoftmax { y })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    Sample::new(function!(|x| x[0].log_softmax()), [draw.logits(&shape)]).with_twin(function!(|x| {
        let last = x[0].rank() - 1;
        let kept = with_axis(x[0].shape(), last, 1);
        let shifted = x[0].sub(&x[0].max(last).detach().reshape(&kept));
        shifted.sub(&shifted.logsumexp().reshape(&kept))
    }))
    .with_inner_magnitude(1.0)
}
