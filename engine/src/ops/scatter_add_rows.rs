//! Rows added into numbered rows: the adjoint of an embedding, and the sum over the segments of a packed batch.
//!
//! forward  y[v, :] = Σ over n with id n = v of x[n, :]
//! vjp      x̄[n, :] = ȳ[id n, :]
#![doc = include_str!("../explain/text/scatter_add_rows.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct ScatterAddRows {
    rows: Indices,
}

impl<B: Backend> Operation<B> for ScatterAddRows {
    fn name(&self) -> &'static str {
        "scatter_add_rows"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        vec![Some(backend.gather_rows(&y_bar, &self.rows))]
    }
}

impl<B: Backend> Tensor<B> {
    /// Adds row n of this tensor [N, D] to row `rows[n]` of a zero tensor \[`row_count`, D\].
    ///
    /// # Panics
    /// If the tensor has not two axes, there is not one index for each row, or an index is not below `row_count`.
    #[track_caller]
    pub fn scatter_add_rows(&self, rows: &Indices, row_count: usize) -> Self {
        let fits = self.rank() == 2 && self.shape()[0] == rows.len();
        assert!(fits, "scatter_add_rows: {} indices for {:?}", rows.len(), self.shape());
        super::embedding::check_indices("scatter_add_rows", rows, row_count);
        let y = self.backend.scatter_add_rows(&self.value, rows, row_count);
        Tensor::record(&self.backend, y, &[self], || ScatterAddRows { rows: rows.clone() })
    }

    /// Sums of the elements of a vector \[N\] by group: y\[g\] = Σ over n with `groups\[n\]` = g of x\[n\], shape \[`group_count`\].
    ///
    /// # Panics
    /// If the tensor is not a vector of as many elements as `groups`, or a group is not below `group_count`.
    #[track_caller]
    pub fn group_sum(&self, groups: &Indices, group_count: usize) -> Self {
        assert!(self.rank() == 1, "group_sum: {:?} is not a vector", self.shape());
        self.reshape(&[self.len(), 1]).scatter_add_rows(groups, group_count).reshape(&[group_count])
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let [n, v, d] = [draw.extent() + 2, draw.extent(), draw.extent()];
    let rows = draw.indices(n, v);
    Sample::new(function!(|x; rows: Indices, v: usize| x[0].scatter_add_rows(rows, *v)), [draw.normal(&[n, d])])
}
