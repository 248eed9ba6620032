//! The same elements in row-major order under another shape.
//!
//! forward  y = x with another shape
//! vjp      x̄ = ȳ with the shape of x
#![doc = include_str!("../explain/text/reshape.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct Reshape {
    shape: Vec<usize>,
}

impl<B: Backend> Operation<B> for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        vec![Some(backend.reshape(&y_bar, &self.shape))]
    }
}

impl<B: Backend> Tensor<B> {
    /// The same elements in row-major order under `shape`.
    ///
    /// # Panics
    /// If the number of elements differs.
    #[track_caller]
    pub fn reshape(&self, shape: &[usize]) -> Self {
        assert!(count(shape) == self.len(), "reshape: {:?} has {} elements, {shape:?} has {}", self.shape(), self.len(), count(shape));
        let y = self.backend.reshape(&self.value, shape);
        Tensor::record(&self.backend, y, &[self], || Reshape { shape: self.shape().to_vec() })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let [a, b, c] = [draw.extent(), draw.extent(), draw.extent()];
    let target = vec![c, a * b];
    Sample::new(function!(|x; target: Vec<usize>| x[0].permute(&[1, 0, 2]).reshape(target)), [draw.normal(&[a, b, c])])
}
