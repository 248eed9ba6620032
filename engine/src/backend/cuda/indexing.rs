//! Gathers and their adjoints. The order in which equal rows are added is fixed on the host.

use super::array::CudaArray;
use super::context::Cuda;
use super::launch::{Argument, arguments, int};
use crate::shape::with_axis;

/// Sorts the positions of `rows` by row, keeping the order of equal rows. Returns where each row's positions start (length `count` + 1),
/// and the order.
fn by_row(rows: &[u32], count: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; count + 1];
    rows.iter().for_each(|&row| starts[row as usize + 1] += 1);
    (0..count).for_each(|row| starts[row + 1] += starts[row]);
    let mut next = starts.clone();
    let mut order = vec![0u32; rows.len()];
    for (position, &row) in rows.iter().enumerate() {
        order[next[row as usize] as usize] = position as u32;
        next[row as usize] += 1;
    }
    (starts, order)
}

impl Cuda {
    pub(super) fn rows_of(&self, table: &CudaArray, rows: &[u32]) -> CudaArray {
        let (table, width) = (self.contiguous(table), table.shape()[1]);
        let (y, index) = (self.empty(&[rows.len(), width]), self.table(rows));
        let index = Argument::Address(index.address());
        self.launch_elements("indexing", "gather_rows", y.len(), arguments![&y, &table, index, int(width), y.len()]);
        y
    }

    pub(super) fn rows_added(&self, x: &CudaArray, rows: &[u32], row_count: usize) -> CudaArray {
        let (x, width) = (self.contiguous(x), x.shape()[1]);
        let (starts, order) = by_row(rows, row_count);
        let (starts, order) = (self.table(&starts), self.table(&order));
        let y = self.empty(&[row_count, width]);
        let (starts_at, order_at) = (Argument::Address(starts.address()), Argument::Address(order.address()));
        let arguments = arguments![&y, &x, starts_at, order_at, int(width), y.len()];
        self.launch_elements("indexing", "scatter_add_rows", y.len(), arguments);
        y
    }

    pub(super) fn entries_of(&self, x: &CudaArray, index: &[u32], k: usize) -> CudaArray {
        let (x, width) = (self.contiguous(x), x.rows().1);
        let y = self.empty(&with_axis(x.shape(), x.shape().len() - 1, k));
        let index = self.table(index);
        let index_at = Argument::Address(index.address());
        self.launch_elements("indexing", "gather_last", y.len(), arguments![&y, &x, index_at, int(k), int(width), y.len()]);
        y
    }

    pub(super) fn entries_added(&self, x: &CudaArray, index: &[u32], n: usize) -> CudaArray {
        let (x, (rows, k)) = (self.contiguous(x), x.rows());
        let y = self.filled(0.0, &with_axis(x.shape(), x.shape().len() - 1, n));
        let index = self.table(index);
        let index_at = Argument::Address(index.address());
        self.launch_elements("indexing", "scatter_add_last", rows, arguments![&y, &x, index_at, int(k), int(n), rows]);
        y
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn equal_rows_keep_their_order() {
        assert_eq!(super::by_row(&[2, 0, 2, 2], 4), (vec![0, 1, 1, 4, 4], vec![1, 0, 2, 3]));
        assert_eq!(super::by_row(&[], 1), (vec![0, 0], vec![]));
    }
}
