//! The types that the CPU can multiply as matrices and allocate: f32, f64 and dual numbers of them.
//!
//! A [`Scalar`] is a number in a formula and nothing more, so that a symbol of a CUDA kernel is a scalar too. An [`Element`] is a number
//! that arrays on the CPU hold: it has a matrix product and a source of buffers.

use crate::backend::precision::Precision;
use crate::buffer_pool::Pooled;
use crate::dual::Dual;
#[cfg(target_arch = "x86_64")]
use crate::gemm::few_rows;
#[cfg(target_arch = "x86_64")]
use crate::gemm::instructions::Instructions;
use crate::gemm::matrix::{Extents, Matrix, MatrixMut, SMALL, pairs};
#[cfg(target_arch = "x86_64")]
use crate::gemm::multiply;
use crate::gemm::prepacked::Prepacked;
use crate::scalar::Scalar;
use crate::threads::parallel_loop::run_tasks;
use std::ops::Range;

/// A scalar type that arrays on the CPU hold.
pub trait Element: Scalar {
    /// Computes C ← A·B + βC on this thread, with A (m × k) and B (k × n). f32 rounds the operands as `precision` says, if the processor
    /// can; other types ignore `precision`.
    ///
    /// # Safety
    /// Every element reached through the strides must be valid for reading, and those of C for writing. Nothing else may touch the elements
    /// of C during the call. No extent may be 0. With β = 0 the old contents of C are not read.
    unsafe fn gemm(precision: Precision, extents: Extents, a: Matrix<Self>, b: Matrix<Self>, beta: Self, c: MatrixMut<Self>);

    /// Computes out ← A·B + β·out on all threads, with `out` in row-major order.
    ///
    /// # Safety
    /// As [`Element::gemm`].
    unsafe fn parallel_gemm(precision: Precision, extents: Extents, a: Matrix<Self>, b: Matrix<Self>, beta: Self, out: &mut [Self]) {
        // SAFETY: the caller's promise.
        unsafe { tiled(precision, extents, a, b, beta, out) }
    }

    /// Computes outᵢ ← Aᵢ·B for several (A, rows), or outᵢ ← A·Bᵢ for several (B, columns), on all threads. One of the two lists has one
    /// element, and all products have the inner extent k. The kernel is the one that [`Element::parallel_gemm`] would use for the rows and
    /// columns of all together.
    ///
    /// # Safety
    /// As [`Element::gemm`].
    unsafe fn parallel_gemm_batch(
        precision: Precision,
        k: usize,
        a: &[(Matrix<Self>, usize)],
        b: &[(Matrix<Self>, usize)],
        out: &mut [Vec<Self>],
    ) {
        for (((a, m), (b, n)), out) in pairs(a, b).zip(out) {
            // SAFETY: the caller's promise.
            unsafe { Self::parallel_gemm(precision, (m, k, n), a, b, Self::zero(), out) }
        }
    }

    /// Packs the columns of several B [k, n], given as (matrix, n), once for products with `rows` rows in total. `None` if the type has no
    /// kernel that packs; use [`Element::gemm`] then.
    ///
    /// # Safety
    /// No extent may be 0, and every element must be valid.
    unsafe fn prepack(_precision: Precision, _rows: usize, _k: usize, _b: &[(Matrix<Self>, usize)]) -> Option<Prepacked> {
        None
    }
    /// Computes Cᵢ ← A·Bᵢ or, to accumulate, Cᵢ ← Cᵢ + A·Bᵢ for an A of m rows, on this thread. The columns of B were packed by
    /// [`Element::prepack`].
    ///
    /// # Safety
    /// As [`Element::gemm`], with a C for each B.
    unsafe fn gemm_prepacked(_b: &Prepacked, _m: usize, _a: Matrix<Self>, _accumulate: bool, _c: &[MatrixMut<Self>]) {
        unreachable!("no columns are packed for this type")
    }

    /// Allocates a buffer of `len` elements with unspecified contents, from the pool if the type has one.
    fn allocate(len: usize) -> Vec<Self> {
        vec![Self::default(); len]
    }
    /// Gives a buffer back to the pool, if the type has one.
    fn recycle(_buffer: Vec<Self>) {}
}

/// Computes out ← A·B + β·out for one product, m × k by k × n, with `out` in row-major order. Any extent may be 0. Small products run on
/// this thread.
///
/// # Safety
/// Every element of `a` and `b` reached through the strides must be valid for reading; the precision must be that of a [`Cpu`](crate::Cpu).
pub unsafe fn product<T: Element>(precision: Precision, (m, k, n): Extents, a: Matrix<T>, b: Matrix<T>, beta: T, out: &mut [T]) {
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
    unsafe { T::gemm(precision, (m, k, n), a, b, beta, MatrixMut::row_major(out, n)) }
}

