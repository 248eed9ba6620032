//! Entries added into numbered entries of the last axis: the adjoint of `gather`.
//!
//! forward  y[r, i] = Σ over j with index[r, j] = i of x[r, j]
//! vjp      x̄[r, j] = ȳ[r, index[r, j]]
#![doc = include_str!("../explain/text/scatter_add.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct ScatterAdd {
    index: Indices,
    k: usize,
}

impl<B: Backend> Operation<B> for ScatterAdd {
    fn name(&self) -> &'static str {
        "scatter_add"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        vec![Some(backend.gather_last(&y_bar, &self.index, self.k))]
    }
}

impl<B: Backend> Tensor<B> {
    /// Adds the entries of this tensor [.., k] at `index` (row-major, one for each) into zeros [.., `extent`].
    ///
    /// # Panics
    /// If the tensor is a scalar, there is not one index for each element, or one is not below `extent`.
    #[track_caller]
    pub fn scatter_add(&self, index: &Indices, extent: usize) -> Self {
        assert!(self.rank() > 0, "scatter_add: a scalar has no last axis");
        assert!(index.len() == self.len(), "scatter_add: {} indices for {:?}", index.len(), self.shape());
        super::embedding::check_indices("scatter_add", index, extent);
        let y = self.backend.scatter_add_last(&self.value, index, extent);
        let k = self.shape()[self.rank() - 1];
        Tensor::record(&self.backend, y, &[self], || ScatterAdd { index: index.clone(), k })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let [n, v, k] = [draw.extent(), draw.extent(), draw.extent()];
    let index = draw.indices(n * k, v);
    Sample::new(function!(|x; index: Indices, v: usize| x[0].scatter_add(index, *v)), [draw.normal(&[n, k])])
}
