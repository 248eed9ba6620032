//! Rows of a table by index.
//!
//! forward  y[n, :] = table[id n, :]
//! vjp      table̅[v, :] = Σ over n with id n = v of ȳ[n, :]
#![doc = include_str!("../explain/text/embedding.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct Embedding {
    rows: Indices,
    row_count: usize,
}

impl<B: Backend> Operation<B> for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        vec![Some(backend.scatter_add_rows(&y_bar, &self.rows, self.row_count))]
    }
    fn vjp_added(&self, backend: &B, y_bar: B::Array, needed: &[bool], mut sums: Vec<Option<B::Array>>) -> Vec<Option<B::Array>> {
        match sums.remove(0) {
            Some(sum) => vec![Some(backend.scatter_add_rows_to(sum, &y_bar, &self.rows))],
            None => self.vjp(backend, y_bar, needed),
        }
    }
}

/// Panics in the name of `op` unless every index is below `bound`.
#[track_caller]
pub(super) fn check_indices(op: &str, indices: &[u32], bound: usize) {
    if let Some((n, index)) = indices.iter().enumerate().find(|&(_, &index)| index as usize >= bound) {
        panic!("{op}: index {index} at position {n} is out of range for {bound}");
    }
}

impl<B: Backend> Tensor<B> {
    /// Rows of this table [V, D] at N indices: [N, D].
    ///
    /// # Panics
    /// If the table has not two axes or an index is not below V.
    #[track_caller]
    pub fn embedding(&self, rows: &Indices) -> Self {
        assert!(self.rank() == 2, "embedding: a table of shape {:?} has not two axes", self.shape());
        check_indices("embedding", rows, self.shape()[0]);
        let y = self.backend.gather_rows(&self.value, rows);
        Tensor::record(&self.backend, y, &[self], || Embedding { rows: rows.clone(), row_count: self.shape()[0] })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let [n, v, d] = [draw.extent() + 2, draw.extent(), draw.extent()];
    let rows = draw.indices(n, v);
    Sample::new(function!(|x; rows: Indices| x[0].embedding(rows)), [draw.normal(&[v, d])])
}
