//! Sums.
//!
//! forward  y = Σ x along an axis, which is dropped
//! vjp      x̄ = ȳ repeated along the axis
#![doc = include_str!("../explain/text/sum.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct SumAxis {
    shape: Vec<usize>,
    axis: usize,
}

impl<B: Backend> Operation<B> for SumAxis {
    fn name(&self) -> &'static str {
        "sum"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        let kept = backend.reshape(&y_bar, &with_axis(&self.shape, self.axis, 1));
        vec![Some(backend.broadcast_to(&kept, &self.shape))]
    }
}

impl<B: Backend> Tensor<B> {
    /// Σ along an axis, which is dropped from the shape.
    ///
    /// # Panics
    /// If there is no such axis.
    #[track_caller]
    pub fn sum(&self, axis: usize) -> Self {
        check_axis("sum", self.shape(), axis);
        let mut shape = self.shape().to_vec();
        shape.remove(axis);
        let y = self.backend.reshape(&self.backend.sum(&self.value, axis), &shape);
        Tensor::record(&self.backend, y, &[self], || SumAxis { shape: self.shape().to_vec(), axis })
    }

    /// Σ of all elements: a scalar of shape [].
    pub fn sum_all(&self) -> Self {
        self.reshape(&[self.len()]).sum(0)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = [draw.extent(), draw.extent(), draw.extent()];
    let axis = draw.below(3);
    Sample::new(function!(|x; axis: usize| x[0].sum(*axis)), [draw.normal(&shape)])
}