/// Largest number of rows of a tile of [`tiled`], or of columns if the output has more columns than rows.
const TILE: usize = 192;

/// Computes a product whose output is cut into tiles of a fixed size. The tiles run in parallel, each by one call of the type's GEMM.
///
/// # Safety
/// As [`product`], with no extent 0.
unsafe fn tiled<T: Element>(precision: Precision, (m, k, n): Extents, a: Matrix<T>, b: Matrix<T>, beta: T, out: &mut [T]) {
    let output = MatrixMut::row_major(out, n);
    let tile = |rows: Range<usize>, columns: Range<usize>| {
        let (a, b, output) = (a, b, output);
        // SAFETY: the tile lies inside the three matrices, and no two tiles overlap.
        unsafe {
            let (a, b) = (a.rows_from(rows.start), b.t().rows_from(columns.start).t());
            let c = MatrixMut { start: output.start.add(rows.start * n + columns.start), row_stride: n };
            T::gemm(precision, (rows.len(), k, columns.len()), a, b, beta, c);
        }
    };
    let along_rows = m >= n;
    let extent = if along_rows { m } else { n };
    let pieces = extent.div_ceil(TILE).max(if m * k * n > SMALL * 16 { 2 } else { 1 });
    let size = extent.div_ceil(pieces).next_multiple_of(16);
    run_tasks(extent.div_ceil(size), &|i| {
        let piece = i * size..((i + 1) * size).min(extent);
        if along_rows { tile(piece, 0..n) } else { tile(0..m, piece) }
    });
}

/// Implements the buffer functions of a type with a pool: buffers come from the pool and go back to it.
macro_rules! pooled_buffers {
    () => {
        fn allocate(len: usize) -> Vec<Self> {
            Self::pool().take(len)
        }
        fn recycle(buffer: Vec<Self>) {
            Self::pool().give(buffer)
        }
    };
}

/// Returns this processor's kernels for products of any size in this precision.
#[cfg(target_arch = "x86_64")]
#[inline]
fn instructions(precision: Precision) -> Option<Instructions> {
    match precision {
        Precision::F32 => Instructions::for_f32(),
        Precision::Bf16 => Instructions::for_bf16(),
        Precision::Tf32 => None,
    }
}

/// Like [`instructions`], for a large product with these extents that is cut into tasks.
#[cfg(target_arch = "x86_64")]
#[inline]
fn instructions_for_large(precision: Precision, extents: Extents) -> Option<Instructions> {
    let split = if precision == Precision::F32 { Instructions::for_large_f32(extents) } else { None };
    split.or_else(|| instructions(precision))
}

/// True for a product that streams its right-hand matrix.
#[cfg(target_arch = "x86_64")]
#[inline]
fn streams(precision: Precision, extents: Extents, a: Matrix<f32>, b: Matrix<f32>) -> bool {
    precision == Precision::F32 && few_rows::should_stream(extents, a, b)
}

