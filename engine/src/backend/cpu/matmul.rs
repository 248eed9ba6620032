//! Matrix products: strides go to the GEMM as they are. Where there is no kernel on packed operands for the type, the output is cut into tiles of
//! a fixed size that run in parallel.

use super::array::CpuArray;
use super::by_rows;
#[cfg(target_arch = "x86_64")]
pub use super::packed_gemm::Prepacked;
use super::parallel_loop::InTasks;
use crate::backend::precision::Precision;
use crate::scalar::{Scalar, Strides};
use rayon::prelude::*;

/// A tile of the output has at most this many rows (or columns, where there are more of those).
const TILE: usize = 192;
/// Products with fewer multiply-adds than this run in one piece. (Miri is slow, and must see products that are cut.)
pub const SMALL: usize = if cfg!(miri) { 1 << 6 } else { 1 << 16 };

/// One matrix: its first element and its strides.
#[derive(Clone, Copy)]
pub struct Matrix<T> {
    /// Element (0, 0).
    pub start: *const T,
    /// Strides between rows and between columns, in elements.
    pub strides: Strides,
}
// SAFETY: it is only read through, while the array it points into is borrowed.
unsafe impl<T: Sync> Send for Matrix<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Matrix<T> {}

impl<T> Matrix<T> {
    /// A row-major matrix with rows of `columns` elements.
    pub fn row_major(elements: &[T], columns: usize) -> Self {
        Self { start: elements.as_ptr(), strides: (columns as isize, 1) }
    }
    /// The rows from `row` on.
    ///
    /// # Safety
    /// The row must be inside.
    pub unsafe fn rows_from(self, row: usize) -> Self {
        // SAFETY: the caller's promise.
        Self { start: unsafe { self.start.offset(row as isize * self.strides.0) }, ..self }
    }
    /// The transpose.
    pub fn t(self) -> Self {
        Self { start: self.start, strides: (self.strides.1, self.strides.0) }
    }
}

/// No processor of another kind has packed columns.
#[cfg(not(target_arch = "x86_64"))]
pub enum Prepacked {}
#[cfg(not(target_arch = "x86_64"))]
impl Prepacked {
    /// Rows of A that the kernel takes at a time.
    pub fn rows_of_group(&self) -> usize {
        match *self {}
    }
}

/// (m, k, n): the rows of the output, the inner extent, the columns of the output.
pub type Extents = (usize, usize, usize);

/// A row-major output that tiles of it may be written from several threads.
#[derive(Clone, Copy)]
struct Output<T>(*mut T);
// SAFETY: the tiles that the tasks write do not overlap.
unsafe impl<T: Send> Send for Output<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Output<T> {}

/// out ← A·B + β·out for one product, m × k by k × n, out in row-major order.
///
/// # Safety
/// Every element of `a` (m × k) and `b` (k × n) reached through the strides must be valid for reading; the precision must be that of a
/// [`Cpu`](crate::Cpu).
pub unsafe fn product<T: Scalar>(precision: Precision, (m, k, n): Extents, a: Matrix<T>, b: Matrix<T>, beta: T, out: &mut [T]) {
    assert_eq!(out.len(), m * n, "the output of a product has m·n elements");
    if out.is_empty() {
        return;
    }
    if k == 0 {
        return out.iter_mut().for_each(|x| *x = if beta == T::zero() { T::zero() } else { beta * *x });
    }
    if m * k * n > SMALL {
        // SAFETY: the caller's promise.
        return unsafe { T::parallel_gemm(precision, (m, k, n), a, b, beta, out) };
    }
    // SAFETY: the caller's promise, and `out` has m·n elements.
    unsafe { T::gemm(precision, (m, k, n), a, b, beta, out.as_mut_ptr(), n) }
}

