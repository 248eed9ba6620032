//! Part of an axis, as a view.
//!
//! forward  y = x[.., start..end, ..]
//! vjp      x̄ = ȳ between zeros
#![doc = include_str!("../explain/text/slice.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct SliceOp {
    shape: Vec<usize>,
    axis: usize,
    start: usize,
    end: usize,
}

impl<B: Backend> Operation<B> for SliceOp {
    fn name(&self) -> &'static str {
        "slice"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        let zeros = |extent: usize| backend.full(0.0, &with_axis(&self.shape, self.axis, extent));
        let (before, after) = (zeros(self.start), zeros(self.shape[self.axis] - self.end));
        vec![Some(backend.concat(&[&before, &y_bar, &after], self.axis))]
    }
}

impl<B: Backend> Tensor<B> {
    /// The view of positions `start..end` of an axis.
    ///
    /// # Panics
    /// If the axis or the range is not inside the shape.
    #[track_caller]
    pub fn slice(&self, axis: usize, start: usize, end: usize) -> Self {
        check_axis("slice", self.shape(), axis);
        assert!(start <= end && end <= self.shape()[axis], "slice: {start}..{end} is not inside axis {axis} of {:?}", self.shape());
        let y = self.backend.slice(&self.value, axis, start, end);
        Tensor::record(&self.backend, y, &[self], || SliceOp { shape: self.shape().to_vec(), axis, start, end })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = [draw.extent(), draw.extent(), draw.extent()];
    let axis = draw.below(3);
    let start = draw.below(shape[axis]);
    let end = start + 1 + draw.below(shape[axis] - start);
    Sample::new(function!(|x; axis: usize, start: usize, end: usize| x[0].slice(*axis, *start, *end)), [draw.normal(&shape)])
}
