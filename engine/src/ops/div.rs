//! Elementwise division, with broadcasting.
//!
//! forward  y = a/b
//! vjp      ā = ȳ/b, b̄ = −y·ȳ/b           (saves b and y)
//! Where an operand was broadcast, its cotangent is summed over the repeated axes.
#![doc = include_str!("../explain/text/div.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::formula;

struct DivOp<B: Backend> {
    shapes: [Vec<usize>; 2],
    b: B::Array,
    y: B::Array,
}

impl<B: Backend> Operation<B> for DivOp<B> {
    fn name(&self) -> &'static str {
        "div"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, needed: &[bool]) -> Vec<Option<B::Array>> {
        let quotient = backend.zip(formula::Div, &y_bar, &self.b);
        let a = needed[0].then(|| backend.sum_to(&quotient, &self.shapes[0]));
        let b = needed[1].then(|| backend.scale(&backend.sum_to(&backend.zip(formula::Mul, &quotient, &self.y), &self.shapes[1]), -1.0));
        vec![a, b]
    }
}

impl<B: Backend> Tensor<B> {
    /// self/other elementwise, in the shape the two broadcast to.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[track_caller]
    pub fn div(&self, other: &Self) -> Self {
        broadcast_or_panic("div", self.shape(), other.shape());
        let y = self.backend.zip(formula::Div, &self.value, &other.value);
        let saved = y.clone();
        let shapes = [self.shape().to_vec(), other.shape().to_vec()];
        Tensor::record(&self.backend, y, &[self, other], || DivOp { shapes, b: other.value.clone(), y: saved })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let (a, b) = draw.broadcast_shapes();
    Sample::new(function!(|x| x[0].div(&x[1])), [draw.normal(&a), draw.away_from_zero(&b)])
}
