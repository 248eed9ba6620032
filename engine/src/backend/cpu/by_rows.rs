//! Products of a few rows at a time by matrices that stay in the L2 cache of each thread. A task does all the work on its rows.

use super::array::CpuArray;
use super::element::Element;
use crate::backend::precision::Precision;
use crate::gemm::matrix::{Matrix, MatrixMut};
use crate::gemm::prepacked::Prepacked;
use crate::threads::parallel_loop::run_tasks;

/// Number of rows of a task, rounded up to whole panels of the micro-kernel. (Miri is slow, and must see rows in several tasks.)
const ROWS: usize = if cfg!(miri) { 2 } else { 32 };
/// Least number of tasks: with fewer, threads would be idle.
const FEWEST_TASKS: usize = if cfg!(miri) { 2 } else { 8 };
/// Largest total size of the right-hand matrices. They must fit in L2; packed in three parts they take 1.5 times as much.
const MOST_BYTES: usize = 3 << 18;

/// True if products of this many rows by these matrices are faster a few rows at a time than one after another. False if a matrix is empty.
pub fn should_run_by_rows<'a, T: Element>(rows: usize, matrices: impl Iterator<Item = &'a CpuArray<T>>) -> bool {
    let (mut numbers, mut empty) = (0, false);
    for matrix in matrices {
        numbers += matrix.view().len();
        empty |= matrix.view().is_empty();
    }
    rows >= FEWEST_TASKS * ROWS && !empty && numbers * size_of::<T>() <= MOST_BYTES
}

/// The right-hand matrices of products whose rows are divided among tasks. They are packed once if a kernel packs.
pub struct RightMatrices<T> {
    precision: Precision,
    k: usize,
    b: Vec<(Matrix<T>, usize)>,
    packed: Option<Prepacked>,
}

impl<T: Element> RightMatrices<T> {
    /// Packs each B [k, n], given as (matrix, n), for products of `rows` rows in total.
    ///
    /// # Safety
    /// No extent may be 0, and every element must be valid as long as this lives.
    pub unsafe fn new(precision: Precision, rows: usize, k: usize, b: Vec<(Matrix<T>, usize)>) -> Self {
        // SAFETY: the caller's promise.
        let packed = unsafe { T::prepack(precision, rows, k, &b) };
        Self { precision, k, b, packed }
    }

    /// Runs `task(first row, row count)` for all n rows, in whole panels of the micro-kernel.
    pub fn for_rows(&self, n: usize, task: impl Fn(usize, usize) + Sync) {
        let rows = ROWS.next_multiple_of(self.packed.as_ref().map_or(1, Prepacked::panel_rows));
        run_tasks(n.div_ceil(rows), &|i| task(i * rows, rows.min(n - i * rows)));
    }

    /// Computes Cᵢ ← A·Bᵢ or, to accumulate, Cᵢ ← Cᵢ + A·Bᵢ for an A of m rows, on this thread.
    ///
    /// # Safety
    /// m must not be 0. Every element that is reached must be valid, and nothing else may touch the elements of the C during the call.
    pub unsafe fn multiply(&self, m: usize, a: Matrix<T>, accumulate: bool, c: &[MatrixMut<T>]) {
        assert_eq!(c.len(), self.b.len(), "an output of each matrix on the right");
        // SAFETY: the caller's promise.
        unsafe {
            if let Some(packed) = &self.packed {
                return T::gemm_prepacked(packed, m, a, accumulate, c);
            }
            let beta = if accumulate { T::one() } else { T::zero() };
            for (&(b, n), &c) in self.b.iter().zip(c) {
                T::gemm(self.precision, (m, self.k, n), a, b, beta, c);
            }
        }
    }
}

/// A row-major output whose rows are written by tasks, each task its own rows.
pub struct OutputRows<T> {
    start: *mut T,
    width: usize,
}
impl<T> Clone for OutputRows<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for OutputRows<T> {}
// SAFETY: tasks write disjoint rows.
unsafe impl<T: Send> Send for OutputRows<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for OutputRows<T> {}

impl<T: Element> OutputRows<T> {
    /// Makes an output from a buffer with rows of `width` elements.
    pub fn new(buffer: &mut [T], width: usize) -> Self {
        Self { start: buffer.as_mut_ptr(), width }
    }
    /// Returns the rows from `first` on as an output of products.
    ///
    /// # Safety
    /// The row must be inside the buffer.
    pub unsafe fn output(self, first: usize) -> MatrixMut<T> {
        // SAFETY: the caller's promise.
        MatrixMut { start: unsafe { self.start.add(first * self.width) }, row_stride: self.width }
    }
    /// Returns `count` rows from `first` on.
    ///
    /// # Safety
    /// They must be inside the buffer, and nothing else may touch them while they are borrowed.
    pub unsafe fn rows<'a>(self, first: usize, count: usize) -> &'a mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first * self.width), count * self.width) }
    }
}

/// Runs `f` with buffers of these lengths, whose contents are unspecified.
pub fn with_buffers<T: Element, const N: usize>(lens: [usize; N], f: impl FnOnce([&mut [T]; N])) {
    let mut buffers: [Vec<T>; N] = lens.map(T::allocate);
    f(buffers.each_mut().map(Vec::as_mut_slice));
    buffers.into_iter().for_each(T::recycle);
}

/// Computes Σ_i Aᵢ·Bᵢ for Aᵢ [m, kᵢ] and Bᵢ [kᵢ, n] whose extents fit, and Bᵢ that [`should_run_by_rows`] accepts.
pub fn sum_of_products<T: Element>(precision: Precision, products: &[(&CpuArray<T>, &CpuArray<T>)]) -> CpuArray<T> {
    let [m, n] = [products[0].0.shape()[0], products[0].1.shape()[1]];
    let mut sum = T::allocate(m * n);
    let output = OutputRows::new(&mut sum, n);
    // SAFETY: the arrays' own strides, and extents that are not 0.
    let right = |b: &CpuArray<T>| unsafe { RightMatrices::new(precision, m, b.shape()[0], vec![(b.matrix(), n)]) };
    let products: Vec<_> = products.iter().map(|(a, b)| (a.matrix(), right(b))).collect();
    products[0].1.for_rows(m, |from, count| {
        for (number, (a, b)) in products.iter().enumerate() {
            // SAFETY: each task has its own rows of the sum.
            unsafe { b.multiply(count, a.rows_from(from), number > 0, &[output.output(from)]) };
        }
    });
    CpuArray::from_vec(sum, &[m, n])
}
