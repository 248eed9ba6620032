//! Axes in another order, as a view.
//!
//! forward  axis i of y is axis p(i) of x
//! vjp      x̄ = ȳ permuted by p⁻¹
#![doc = include_str!("../explain/text/permute.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct Permute {
    inverse: Vec<usize>,
}

impl<B: Backend> Operation<B> for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        vec![Some(backend.permute(&y_bar, &self.inverse))]
    }
}

impl<B: Backend> Tensor<B> {
    /// The view whose axis i is axis `axes[i]` of this tensor.
    ///
    /// # Panics
    /// If `axes` is not a permutation of this tensor's axes.
    #[track_caller]
    pub fn permute(&self, axes: &[usize]) -> Self {
        let mut inverse = vec![usize::MAX; self.rank()];
        for (i, &axis) in axes.iter().enumerate() {
            assert!(axis < self.rank() && inverse[axis] == usize::MAX, "permute: {axes:?} is no permutation of the axes of {:?}", self.shape());
            inverse[axis] = i;
        }
        assert!(axes.len() == self.rank(), "permute: {axes:?} is no permutation of the axes of {:?}", self.shape());
        let y = self.backend.permute(&self.value, axes);
        Tensor::record(&self.backend, y, &[self], || Permute { inverse })
    }

    /// The view with the last two axes exchanged.
    ///
    /// # Panics
    /// If there are fewer than two axes.
    #[track_caller]
    pub fn t(&self) -> Self {
        assert!(self.rank() >= 2, "t: {:?} has fewer than two axes", self.shape());
        let mut axes: Vec<usize> = (0..self.rank()).collect();
        axes.swap(self.rank() - 2, self.rank() - 1);
        self.permute(&axes)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = [draw.extent(), draw.extent(), draw.extent()];
    let axes = draw.permutation(3);
    Sample::new(function!(|x; axes: Vec<usize>| x[0].permute(axes)), [draw.normal(&shape)])
}
