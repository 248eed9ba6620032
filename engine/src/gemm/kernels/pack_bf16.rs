//! Packing rounded to bfloat16, to nearest and ties to even, with zeros past the edges.
//!
//! A unit is a cache line of 16 pairs of numbers, each pair from two neighbouring places of k. A step of a panel of A is a unit for each of
//! its lines. A step of a panel of B is, for each of the 16 pairs of places, the pairs of all its lines.
//!
//! The instructions take numbers below the smallest normal one as zero, in operands and in sums.

use super::avx512::{lanes, transposed};
use crate::buffer_pool::{BufferPool, Pooled};
use crate::gemm::kernel::{Kernel, Side, Tile, Unit};
use crate::gemm::matrix::Matrix;
use std::arch::x86_64::*;
use std::cell::RefCell;
use std::sync::LazyLock;
use std::thread::LocalKey;

/// The extent of a unit along k: a row of an AMX tile.
pub const STEP: usize = 32;
/// Pairs in a unit.
pub const PAIRS: usize = STEP / 2;
/// Columns of a panel of B.
pub const COLUMNS: usize = 32;
/// The largest block of k: a panel that is used again stays in L1.
pub const DEPTH: usize = 512;
/// The least multiply-adds of a task, about.
pub const TASK_WORK: usize = 1 << 19;
/// Lines of a square that is packed at a time.
pub const LINES: usize = 16;
/// How far along k numbers are prefetched.
const PREFETCH_AHEAD: usize = 64;

/// Sixteen pairs of numbers of bfloat16, the first of each in the low half: a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Pairs([u32; PAIRS]);

static POOL: LazyLock<BufferPool<Pairs>> = LazyLock::new(BufferPool::new);

thread_local! {
    static SCRATCH: RefCell<Vec<Pairs>> = const { RefCell::new(Vec::new()) };
}

impl Pooled for Pairs {
    fn pool() -> &'static BufferPool<Self> {
        &POOL
    }
}
impl Unit for Pairs {
    fn scratch() -> &'static LocalKey<RefCell<Vec<Self>>> {
        &SCRATCH
    }
}

/// Packs a panel for this kernel.
///
/// # Safety
/// As [`Kernel::pack`].
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub unsafe fn pack<K: Kernel>(side: Side, lines: Matrix<f32>, (count, k): (usize, usize), packed: &mut [Pairs]) {
    let (panel_lines, (across, along)) = (side.panel_lines::<K>(), lines.strides);
    for (step, packed) in packed.chunks_exact_mut(panel_lines).enumerate() {
        for first in (0..panel_lines).step_by(LINES) {
            let line = first.min(count);
            let start = lines.start.wrapping_offset(line as isize * across + (step * STEP) as isize * along);
            let square = Square { start, across, along, extents: (LINES.min(count - line), STEP.min(k - step * STEP)) };
            // SAFETY: the caller's promise: the square lies inside the operand.
            unsafe {
                match side {
                    Side::A => store(square.by_line(), packed.as_mut_ptr().add(first), 1),
                    Side::B => store(square.by_pair(), packed.as_mut_ptr().add(first / LINES), panel_lines / LINES),
                }
            }
        }
    }
}

/// Runs `kernel`, which multiplies whole panels, for the first rows and columns of a tile.
///
/// # Safety
/// As [`Kernel::multiply_tile`].
pub unsafe fn multiply_whole_panels<K: Kernel<Unit = Pairs>>(
    (rows, columns): (usize, usize),
    tile: Tile<Pairs>,
    kernel: unsafe fn(Tile<Pairs>),
) {
    if (rows, columns) == (K::ROWS, COLUMNS) {
        // SAFETY: the caller's promise.
        return unsafe { kernel(tile) };
    }
    let mut whole = [0.0; 32 * COLUMNS];
    // SAFETY: the caller's promise; `whole` has the extents of whole panels.
    unsafe {
        for i in (0..rows).filter(|_| tile.accumulate) {
            std::ptr::copy_nonoverlapping(tile.c.add(i * tile.c_stride), whole.as_mut_ptr().add(i * COLUMNS), columns);
        }
        kernel(Tile { c: whole.as_mut_ptr(), c_stride: COLUMNS, ..tile });
        for i in 0..rows {
            std::ptr::copy_nonoverlapping(whole.as_ptr().add(i * COLUMNS), tile.c.add(i * tile.c_stride), columns);
        }
    }
}

/// Stores vectors `stride` rows apart.
///
/// # Safety
/// The rows must be valid.
#[inline]
#[target_feature(enable = "avx512f")]
pub unsafe fn store(x: [__m512i; PAIRS], to: *mut Pairs, stride: usize) {
    for (i, x) in x.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { _mm512_store_si512(to.add(i * stride).cast(), x) }
    }
}

/// At most sixteen lines by a step of k, by its first element, its strides and its (lines, inner extent).
#[derive(Clone, Copy)]
struct Square {
    start: *const f32,
    across: isize,
    along: isize,
    extents: (usize, usize),
}

