//! The backend for NVIDIA GPUs. Its libraries are loaded at run time, so the program builds and runs on machines without CUDA.
//!
//! The kernels are the `.cu` files in `kernels/`. NVRTC compiles each for the present GPU at its first use; the code is kept on disk.
//! Kernels of elementwise functions are generated from their formulas.
//!
//! All work goes into one stream, in order, through a queue that captures repeated commands as CUDA graphs. The host waits only where it
//! reads from the device.
//!
//! Reductions run in a fixed order without atomics, so a run gives the same bits each time on the same GPU.
//!
//! A method that fails on the device (no memory left, say) panics with a [`CudaError`] as its payload: the methods of a
//! [`Backend`](crate::Backend) return no `Result`.

mod allocator;
mod array;
mod attention;
mod blas;
pub mod compile;
mod context;
mod driver;
mod elementwise;
mod emulator;
mod error;
pub mod expression;
mod flash;
mod indexing;
mod launch;
mod matmul;
mod nccl;
mod optimizer;
mod queue;
mod reduce;
mod rows;
pub mod runtime;
mod sampling;
mod views;
mod vocabulary;

pub use array::CudaArray;
pub use context::Cuda;
pub use driver::{DeviceReport, devices, usable};
pub use elementwise::elementwise_source;
pub use error::CudaError;
pub use nccl::{Nccl, UniqueId};
pub use queue::GraphReport;
pub use runtime::Storage;

use super::core::{Core, Indices};
use super::precision::Precision;
use crate::formula::Formula;
use launch::arguments;
use std::ops::Range;

impl Core for Cuda {
    type Scalar = f32;
    type Array = CudaArray;

    fn precision(&self) -> Precision {
        self.0.precision
    }
    fn from_vec(&self, data: Vec<f32>, shape: &[usize]) -> CudaArray {
        self.upload(&data, shape)
    }
    fn to_vec(&self, x: &CudaArray) -> Vec<f32> {
        self.download(x)
    }
    fn shape<'a>(&self, x: &'a CudaArray) -> &'a [usize] {
        x.shape()
    }
    fn full(&self, value: f64, shape: &[usize]) -> CudaArray {
        self.filled(value as f32, shape)
    }
    fn reshape(&self, x: &CudaArray, shape: &[usize]) -> CudaArray {
        self.packed(x).with_shape(shape)
    }
    fn permute(&self, x: &CudaArray, axes: &[usize]) -> CudaArray {
        x.permute(axes)
    }
    fn slice(&self, x: &CudaArray, axis: usize, start: usize, end: usize) -> CudaArray {
        x.slice(axis, start, end)
    }
    fn broadcast_to(&self, x: &CudaArray, shape: &[usize]) -> CudaArray {
        x.broadcast_to(shape)
    }
    fn concat(&self, parts: &[&CudaArray], axis: usize) -> CudaArray {
        self.concatenated(parts, axis)
    }
    fn write_rows(&self, x: CudaArray, y: &CudaArray, rows: &[Range<usize>]) -> CudaArray {
        self.rows_written(x, y, rows)
    }
    fn elementwise<const N: usize, F: Formula<N>>(&self, f: F, x: [&CudaArray; N]) -> CudaArray {
        self.apply(f, x)
    }
    fn sum(&self, x: &CudaArray, axis: usize) -> CudaArray {
        self.summed(x, axis)
    }
    fn max(&self, x: &CudaArray, axis: usize) -> CudaArray {
        self.largest(x, axis)
    }
    fn matmul(&self, a: &CudaArray, b: &CudaArray) -> CudaArray {
        self.matrix_product(a, b, self.activation())
    }
    fn gather_rows(&self, table: &CudaArray, rows: &Indices) -> CudaArray {
        self.rows_of(table, rows)
    }
    fn scatter_add_rows(&self, x: &CudaArray, rows: &Indices, row_count: usize) -> CudaArray {
        self.rows_added(x, rows, row_count)
    }
    fn gather_last(&self, x: &CudaArray, index: &Indices, k: usize) -> CudaArray {
        self.entries_of(x, index, k)
    }
    fn scatter_add_last(&self, x: &CudaArray, index: &Indices, n: usize) -> CudaArray {
        self.entries_added(x, index, n)
    }
    fn accumulate(&self, x: CudaArray, y: &CudaArray) -> CudaArray {
        self.accumulated(x, y)
    }
    fn scale_by(&self, x: &CudaArray, c: &CudaArray) -> CudaArray {
        let ([x], y, n) = self.same_shape([x]);
        self.launch_elements("arrays", "scale_by", n, arguments![&y, &x, c, n]);
        y
    }
    fn scale(&self, x: &CudaArray, c: f64) -> CudaArray {
        let ([x], y, n) = self.same_shape([x]);
        self.launch_elements("arrays", "scale", n, arguments![&y, &x, c as f32, n]);
        y
    }
    fn is_queued(&self) -> bool {
        true
    }
}