/// The product in tiles of the output, each by one call of the scalar type's GEMM.
///
/// # Safety
/// As [`product`].
pub unsafe fn tiled<T: Scalar>(precision: Precision, (m, k, n): Extents, a: Matrix<T>, b: Matrix<T>, beta: T, out: &mut [T]) {
    let output = Output(out.as_mut_ptr());
    let tile = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
        let (a, b, output) = (a, b, output);
        // SAFETY: the tile lies inside the three matrices, and no two tiles overlap.
        unsafe {
            let (a, b) = (a.rows_from(rows.start), b.t().rows_from(columns.start).t());
            let c_start = output.0.add(rows.start * n + columns.start);
            T::gemm(precision, (rows.len(), k, columns.len()), a, b, beta, c_start, n);
        }
    };
    let along_rows = m >= n;
    let extent = if along_rows { m } else { n };
    let pieces = extent.div_ceil(TILE).max(if m * k * n > SMALL * 16 { 2 } else { 1 });
    let size = extent.div_ceil(pieces).next_multiple_of(16);
    (0..extent.div_ceil(size)).into_par_iter().for_each_task(|i| {
        let piece = i * size..((i + 1) * size).min(extent);
        if along_rows { tile(piece, 0..n) } else { tile(0..m, piece) }
    });
}

/// Products over the last two axes with the leading axes broadcast.
pub fn matmul<T: Scalar>(precision: Precision, a: &CpuArray<T>, b: &CpuArray<T>) -> CpuArray<T> {
    let (a_lead, m, k) = split(a.shape());
    let (b_lead, b_k, n) = split(b.shape());
    assert_eq!(k, b_k, "matmul: inner extents differ");
    let lead = crate::shape::broadcast_or_panic("matmul", a_lead, b_lead);
    let batch: usize = lead.iter().product();
    let shape: Vec<usize> = lead.iter().copied().chain([m, n]).collect();
    let mut out = T::allocate(batch * m * n);
    if m * n == 0 {
        return CpuArray::from_vec(out, &shape);
    }
    let (a_offsets, b_offsets) = (batch_offsets(a, &lead), batch_offsets(b, &lead));
    let one = |index: usize, out: &mut [T]| {
        // SAFETY: the offsets and strides are those of the arrays, within their extents.
        unsafe {
            let a = Matrix { start: a.as_ptr().offset(a_offsets[index]), strides: last_two(a.strides()) };
            let b = Matrix { start: b.as_ptr().offset(b_offsets[index]), strides: last_two(b.strides()) };
            product(precision, (m, k, n), a, b, T::zero(), out);
        }
    };
    if batch == 1 {
        one(0, &mut out)
    } else {
        batched(&mut out, m * n, m * k * n, one)
    }
    CpuArray::from_vec(out, &shape)
}

/// X·Wᵢᵀ for X [m, k] and each Wᵢ [nᵢ, k].
pub fn by_transposed<T: Scalar>(precision: Precision, x: &CpuArray<T>, weights: &[&CpuArray<T>]) -> Vec<CpuArray<T>> {
    let [m, k] = extents(x);
    assert!(weights.iter().all(|w| extents(w)[1] == k), "products by transposed matrices: inner extents differ");
    let b: Vec<_> = weights.iter().map(|w| (matrix(w).t(), w.shape()[0])).collect();
    // SAFETY: the arrays' own strides and extents.
    let outs = unsafe { sharing(precision, k, &[(matrix(x), m)], &b) };
    outs.into_iter().zip(b).map(|(out, (_, n))| CpuArray::from_vec(out, &[m, n])).collect()
}

/// Aᵢᵀ·B for each Aᵢ [k, mᵢ] and B [k, n].
pub fn of_transposed<T: Scalar>(precision: Precision, a: &[&CpuArray<T>], b: &CpuArray<T>) -> Vec<CpuArray<T>> {
    let [k, n] = extents(b);
    assert!(a.iter().all(|a| extents(a)[0] == k), "products of transposed matrices: inner extents differ");
    let a: Vec<_> = a.iter().map(|a| (matrix(a).t(), a.shape()[1])).collect();
    // SAFETY: the arrays' own strides and extents.
    let outs = unsafe { sharing(precision, k, &a, &[(matrix(b), n)]) };
    outs.into_iter().zip(a).map(|(out, (_, m))| CpuArray::from_vec(out, &[m, n])).collect()
}

