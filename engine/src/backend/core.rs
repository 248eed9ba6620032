//! What a device must offer, and what follows from it at once: storage, views, elementwise formulas, sums, products and indexing.

use super::precision::Precision;
use crate::formula::{Add, Formula, Mul, Unary, Vjp};
use crate::functions::Scale;
use crate::scalar::Scalar;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

/// Integer indices (token ids, targets, rows), shared without copying.
pub type Indices = Arc<[u32]>;

/// A device with an element type. The methods without a body are what a device must implement.
pub trait Core: Clone + Debug + Send + Sync + 'static {
    /// The element type.
    type Scalar: Scalar;
    /// A strided array on the device; cloning it shares the storage.
    type Array: Clone + Send + Sync + 'static;

    // ---- storage and views ------------------------------------------------------------------------------------------------------

    /// An array of `shape` from its elements in row-major order.
    #[allow(clippy::wrong_self_convention)]
    fn from_vec(&self, data: Vec<Self::Scalar>, shape: &[usize]) -> Self::Array;

    /// The elements in row-major order.
    fn to_vec(&self, x: &Self::Array) -> Vec<Self::Scalar>;

    /// The extents of the axes.
    fn shape<'a>(&self, x: &'a Self::Array) -> &'a [usize];

    /// Every element equal to `value`.
    fn full(&self, value: f64, shape: &[usize]) -> Self::Array;

    /// The same elements in row-major order under another shape; copies only where the strides demand it.
    fn reshape(&self, x: &Self::Array, shape: &[usize]) -> Self::Array;

    /// A view whose axis i is axis `axes[i]` of x.
    fn permute(&self, x: &Self::Array, axes: &[usize]) -> Self::Array;

    /// A view of positions `start..end` of an axis.
    fn slice(&self, x: &Self::Array, axis: usize, start: usize, end: usize) -> Self::Array;

    /// A view of x repeated along axes of extent 1 and new leading axes.
    fn broadcast_to(&self, x: &Self::Array, shape: &[usize]) -> Self::Array;

    /// Arrays laid one after another along an axis.
    fn concat(&self, parts: &[&Self::Array], axis: usize) -> Self::Array;

    // ---- elementwise, reductions, products --------------------------------------------------------------------------------------

    /// f(x₁, …, x_N) for every element, with the arrays broadcast to one shape.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    fn elementwise<const N: usize, F: Formula<N>>(&self, f: F, x: [&Self::Array; N]) -> Self::Array;

    /// Σ along an axis, which stays with extent 1.
    fn sum(&self, x: &Self::Array, axis: usize) -> Self::Array;

    /// The maximum along an axis, which stays with extent 1; −∞ over nothing.
    fn max(&self, x: &Self::Array, axis: usize) -> Self::Array;

    /// Matrix products over the last two axes, [.., m, k] × [.., k, n] → [.., m, n], with the leading axes broadcast.
    fn matmul(&self, a: &Self::Array, b: &Self::Array) -> Self::Array;

    // ---- indexing ---------------------------------------------------------------------------------------------------------------

    /// Rows of a table: [V, D] at N indices → [N, D].
    fn gather_rows(&self, table: &Self::Array, rows: &Indices) -> Self::Array;

    /// The adjoint of `gather_rows`: y[rows\[n\], :] += x[n, :], into `row_count` rows. Equal rows are added in order of n.
    fn scatter_add_rows(&self, x: &Self::Array, rows: &Indices, row_count: usize) -> Self::Array;

    /// y[r, j] = x[r, index[r·k + j]] along the last axis: [.., n] → [.., k].
    fn gather_last(&self, x: &Self::Array, index: &Indices, k: usize) -> Self::Array;

    /// The adjoint of `gather_last`: y[r, index[r·k + j]] += x[r, j], with `n` entries along the last axis.
    fn scatter_add_last(&self, x: &Self::Array, index: &Indices, n: usize) -> Self::Array;

    // ---- what follows, to be overridden where a device can do better ------------------------------------------------------------

    /// f(x) for every element.
    fn map<F: Formula<1>>(&self, f: F, x: &Self::Array) -> Self::Array {
        self.elementwise(f, [x])
    }

    /// f(a, b) for every pair, broadcasting.
    fn zip<F: Formula<2>>(&self, f: F, a: &Self::Array, b: &Self::Array) -> Self::Array {
        self.elementwise(f, [a, b])
    }

    /// x̄ = f′(saved)·ȳ.
    fn map_vjp<F: Unary>(&self, f: F, saved: &Self::Array, cotangent: &Self::Array) -> Self::Array {
        self.elementwise(Vjp(f), [saved, cotangent])
    }

    /// A view with the last two axes exchanged.
    fn transpose(&self, x: &Self::Array) -> Self::Array {
        let rank = self.shape(x).len();
        let mut axes: Vec<usize> = (0..rank).collect();
        axes.swap(rank - 2, rank - 1);
        self.permute(x, &axes)
    }

    /// c·x.
    fn scale(&self, x: &Self::Array, c: f64) -> Self::Array {
        self.map(Scale(c), x)
    }

    /// x times the one element of c.
    fn scale_by(&self, x: &Self::Array, c: &Self::Array) -> Self::Array {
        self.zip(Mul, x, c)
    }

    /// x + y, free to reuse x's storage.
    fn accumulate(&self, x: Self::Array, y: &Self::Array) -> Self::Array {
        self.zip(Add, &x, y)
    }

    /// The adjoint of broadcasting: sums x over the axes along which `shape` was repeated.
    fn sum_to(&self, x: &Self::Array, shape: &[usize]) -> Self::Array {
        let lead = self.shape(x).len() - shape.len();
        let mut x = x.clone();
        for axis in 0..self.shape(&x).len() {
            let repeated = axis < lead || (shape[axis - lead] == 1 && self.shape(&x)[axis] != 1);
            if repeated {
                x = self.sum(&x, axis);
            }
        }
        self.reshape(&x, shape)
    }

    /// [`Core::scatter_add_rows`] on top of `sum`, free to reuse its storage.
    fn scatter_add_rows_to(&self, sum: Self::Array, x: &Self::Array, rows: &Indices) -> Self::Array {
        let row_count = self.shape(&sum)[0];
        self.accumulate(sum, &self.scatter_add_rows(x, rows, row_count))
    }

    /// x with the rows of y at these rows, which ascend. Free to reuse the storage of x.
    fn write_rows(&self, x: Self::Array, y: &Self::Array, rows: &[Range<usize>]) -> Self::Array {
        let (mut parts, mut end, mut written) = (Vec::new(), 0, 0);
        for place in rows {
            parts.push(self.slice(&x, 0, end, place.start));
            parts.push(self.slice(y, 0, written, written + place.len()));
            (end, written) = (place.end, written + place.len());
        }
        parts.push(self.slice(&x, 0, end, self.shape(&x)[0]));
        self.concat(&parts.iter().collect::<Vec<_>>(), 0)
    }

    // ---- how the device works ---------------------------------------------------------------------------------------------------

    /// How the device rounds the operands of products and stores activations.
    fn precision(&self) -> Precision {
        Precision::F32
    }

    /// True if kernels are queued: the host runs ahead, and reading an array makes it wait.
    fn is_queued(&self) -> bool {
        false
    }

    /// Runs a step's work with the device's threads kept awake between its kernels.
    fn keep_awake<R>(&self, work: impl FnOnce() -> R) -> R {
        work()
    }
}
