//! Kernels over the last axis: softmax, log-softmax, logsumexp and normalisation.

use super::array::CudaArray;
use super::context::Cuda;
use super::launch::{arguments, int, typed};
use super::runtime::Storage;
use crate::backend::core::Core;
use crate::backend::rows::Rows;
use crate::shape::with_axis;

/// Rows per thread in the first sum of a gain's cotangent.
const GAIN_CHUNK: usize = 64;

impl Cuda {
    /// Launches a kernel that computes y from x row by row, with x's shape.
    fn row_map(&self, kernel: &str, x: &CudaArray) -> CudaArray {
        let (x, y, (rows, n)) = (self.contiguous(x), self.empty(x.shape()), x.rows());
        self.launch_rows("rows", kernel, (rows, n), arguments![&y, &x, int(n)]);
        y
    }

    /// Launches a kernel that computes x̄ from y and ȳ row by row, with y's shape.
    fn row_vjp(&self, kernel: &str, y: &CudaArray, cotangent: &CudaArray) -> CudaArray {
        let (y, g, (rows, n)) = (self.contiguous(y), self.contiguous(cotangent), y.rows());
        let x_bar = self.empty(y.shape());
        self.launch_rows("rows", kernel, (rows, n), arguments![&x_bar, &y, &g, int(n)]);
        x_bar
    }

    /// Computes Σ a∘b of each row. Both arrays are stored alike.
    pub(super) fn row_dot(&self, y: &CudaArray, a: &CudaArray, b: &CudaArray) {
        let (rows, n) = a.rows();
        self.launch_teams("rows", &typed("row_dot", &[a.storage()]), (rows, n), arguments![y, a, b, int(n)]);
    }

    /// Computes the normalised rows and their scales [.., 1]. Subtracts the means first if `centre`.
    fn normalised(&self, x: &CudaArray, epsilon: f64, centre: bool) -> (CudaArray, CudaArray) {
        let (x, (rows, n)) = (self.contiguous(x), x.rows());
        let (y, s) = (self.empty(x.shape()), self.empty(&with_axis(x.shape(), x.shape().len() - 1, 1)));
        self.launch_rows("rows", "normalise", (rows, n), arguments![&y, &s, &x, epsilon as f32, i32::from(centre), int(n)]);
        (y, s)
    }

    fn normalised_vjp(&self, y: &CudaArray, s: &CudaArray, cotangent: &CudaArray, centre: bool) -> CudaArray {
        let (y, s, g, (rows, n)) = (self.contiguous(y), self.contiguous(s), self.contiguous(cotangent), y.rows());
        let x_bar = self.empty(y.shape());
        self.launch_rows("rows", "normalise_vjp", (rows, n), arguments![&x_bar, &y, &s, &g, i32::from(centre), int(n)]);
        x_bar
    }
}

impl Rows for Cuda {
    fn softmax(&self, x: &CudaArray) -> CudaArray {
        self.row_map("softmax", x)
    }
    fn softmax_vjp(&self, y: &CudaArray, cotangent: &CudaArray) -> CudaArray {
        self.row_vjp("softmax_vjp", y, cotangent)
    }
    fn log_softmax(&self, x: &CudaArray) -> CudaArray {
        self.row_map("log_softmax", x)
    }
    fn log_softmax_vjp(&self, y: &CudaArray, cotangent: &CudaArray) -> CudaArray {
        self.row_vjp("log_softmax_vjp", y, cotangent)
    }
    fn logsumexp(&self, x: &CudaArray) -> CudaArray {
        let (x, (rows, n)) = (self.contiguous(x), x.rows());
        let y = self.empty(&with_axis(x.shape(), x.shape().len() - 1, 1));
        self.launch_rows("rows", "logsumexp", (rows, n), arguments![&y, &x, int(n)]);
        y
    }
    fn layer_norm(&self, x: &CudaArray, epsilon: f64) -> (CudaArray, CudaArray) {
        self.normalised(x, epsilon, true)
    }
    fn layer_norm_vjp(&self, y: &CudaArray, s: &CudaArray, cotangent: &CudaArray) -> CudaArray {
        self.normalised_vjp(y, s, cotangent, true)
    }
    fn rms_norm(&self, x: &CudaArray, epsilon: f64) -> (CudaArray, CudaArray) {
        self.normalised(x, epsilon, false)
    }
    fn rms_norm_vjp(&self, y: &CudaArray, s: &CudaArray, cotangent: &CudaArray) -> CudaArray {
        self.normalised_vjp(y, s, cotangent, false)
    }
    fn scaled_rms_norm(&self, x: &CudaArray, gain: &CudaArray, epsilon: f64) -> (CudaArray, CudaArray) {
        let (x, gain, (rows, n)) = (self.packed(x), self.contiguous(gain), x.rows());
        let y = self.empty_as(x.shape(), self.activation());
        let s = self.empty(&with_axis(x.shape(), x.shape().len() - 1, 1));
        let kernel = typed("scaled_rms_norm", &[x.storage(), y.storage()]);
        self.launch_teams("rows", &kernel, (rows, n), arguments![&y, &s, &x, &gain, epsilon as f32, int(n)]);
        (y, s)
    }
    fn scaled_rms_norm_vjp(&self, x: &CudaArray, gain: &CudaArray, s: &CudaArray, cotangent: &CudaArray) -> (CudaArray, CudaArray) {
        let (rows, n) = x.rows();
        let (weights, s, g) = (self.contiguous(gain), self.contiguous(s), self.packed(cotangent));
        // No kernel takes x in bfloat16 with a cotangent in f32.
        let x = if g.storage() == Storage::F32 { self.contiguous(x) } else { self.packed(x) };
        let (x_bar, storages) = (self.empty_as(x.shape(), x.storage()), [x.storage(), g.storage()]);
        let kernel = typed("scaled_rms_norm_vjp", &storages);
        self.launch_teams("rows", &kernel, (rows, n), arguments![&x_bar, &x, &weights, &s, &g, int(n)]);
        let sums = self.empty(&[rows.div_ceil(GAIN_CHUNK), n]);
        let count = sums.len();
        let arguments = arguments![&sums, &x, &s, &g, rows, GAIN_CHUNK, int(n), count];
        self.launch_elements("rows", &typed("scaled_rms_norm_gain", &storages), count, arguments);
        (x_bar, self.sum(&sums, 0).with_shape(gain.shape()))
    }
}
