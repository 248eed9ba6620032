//! Products with a set of instructions, in one thread or in parallel.

use super::instructions::{Instructions, with};
use super::kernel::{Kernel, Nothing, Side, block_depth, with_scratch};
use super::loop_nest::{Block, Product, SHARED_BYTES};
use super::matrix::{Extents, Matrix, MatrixMut, pairs};
use super::operand::{Operand, Piece, parts};
use super::split_k;
use crate::buffer_pool::Pooled;

/// C ← A·B + βC in this thread, C with rows `c_stride` apart.
///
/// # Safety
/// The instructions must be there; no extent may be 0; every element that is reached must be valid, and nothing else may touch those of C meanwhile.
pub unsafe fn serial(with: Instructions, extents: Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: MatrixMut<f32>) {
    // SAFETY: the caller's promise.
    unsafe { with!(with, serial_with(extents, a, b, beta, c)) }
}

/// C ← A·B + βC in parallel, C in row-major order.
///
/// # Safety
/// As [`serial`].
pub unsafe fn parallel(with: Instructions, extents: Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: &mut [f32]) {
    let (m, k, n) = extents;
    let c = MatrixMut::row_major(c, n);
    // SAFETY: the caller's promise.
    unsafe {
        let accumulate = accumulates(extents, beta, c);
        with!(with, parallel_with(k, &[Piece::only(a, m)], &[Piece::only(b.t(), n)], accumulate, &[c]))
    }
}

/// Cᵢ ← Aᵢ·B for several A, or Cᵢ ← A·Bᵢ for several B, in parallel, each C in row-major order: each element with the bits of a product of its
/// own by the same instructions. Operands come as (matrix, rows) and (matrix, columns), one of the two lists with one.
///
/// # Safety
/// As [`serial`].
pub unsafe fn parallel_batch(with: Instructions, k: usize, a: &[(Matrix<f32>, usize)], b: &[(Matrix<f32>, usize)], c: &mut [Vec<f32>]) {
    debug_assert!(a.len().min(b.len()) == 1 && a.len().max(b.len()) == c.len(), "products that share an operand");
    let outputs = c.iter_mut().zip(pairs(a, b));
    let c: Vec<MatrixMut<f32>> = outputs.map(|(c, (_, (_, n)))| MatrixMut::row_major(c, n)).collect();
    // SAFETY: the caller's promise.
    unsafe { with!(with, parallel_batch_with(k, a, b, &c)) }
}

/// Is the product to be added to C? For β other than 0 and 1, which kernels do not know, C ← βC first.
///
/// # Safety
/// The elements of C must be valid.
pub unsafe fn accumulates((m, _, n): Extents, beta: f32, c: MatrixMut<f32>) -> bool {
    if beta != 0.0 && beta != 1.0 {
        for i in 0..m {
            // SAFETY: the caller's promise.
            let row = unsafe { std::slice::from_raw_parts_mut(c.start.add(i * c.row_stride), n) };
            row.iter_mut().for_each(|x| *x *= beta);
        }
    }
    beta != 0.0
}

/// [`serial`] with this kernel.
///
/// # Safety
/// As [`serial`].
pub unsafe fn serial_with<K: Kernel>((m, k, n): Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: MatrixMut<f32>) {
    debug_assert!(m > 0 && k > 0 && n > 0, "a product of nothing");
    let (a, b) = ([Piece::only(a, m)], [Piece::only(b.t(), n)]);
    let (a, b) = (Operand::new(Side::A, &a), Operand::new(Side::B, &b));
    // SAFETY: the caller's promise.
    unsafe {
        let accumulate = accumulates((m, k, n), beta, c);
        for part in parts(0..k, block_depth::<K>(k)) {
            let a_len = a.own_len::<K>(m, part.len());
            with_scratch(a_len + b.columns_len::<K>(n, part.len()), |scratch| {
                let (a_packed, b_packed) = scratch.split_at_mut(a_len);
                let (rows, columns) = (a.rows::<K>(0..m, &part, a_packed), b.columns::<K>(0..n, &part, b_packed));
                let block = Block { a, b, part: &part, accumulate: accumulate || part.start > 0, c: &[c] };
                block.run::<K>((0..m, 0..n), rows, columns, &mut Nothing);
            });
        }
    }
}

/// [`parallel_batch`] with this kernel.
///
/// # Safety
/// As [`serial`].
unsafe fn parallel_batch_with<K: Kernel>(k: usize, a: &[(Matrix<f32>, usize)], b: &[(Matrix<f32>, usize)], c: &[MatrixMut<f32>]) {
    // SAFETY: the caller's promise.
    unsafe { parallel_with::<K>(k, &Piece::each::<K>(Side::A, a), &Piece::each::<K>(Side::B, b), false, c) }
}

/// [`parallel`] with this kernel, for an output of each piece of A, or of B, whichever has several.
///
/// # Safety
/// As [`serial`].
pub unsafe fn parallel_with<K: Kernel>(k: usize, a: &[Piece], b: &[Piece], accumulate: bool, c: &[MatrixMut<f32>]) {
    let (a, b) = (Operand::new(Side::A, a), Operand::new(Side::B, b));
    debug_assert!(a.lines > 0 && k > 0 && b.lines > 0, "a product of nothing");
    let (shared, own) = if a.lines <= b.lines { (a, b) } else { (b, a) };
    let depth = block_depth::<K>(k);
    if K::SUMS_APART && split_k::pays(k.div_ceil(depth), (a.lines, k, b.lines)) {
        // SAFETY: the caller's promise.
        return unsafe { split_k::run::<K>((shared, own), k, depth, accumulate, c) };
    }
    let block_len = shared.packed_len::<K>(shared.lines, depth);
    let blocks = SHARED_BYTES / (block_len * size_of::<K::Unit>());
    // SAFETY: the caller's promise.
    unsafe {
        for part in parts(0..k, blocks.max(1) * depth) {
            let packed = shared.pack_in_parallel::<K>(&part, depth);
            let accumulate = accumulate || part.start > 0;
            let product = Product { shared, own, part, depth, packed: &packed, accumulate, c };
            product.run::<K>();
            K::Unit::pool().give(packed);
        }
    }
}
