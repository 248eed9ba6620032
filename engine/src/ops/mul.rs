//! Elementwise multiplication, with broadcasting.
//!
//! forward  y = a·b
//! vjp      ā = b·ȳ, b̄ = a·ȳ              (saves a and b)
//! Where an operand was broadcast, its cotangent is summed over the repeated axes.
#![doc = include_str!("../explain/text/mul.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::formula;

struct MulOp<B: Backend> {
    shapes: [Vec<usize>; 2],
    a: B::Array,
    b: B::Array,
}

impl<B: Backend> Operation<B> for MulOp<B> {
    fn name(&self) -> &'static str {
        "mul"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, needed: &[bool]) -> Vec<Option<B::Array>> {
        let factor = |other: &B::Array, i: usize| backend.sum_to(&backend.zip(formula::Mul, &y_bar, other), &self.shapes[i]);
        vec![needed[0].then(|| factor(&self.b, 0)), needed[1].then(|| factor(&self.a, 1))]
    }
}

impl<B: Backend> Tensor<B> {
    /// self·other elementwise, in the shape the two broadcast to.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[track_caller]
    pub fn mul(&self, other: &Self) -> Self {
        broadcast_or_panic("mul", self.shape(), other.shape());
        let y = self.backend.zip(formula::Mul, &self.value, &other.value);
        let shapes = [self.shape().to_vec(), other.shape().to_vec()];
        Tensor::record(&self.backend, y, &[self, other], || MulOp { shapes, a: self.value.clone(), b: other.value.clone() })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let (a, b) = draw.broadcast_shapes();
    Sample::new(function!(|x| x[0].mul(&x[1])), [draw.normal(&a), draw.normal(&b)])
}
