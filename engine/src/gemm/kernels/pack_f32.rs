//! Operands of f32 in the order the kernels read them: of A the groups' columns, of B the panels' rows.

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

/// Blocks of k have at most this extent, so that a panel of B stays in the first two levels of cache.
pub const DEPTH: usize = 256;
/// Lines that lie next to each other are packed in bands of this inner extent: a group's are two lines of the cache at most.
pub const BAND: usize = 16;
/// A task has at least about this many multiply-adds.
pub const TASK_WORK: usize = 1 << 17;

/// How far along k numbers of neighbouring lines are fetched before they are read.
const AHEAD: isize = 32;

/// Vectors of f32.
pub trait Vectors {
    /// Numbers of a vector.
    const LANES: usize;

    /// to[p·to_stride + j] ← from[j·from_stride + p] for p below [`Vectors::LANES`] and j below `count`, at most as many: a square of contiguous
    /// lines, or some of its lines, as their columns.
    ///
    /// # Safety
    /// The instructions must be there and all elements valid.
    unsafe fn transpose(from: *const f32, from_stride: isize, count: usize, to: *mut f32, to_stride: usize);
}

/// Packs a group of A, of R lines, or of B, of C lines: [k, R] or [k, C].
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
            Side::A => group::<V, R>(lines, extents, packed),
            Side::B => group::<V, C>(lines, extents, packed),
        }
    }
}

/// Packs a group of G lines: [k, G].
///
/// # Safety
/// As [`pack`].
unsafe fn group<V: Vectors, const G: usize>(lines: Matrix<f32>, extents: (usize, usize), packed: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe {
        match lines.strides {
            (1, _) if extents.0 == G => neighbouring_lines::<G>(lines, packed),
            (_, 1) => contiguous_lines::<V, G>(lines, extents, packed),
            _ => any::<G>(lines, extents.0, packed),
        }
    }
}

/// [`group`] for a whole group of lines that lie next to each other.
///
/// # Safety
/// As [`pack`].
unsafe fn neighbouring_lines<const G: usize>(lines: Matrix<f32>, packed: &mut [f32]) {
    for (p, to) in packed.as_chunks_mut::<G>().0.iter_mut().enumerate() {
        // SAFETY: the caller's promise; what is fetched ahead need not be there.
        unsafe {
            let from = lines.start.offset(p as isize * lines.strides.1);
            for line in (0..G).step_by(16) {
                _mm_prefetch::<_MM_HINT_T0>(from.wrapping_offset(AHEAD * lines.strides.1).wrapping_add(line).cast());
            }
            std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), G);
        }
    }
}

/// [`group`] for lines that are contiguous each: squares of them are transposed.
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

/// [`group`] for any strides.
///
/// # Safety
/// As [`pack`].
unsafe fn any<const G: usize>(lines: Matrix<f32>, count: usize, packed: &mut [f32]) {
    for (p, to) in packed.as_chunks_mut::<G>().0.iter_mut().enumerate() {
        for (line, to) in to.iter_mut().enumerate().take(count) {
            // SAFETY: the caller's promise.
            *to = unsafe { *lines.start.offset(line as isize * lines.strides.0 + p as isize * lines.strides.1) };
        }
    }
}
