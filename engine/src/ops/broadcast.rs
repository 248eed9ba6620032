//! Repetition along axes of extent 1 and new leading axes.
//!
//! forward  y = x repeated
//! vjp      x̄ = Σ ȳ over the repeated axes
#![doc = include_str!("../explain/text/broadcast.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct Broadcast {
    shape: Vec<usize>,
}

impl<B: Backend> Operation<B> for Broadcast {
    fn name(&self) -> &'static str {
        "broadcast"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        vec![Some(backend.sum_to(&y_bar, &self.shape))]
    }
}

impl<B: Backend> Tensor<B> {
    /// This tensor repeated to `shape`.
    ///
    /// # Panics
    /// If it does not broadcast to `shape`.
    #[track_caller]
    pub fn broadcast(&self, shape: &[usize]) -> Self {
        let reached = broadcast_or_panic("broadcast", self.shape(), shape);
        assert!(reached == shape, "broadcast: {:?} does not broadcast to {shape:?}", self.shape());
        let y = self.backend.broadcast_to(&self.value, shape);
        Tensor::record(&self.backend, y, &[self], || Broadcast { shape: self.shape().to_vec() })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let (a, b) = draw.broadcast_shapes();
    let target = broadcast_or_panic("sample", &a, &b);
    Sample::new(function!(|x; target: Vec<usize>| x[0].broadcast(target)), [draw.normal(&a)])
}