/// Σ_i Aᵢ·Bᵢ for Aᵢ [m, kᵢ] and Bᵢ [kᵢ, n].
pub fn sum_of_products<T: Scalar>(precision: Precision, products: &[(&CpuArray<T>, &CpuArray<T>)]) -> CpuArray<T> {
    let (a, b) = products.first().expect("a sum of at least one product");
    let (m, n) = (extents(a)[0], extents(b)[1]);
    let fits = |&(a, b): &(&CpuArray<T>, &CpuArray<T>)| extents(a) == [m, extents(b)[0]] && extents(b)[1] == n;
    assert!(products.iter().all(fits), "a sum of products: extents differ");
    if products.len() > 1 && by_rows::pays(m, products.iter().map(|(_, b)| *b)) {
        return by_rows::sum_of_products(precision, products);
    }
    let mut out = T::allocate(m * n);
    for (number, (a, b)) in products.iter().enumerate() {
        let beta = if number == 0 { T::zero() } else { T::one() };
        // SAFETY: the arrays' own strides and extents.
        unsafe { product(precision, (m, a.shape()[1], n), matrix(a), matrix(b), beta, &mut out) };
    }
    CpuArray::from_vec(out, &[m, n])
}

/// The products of several A with one B, or of one A with several B, given as (matrix, rows) and (matrix, columns): together where they are large.
///
/// # Safety
/// As [`product`].
unsafe fn sharing<T: Scalar>(precision: Precision, k: usize, a: &[(Matrix<T>, usize)], b: &[(Matrix<T>, usize)]) -> Vec<Vec<T>> {
    let mut outs: Vec<Vec<T>> = pairs(a, b).map(|((_, m), (_, n))| T::allocate(m * n)).collect();
    let work: usize = outs.iter().map(|out| out.len() * k).sum();
    // SAFETY: the caller's promise.
    unsafe {
        if work > SMALL && outs.iter().all(|out| !out.is_empty()) {
            T::parallel_gemms(precision, k, a, b, &mut outs);
        } else {
            pairs(a, b).zip(&mut outs).for_each(|(((a, m), (b, n)), out)| product(precision, (m, k, n), a, b, T::zero(), out));
        }
    }
    outs
}

/// Each operand of several with the one that they share; none where a list is empty.
pub fn pairs<'a, T: Copy>(a: &'a [T], b: &'a [T]) -> impl Iterator<Item = (T, T)> + 'a {
    let count = if a.is_empty() || b.is_empty() { 0 } else { a.len().max(b.len()) };
    (0..count).map(|i| (a[i.min(a.len() - 1)], b[i.min(b.len() - 1)]))
}

/// The extents of an array of two axes.
fn extents<T: Scalar>(x: &CpuArray<T>) -> [usize; 2] {
    x.shape().try_into().expect("an array of two axes")
}

/// An array of two axes as a matrix.
pub fn matrix<T: Scalar>(x: &CpuArray<T>) -> Matrix<T> {
    Matrix { start: x.as_ptr(), strides: last_two(x.strides()) }
}

/// Runs the products of a batch in parallel, several small ones a task; a few large ones one after another, each in parallel.
fn batched<T: Scalar>(out: &mut [T], size: usize, work: usize, one: impl Fn(usize, &mut [T]) + Sync) {
    if work > SMALL && out.len() / size < rayon::current_num_threads() {
        return out.chunks_exact_mut(size).enumerate().for_each(|(i, out)| one(i, out));
    }
    let per_task = (SMALL / work.max(1)).max(1);
    out.par_chunks_mut(size * per_task).enumerate().for_each_task(|(task, outs)| {
        for (i, out) in outs.chunks_exact_mut(size).enumerate() {
            one(task * per_task + i, out);
        }
    });
}

fn split(shape: &[usize]) -> (&[usize], usize, usize) {
    let (lead, last) = shape.split_at(shape.len() - 2);
    (lead, last[0], last[1])
}

fn last_two(strides: &[isize]) -> Strides {
    (strides[strides.len() - 2], strides[strides.len() - 1])
}

/// The offset of each matrix of a batch whose leading axes broadcast to `lead`.
fn batch_offsets<T: Scalar>(x: &CpuArray<T>, lead: &[usize]) -> Vec<isize> {
    let own = x.shape().len() - 2;
    let skipped = lead.len() - own;
    (0..lead.iter().product())
        .map(|mut index: usize| {
            let mut offset = 0;
            for axis in (0..lead.len()).rev() {
                let position = index % lead[axis];
                index /= lead[axis];
                if axis >= skipped && x.shape()[axis - skipped] != 1 {
                    offset += position as isize * x.strides()[axis - skipped];
                }
            }
            offset
        })
        .collect()
}
