//! Sums and maxima along an axis. Long axes are cut into chunks, whose results are reduced again. The chunks depend on the sizes alone, so
//! every run gives the same bits.

use super::array::CudaArray;
use super::context::Cuda;
use super::launch::{arguments, int};
use crate::shape::{around, count, with_axis};

/// Results that keep a GPU busy, with one thread or block each. With fewer, the axis is cut into chunks.
const FEW: usize = 4096;
/// The smallest chunk.
const SMALLEST_CHUNK: usize = 512;

/// Chooses the length of an axis's chunks, given the number of results.
fn chunk(extent: usize, results: usize) -> usize {
    if results >= FEW || extent <= 2 * SMALLEST_CHUNK {
        return extent.max(1);
    }
    let wanted = FEW.div_ceil(results.max(1));
    extent.div_ceil(wanted).max(SMALLEST_CHUNK)
}

impl Cuda {
    /// Reduces along an axis, which stays with extent 1. Launches the kernel `rows` for the last axis and `columns` for any other.
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
