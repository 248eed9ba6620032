//! Means, as a sum and a scale.
//!
//! forward  y = Σ x/n along an axis of extent n, which is dropped
//! vjp      x̄ = ȳ/n repeated along the axis
#![doc = include_str!("../explain/text/mean.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

impl<B: Backend> Tensor<B> {
    /// The mean along an axis, which is dropped from the shape; NaN over nothing.
    ///
    /// # Panics
    /// If there is no such axis.
    #[track_caller]
    pub fn mean(&self, axis: usize) -> Self {
        check_axis("mean", self.shape(), axis);
        self.sum(axis).scale(1.0 / self.shape()[axis] as f64)
    }

    /// The mean of all elements: a scalar of shape []; NaN over nothing.
    pub fn mean_all(&self) -> Self {
        self.sum_all().scale(1.0 / self.len() as f64)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = [draw.extent(), draw.extent(), draw.extent()];
    let axis = draw.below(3);
    Sample::new(function!(|x; axis: usize| x[0].mean(*axis)), [draw.normal(&shape)])
}