impl Square {
    /// A vector of 16 pairs along k for each line.
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn by_line(self) -> [__m512i; LINES] {
        // SAFETY: the caller's promise.
        unsafe {
            if self.along == 1 {
                self.pairs_along()
            } else if self.across == 1 {
                transpose_pairs(self.pairs_across())
            } else {
                self.copy_to(&mut [0.0; LINES * STEP]).pairs_along()
            }
        }
    }

    /// A vector of 16 lines for each pair along k.
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn by_pair(self) -> [__m512i; PAIRS] {
        // SAFETY: the caller's promise.
        unsafe { if self.across == 1 { self.pairs_across() } else { transpose_pairs(self.by_line()) } }
    }

    /// [`Square::by_line`] for numbers that are contiguous along k.
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn pairs_along(self) -> [__m512i; LINES] {
        let mut x = [_mm512_setzero_si512(); LINES];
        for (line, x) in x.iter_mut().enumerate().take(self.extents.0) {
            // SAFETY: the caller's promise.
            let (low, high) = unsafe { self.halves_of_line(line) };
            *x = rounded(low, high);
        }
        x
    }

    /// The first and the last 16 numbers of a line that is contiguous along k.
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn halves_of_line(self, line: usize) -> (__m512, __m512) {
        let (low, high) = (lanes(self.extents.1), lanes(self.extents.1.saturating_sub(16)));
        // SAFETY: the caller's promise; lanes that are masked out are not read.
        unsafe {
            let from = self.start.offset(line as isize * self.across);
            _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(PREFETCH_AHEAD).cast());
            _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(PREFETCH_AHEAD + 16).cast());
            (_mm512_maskz_loadu_ps(low, from), _mm512_maskz_loadu_ps(high, from.wrapping_add(16)))
        }
    }

    /// [`Square::by_pair`] for interleaved lines: the numbers of two rows of memory in turn.
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn pairs_across(self) -> [__m512i; PAIRS] {
        let mut x = [_mm512_setzero_si512(); PAIRS];
        for (pair, x) in x.iter_mut().enumerate().take(self.extents.1.div_ceil(2)) {
            // SAFETY: the caller's promise.
            let (first, second) = unsafe { self.rows_of_pair(pair) };
            *x = interleaved(first, second);
        }
        x
    }

    /// The two rows of memory that have a pair of places of interleaved lines.
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn rows_of_pair(self, pair: usize) -> (__m512, __m512) {
        let mask = lanes(self.extents.0);
        // SAFETY: the caller's promise; rows past the extent are not read.
        unsafe {
            let from = self.start.wrapping_offset(2 * pair as isize * self.along);
            let next = from.wrapping_offset(self.along);
            _mm_prefetch::<_MM_HINT_T0>(from.wrapping_offset(PREFETCH_AHEAD as isize * self.along).cast());
            _mm_prefetch::<_MM_HINT_T0>(next.wrapping_offset(PREFETCH_AHEAD as isize * self.along).cast());
            let next_mask = if 2 * pair + 1 < self.extents.1 { mask } else { 0 };
            (_mm512_maskz_loadu_ps(mask, from), _mm512_maskz_loadu_ps(next_mask, next))
        }
    }

    /// A contiguous copy.
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    unsafe fn copy_to(self, copy: &mut [f32; LINES * STEP]) -> Self {
        for (line, copy) in copy.chunks_exact_mut(STEP).enumerate().take(self.extents.0) {
            for (p, x) in copy.iter_mut().enumerate().take(self.extents.1) {
                // SAFETY: the caller's promise.
                *x = unsafe { *self.start.offset(line as isize * self.across + p as isize * self.along) };
            }
        }
        Self { start: copy.as_ptr(), across: STEP as isize, along: 1, ..self }
    }
}

/// The 16 numbers of `low` and then those of `high`, rounded.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
pub fn rounded(low: __m512, high: __m512) -> __m512i {
    // SAFETY: both are vectors of 512 bits.
    unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(high, low)) }
}

/// The numbers of two rows in turn, rounded.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub fn interleaved(first: __m512, second: __m512) -> __m512i {
    // Word 2i comes from word i of the first row, word 2i + 1 from word i of the second, which follows it by 16.
    let words = _mm512_add_epi32(_mm512_mullo_epi32(_mm512_set1_epi32(0x0001_0001), indices()), _mm512_set1_epi32(0x0010_0000));
    _mm512_permutexvar_epi16(words, rounded(first, second))
}

/// 0 to 15.
#[inline]
#[target_feature(enable = "avx512f")]
fn indices() -> __m512i {
    _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
}

/// The transpose of a square of pairs.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn transpose_pairs(x: [__m512i; PAIRS]) -> [__m512i; PAIRS] {
    // SAFETY: both are squares of vectors of 512 bits.
    unsafe { std::mem::transmute(transposed(std::mem::transmute::<[__m512i; PAIRS], [__m512; PAIRS]>(x))) }
}
