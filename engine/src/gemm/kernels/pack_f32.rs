//! Packing in f32, for kernels of fused multiply-adds: a panel of G lines is packed as a matrix [k, G].

use crate::gemm::kernel::{Side, Unit};
use crate::gemm::matrix::Matrix;
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::cell::RefCell;
use std::thread::LocalKey;

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Unit for f32 {
    fn scratch() -> &'static LocalKey<RefCell<Vec<Self>>> {
        &SCRATCH
    }
}

/// The largest block of k: a panel of B stays in the first two levels of cache.
pub const DEPTH: usize = 256;
/// The extent along k of a band of interleaved lines: a panel takes two cache lines of it at most.
pub const BAND: usize = 16;
/// The least multiply-adds of a task, about.
pub const TASK_WORK: usize = 1 << 17;

/// How far along k interleaved lines are prefetched.
const PREFETCH_AHEAD: isize = 32;

/// Vectors of f32 of one set of instructions.
pub trait Vectors {
    /// Numbers in a vector.
    const LANES: usize;

    /// Transposes a square of contiguous lines, or its first `count` lines: to[p·to_stride + j] ← from[j·from_stride + p] for p below
    /// [`Vectors::LANES`] and j below `count`.
    ///
    /// # Safety
    /// The instructions must be available and all elements valid.
    unsafe fn transpose(from: *const f32, from_stride: isize, count: usize, to: *mut f32, to_stride: usize);
}

/// Packs a panel of A, of R lines, or of B, of C lines.
///
/// # Safety
/// As [`Kernel::pack`](crate::gemm::kernel::Kernel::pack).
pub unsafe fn pack<V: Vectors, const R: usize, const C: usize>(
    side: Side,
    lines: Matrix<f32>,
    extents: (usize, usize),
    packed: &mut [f32],
) {
    // SAFETY: the caller's promise.
    unsafe {
        match side {
            Side::A => panel::<V, R>(lines, extents, packed),
            Side::B => panel::<V, C>(lines, extents, packed),
        }
    }
}

/// Packs a panel of G lines.
///
/// # Safety
/// As [`pack`].
unsafe fn panel<V: Vectors, const G: usize>(lines: Matrix<f32>, extents: (usize, usize), packed: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe {
        match lines.strides {
            (1, _) if extents.0 == G => interleaved_lines::<G>(lines, packed),
            (_, 1) => contiguous_lines::<V, G>(lines, extents, packed),
            _ => strided_lines::<G>(lines, extents.0, packed),
        }
    }
}

/// [`panel`] for a whole panel of lines whose numbers at each place of k are contiguous.
///
/// # Safety
/// As [`pack`].
unsafe fn interleaved_lines<const G: usize>(lines: Matrix<f32>, packed: &mut [f32]) {
    for (p, to) in packed.as_chunks_mut::<G>().0.iter_mut().enumerate() {
        // SAFETY: the caller's promise; what is prefetched need not exist.
        unsafe {
            let from = lines.start.offset(p as isize * lines.strides.1);
            for line in (0..G).step_by(16) {
                _mm_prefetch::<_MM_HINT_T0>(from.wrapping_offset(PREFETCH_AHEAD * lines.strides.1).wrapping_add(line).cast());
            }
            std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), G);
        }
    }
}

/// [`panel`] for lines that are contiguous each: they are transposed square by square.
///
/// # Safety
/// As [`pack`].
unsafe fn contiguous_lines<V: Vectors, const G: usize>(lines: Matrix<f32>, (count, k): (usize, usize), packed: &mut [f32]) {
    let at = |line: usize, p: usize| lines.start.wrapping_offset(line as isize * lines.strides.0 + p as isize);
    let whole = k / V::LANES * V::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        for p in (0..whole).step_by(V::LANES) {
            for line in (0..count).step_by(V::LANES) {
                let to = packed.as_mut_ptr().add(p * G + line);
                V::transpose(at(line, p), lines.strides.0, V::LANES.min(count - line), to, G);
            }
        }
        for (p, to) in packed.as_chunks_mut::<G>().0.iter_mut().enumerate().skip(whole) {
            (0..count).for_each(|line| to[line] = *at(line, p));
        }
    }
}

/// [`panel`] for any strides.
///
/// # Safety
/// As [`pack`].
unsafe fn strided_lines<const G: usize>(lines: Matrix<f32>, count: usize, packed: &mut [f32]) {
    for (p, to) in packed.as_chunks_mut::<G>().0.iter_mut().enumerate() {
        for (line, to) in to.iter_mut().enumerate().take(count) {
            // SAFETY: the caller's promise.
            *to = unsafe { *lines.start.offset(line as isize * lines.strides.0 + p as isize * lines.strides.1) };
        }
    }
}
