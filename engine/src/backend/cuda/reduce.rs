//! Sums and maxima along an axis, cut by size into chunks whose results are reduced again: the same bits at every run.

use super::array::CudaArray;
use super::context::Cuda;
use super::launch::{arguments, int};
use crate::shape::{around, count, with_axis};

/// Fewer results than this do not keep a GPU busy, one thread or block each.
const FEW: usize = 4096;
/// Chunks are not cut smaller.
const SMALLEST_CHUNK: usize = 512;

/// The length of the chunks of an axis, given the number of results.
fn chunk(extent: usize, results: usize) -> usize {
    if results >= FEW || extent <= 2 * SMALLEST_CHUNK {
        return extent.max(1);
    }
    let wanted = FEW.div_ceil(results.max(1));
    extent.div_ceil(wanted).max(SMALLEST_CHUNK)
}

impl Cuda {
    /// A reduction along an axis, which stays with extent 1, by the kernels `rows` (last axis) and `columns` (another).
    fn reduced(&self, x: &CudaArray, axis: usize, rows: &str, columns: &str) -> CudaArray {
        let (outer, extent, inner) = around(x.shape(), axis);
        let chunk = chunk(extent, outer * inner);
        let chunks = extent.div_ceil(chunk).max(1);
        let shape = with_axis(x.shape(), axis, chunks);
        let (x, y) = (self.contiguous(x), self.empty(&shape));
        let n = count(&shape);
        if inner == 1 {
            int(n);
            self.launch_rows("reduce", rows, (n, chunk), arguments![&y, &x, extent, chunk, chunks]);
        } else {
            self.launch_elements("reduce", columns, n, arguments![&y, &x, extent, inner, chunk, chunks, n]);
        }
        if chunks == 1 { y } else { self.reduced(&y, axis, rows, columns) }
    }

    pub(super) fn summed(&self, x: &CudaArray, axis: usize) -> CudaArray {
        self.reduced(x, axis, "sum_rows", "sum_columns")
    }

    pub(super) fn largest(&self, x: &CudaArray, axis: usize) -> CudaArray {
        self.reduced(x, axis, "max_rows", "max_columns")
    }
}
