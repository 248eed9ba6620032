//! The products that the rest of the engine calls: in one thread, on all threads, and several that share an operand.

use super::instructions::{Instructions, with};
use super::kernel::{Kernel, NoBackground, Side, block_depth, with_scratch};
use super::loop_nest::{Block, multiply_on_all_threads};
use super::matrix::{Extents, Matrix, MatrixMut, pairs};
use super::operand::{Member, Operand, split_range};
use super::split_k::{multiply_split_k, should_split_k};

/// C ← A·B + βC on this thread.
///
/// # Safety
/// The instructions must be available. No extent may be 0. Every element that is reached must be valid, and nothing else may touch those of
/// C during the call.
pub unsafe fn serial(with: Instructions, extents: Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: MatrixMut<f32>) {
    // SAFETY: the caller's promise.
    unsafe { with!(with, serial_with(extents, a, b, beta, c)) }
}

/// C ← A·B + βC on all threads, with C in row-major order.
///
/// # Safety
/// As [`serial`].
pub unsafe fn parallel(with: Instructions, extents: Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: &mut [f32]) {
    let (m, k, n) = extents;
    let c = MatrixMut::row_major(c, n);
    // SAFETY: the caller's promise.
    unsafe {
        let accumulate = scale_by_beta(extents, beta, c);
        with!(with, parallel_with(k, &[Member::single(a, m)], &[Member::single(b.t(), n)], accumulate, &[c]))
    }
}

/// Cᵢ ← Aᵢ·B for several A, or Cᵢ ← A·Bᵢ for several B, on all threads, with each C in row-major order. Operands come as (matrix, rows) and
/// (matrix, columns), and one of the two lists has one element. Each C has the bits of a product of its own by the same instructions.
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

/// Scales C by a β other than 0 and 1, which kernels do not know. True if the product is to be added to C then.
///
/// # Safety
/// The elements of C must be valid.
pub unsafe fn scale_by_beta((m, _, n): Extents, beta: f32, c: MatrixMut<f32>) -> bool {
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
    let (a, b) = ([Member::single(a, m)], [Member::single(b.t(), n)]);
    let (a, b) = (Operand::new(Side::A, &a), Operand::new(Side::B, &b));
    // SAFETY: the caller's promise.
    unsafe {
        let accumulate = scale_by_beta((m, k, n), beta, c);
        for k_block in split_range(0..k, block_depth::<K>(k)) {
            let a_len = a.own_packed_len::<K>(m, k_block.len());
            with_scratch(a_len + b.columns_packed_len::<K>(n, k_block.len()), |scratch| {
                let (a_packed, b_packed) = scratch.split_at_mut(a_len);
                let (rows, columns) = (a.rows::<K>(0..m, &k_block, a_packed), b.columns::<K>(0..n, &k_block, b_packed));
                let block = Block { a, b, k_block: &k_block, accumulate: accumulate || k_block.start > 0, c: &[c] };
                block.multiply::<K>((0..m, 0..n), rows, columns, &mut NoBackground);
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
    unsafe { parallel_with::<K>(k, &Member::stack::<K>(Side::A, a), &Member::stack::<K>(Side::B, b), false, c) }
}

/// [`parallel`] with this kernel, with an output for each member of A or of B, whichever has several.
///
/// # Safety
/// As [`serial`].
pub unsafe fn parallel_with<K: Kernel>(k: usize, a: &[Member], b: &[Member], accumulate: bool, c: &[MatrixMut<f32>]) {
    let (a, b) = (Operand::new(Side::A, a), Operand::new(Side::B, b));
    debug_assert!(a.lines > 0 && k > 0 && b.lines > 0, "a product of nothing");
    let shared_and_own = if a.lines <= b.lines { (a, b) } else { (b, a) };
    let depth = block_depth::<K>(k);
    // SAFETY: the caller's promise.
    unsafe {
        if K::SUMS_FROM_ZERO && should_split_k(k.div_ceil(depth), (a.lines, k, b.lines)) {
            multiply_split_k::<K>(shared_and_own, k, depth, accumulate, c)
        } else {
            multiply_on_all_threads::<K>(shared_and_own, k, depth, accumulate, c)
        }
    }
}
