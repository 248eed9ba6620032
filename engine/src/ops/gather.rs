//! Entries of the last axis by index.
//!
//! forward  y[r, j] = x[r, index[r, j]]
//! vjp      x̄[r, i] = Σ over j with index[r, j] = i of ȳ[r, j]
#![doc = include_str!("../explain/text/gather.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct Gather {
    index: Indices,
    extent: usize,
}

impl<B: Backend> Operation<B> for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        vec![Some(backend.scatter_add_last(&y_bar, &self.index, self.extent))]
    }
}

impl<B: Backend> Tensor<B> {
    /// k entries of each row of the last axis: [.., n] → [.., k], with `index` row-major in the result's shape.
    ///
    /// # Panics
    /// If the tensor is a scalar, `index` does not hold a whole number of entries for each row, or one is not below n.
    #[track_caller]
    pub fn gather(&self, index: &Indices) -> Self {
        assert!(self.rank() > 0, "gather: a scalar has no last axis");
        let (rows, extent) = crate::shape::rows(self.shape());
        let fits = rows > 0 && index.len().is_multiple_of(rows);
        assert!(fits, "gather: {} indices for the {rows} rows of {:?}", index.len(), self.shape());
        super::embedding::check_indices("gather", index, extent);
        let y = self.backend.gather_last(&self.value, index, index.len() / rows);
        Tensor::record(&self.backend, y, &[self], || Gather { index: index.clone(), extent })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let [n, v, k] = [draw.extent(), draw.extent(), draw.extent()];
    let index = draw.indices(n * k, v);
    Sample::new(function!(|x; index: Indices| x[0].gather(index)), [draw.normal(&[n, v])])
}