/// Products by the packed kernels, or by matrixmultiply on a processor without their instructions.
impl Element for f32 {
    unsafe fn gemm(precision: Precision, extents: Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: MatrixMut<f32>) {
        #[cfg(target_arch = "x86_64")]
        if let Some(with) = instructions(precision) {
            // SAFETY: the caller's promise.
            return unsafe { multiply::serial(with, extents, a, b, beta, c) };
        }
        let _ = precision;
        let ((m, k, n), (rsa, csa), (rsb, csb)) = (extents, a.strides, b.strides);
        // SAFETY: the caller's promise is matrixmultiply's requirement.
        unsafe { matrixmultiply::sgemm(m, k, n, 1.0, a.start, rsa, csa, b.start, rsb, csb, beta, c.start, c.row_stride as isize, 1) }
    }
    unsafe fn parallel_gemm(precision: Precision, extents: Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, out: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if streams(precision, extents, a, b) {
            // SAFETY: the caller's promise.
            return unsafe { few_rows::parallel(extents, a, b, beta, out) };
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(with) = instructions_for_large(precision, extents) {
            // SAFETY: the caller's promise.
            return unsafe { multiply::parallel(with, extents, a, b, beta, out) };
        }
        // SAFETY: the caller's promise.
        unsafe { tiled(precision, extents, a, b, beta, out) }
    }
    #[cfg(target_arch = "x86_64")]
    unsafe fn parallel_gemm_batch(
        precision: Precision,
        k: usize,
        a: &[(Matrix<f32>, usize)],
        b: &[(Matrix<f32>, usize)],
        out: &mut [Vec<f32>],
    ) {
        let extent = |operands: &[(Matrix<f32>, usize)]| operands.iter().map(|(_, extent)| extent).sum();
        if pairs(a, b).all(|((a, m), (b, n))| streams(precision, (m, k, n), a, b)) {
            for (((a, m), (b, n)), out) in pairs(a, b).zip(out) {
                // SAFETY: the caller's promise.
                unsafe { few_rows::parallel((m, k, n), a, b, 0.0, out) };
            }
            return;
        }
        let with = instructions_for_large(precision, (extent(a), k, extent(b)));
        if let Some(with) = with.filter(|with| with.should_batch(a)) {
            // SAFETY: the caller's promise.
            return unsafe { multiply::parallel_batch(with, k, a, b, out) };
        }
        for (((a, m), (b, n)), out) in pairs(a, b).zip(out) {
            // SAFETY: the caller's promise.
            unsafe {
                match with {
                    Some(with) => multiply::parallel(with, (m, k, n), a, b, 0.0, out),
                    None => tiled(precision, (m, k, n), a, b, 0.0, out),
                }
            }
        }
    }
    #[cfg(target_arch = "x86_64")]
    unsafe fn prepack(precision: Precision, rows: usize, k: usize, b: &[(Matrix<f32>, usize)]) -> Option<Prepacked> {
        let with = instructions_for_large(precision, (rows, k, b.iter().map(|(_, n)| n).sum()))?;
        // SAFETY: the caller's promise.
        Some(unsafe { Prepacked::new(with, k, b) })
    }
    #[cfg(target_arch = "x86_64")]
    unsafe fn gemm_prepacked(b: &Prepacked, m: usize, a: Matrix<f32>, accumulate: bool, c: &[MatrixMut<f32>]) {
        // SAFETY: the caller's promise.
        unsafe { b.multiply(m, a, accumulate, c) }
    }
    pooled_buffers!();
}

/// Products by matrixmultiply.
impl Element for f64 {
    unsafe fn gemm(_: Precision, (m, k, n): Extents, a: Matrix<f64>, b: Matrix<f64>, beta: f64, c: MatrixMut<f64>) {
        let ((rsa, csa), (rsb, csb)) = (a.strides, b.strides);
        // SAFETY: the caller's promise is matrixmultiply's requirement.
        unsafe { matrixmultiply::dgemm(m, k, n, 1.0, a.start, rsa, csa, b.start, rsb, csb, beta, c.start, c.row_stride as isize, 1) }
    }
    pooled_buffers!();
}

/// (A + A′ε)(B + B′ε) = AB + (AB′ + A′B)ε: three products of the parts.
impl<T: Element> Element for Dual<T> {
    unsafe fn gemm(precision: Precision, (m, k, n): Extents, a: Matrix<Self>, b: Matrix<Self>, beta: Self, c: MatrixMut<Self>) {
        // SAFETY: the caller promises that every element of a, b and c reached through the strides is valid.
        unsafe {
            let (a_real, a_tangent) = real_and_tangent(m, k, a);
            let (b_real, b_tangent) = real_and_tangent(k, n, b);
            let product = |x: &[T], y: &[T], beta: T, out: &mut [T]| {
                let out = MatrixMut::row_major(out, n);
                T::gemm(precision, (m, k, n), Matrix::row_major(x, k), Matrix::row_major(y, n), beta, out);
            };
            let (mut real, mut tangent) = (vec![T::zero(); m * n], vec![T::zero(); m * n]);
            product(&a_real, &b_real, T::zero(), &mut real);
            product(&a_real, &b_tangent, T::zero(), &mut tangent);
            product(&a_tangent, &b_real, T::one(), &mut tangent);
            for i in 0..m {
                for j in 0..n {
                    let out = c.start.add(i * c.row_stride + j);
                    let product = Self::new(real[i * n + j], tangent[i * n + j]);
                    *out = if beta == Self::zero() { product } else { beta * *out + product };
                }
            }
        }
    }
}

/// Returns the real and tangent parts of a strided matrix, each in row-major order.
///
/// # Safety
/// Every element reached through the strides must be valid for reading.
unsafe fn real_and_tangent<T: Scalar>(rows: usize, columns: usize, a: Matrix<Dual<T>>) -> (Vec<T>, Vec<T>) {
    let mut real = Vec::with_capacity(rows * columns);
    let mut tangent = Vec::with_capacity(rows * columns);
    for i in 0..rows as isize {
        for j in 0..columns as isize {
            // SAFETY: (i, j) is inside the matrix that the caller vouches for.
            let element = unsafe { *a.start.offset(i * a.strides.0 + j * a.strides.1) };
            real.push(element.real);
            tangent.push(element.tangent);
        }
    }
    (real, tangent)
}
