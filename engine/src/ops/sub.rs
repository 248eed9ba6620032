//! Subtraction, with broadcasting.
//!
//! forward  y = a − b
//! vjp      ā = ȳ, b̄ = −ȳ
//! Where an operand was broadcast, its cotangent is summed over the repeated axes.
#![doc = include_str!("../explain/text/sub.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::formula;

struct SubOp {
    shapes: [Vec<usize>; 2],
}

impl<B: Backend> Operation<B> for SubOp {
    fn name(&self) -> &'static str {
        "sub"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, needed: &[bool]) -> Vec<Option<B::Array>> {
        let a = needed[0].then(|| backend.sum_to(&y_bar, &self.shapes[0]));
        let b = needed[1].then(|| backend.scale(&backend.sum_to(&y_bar, &self.shapes[1]), -1.0));
        vec![a, b]
    }
}

impl<B: Backend> Tensor<B> {
    /// self − other, in the shape the two broadcast to.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[track_caller]
    pub fn sub(&self, other: &Self) -> Self {
        broadcast_or_panic("sub", self.shape(), other.shape());
        let y = self.backend.zip(formula::Sub, &self.value, &other.value);
        let shapes = [self.shape().to_vec(), other.shape().to_vec()];
        Tensor::record(&self.backend, y, &[self, other], || SubOp { shapes })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let (a, b) = draw.broadcast_shapes();
    Sample::new(function!(|x| x[0].sub(&x[1])), [draw.normal(&a), draw.normal(&b)])
}
