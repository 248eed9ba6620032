//! Addition, with broadcasting.
//!
//! forward  y = a + b
//! vjp      ā = ȳ, b̄ = ȳ
//! Where an operand was broadcast, its cotangent is summed over the repeated axes.
#![doc = include_str!("../explain/text/add.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::formula;

struct AddOp {
    shapes: [Vec<usize>; 2],
}

impl<B: Backend> Operation<B> for AddOp {
    fn name(&self) -> &'static str {
        "add"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, needed: &[bool]) -> Vec<Option<B::Array>> {
        let to = |i: usize| needed[i].then(|| backend.sum_to(&y_bar, &self.shapes[i]));
        vec![to(0), to(1)]
    }
}

impl<B: Backend> Tensor<B> {
    /// self + other, in the shape the two broadcast to.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[track_caller]
    pub fn add(&self, other: &Self) -> Self {
        broadcast_or_panic("add", self.shape(), other.shape());
        let y = self.backend.zip(formula::Add, &self.value, &other.value);
        let shapes = [self.shape().to_vec(), other.shape().to_vec()];
        Tensor::record(&self.backend, y, &[self, other], || AddOp { shapes })
    }

    /// self + other for tensors of one shape, in self's own storage where nothing else shares that.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn into_add(self, other: &Self) -> Self {
        assert_eq!(self.shape(), other.shape(), "into_add: the shapes differ");
        let shapes = [self.shape().to_vec(), other.shape().to_vec()];
        self.record_into(&[other], |backend, x| backend.accumulate(x, &other.value), || AddOp { shapes })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let (a, b) = draw.broadcast_shapes();
    Sample::new(function!(|x| x[0].add(&x[1])), [draw.normal(&a), draw.normal(&b)])
}
