//! Operands rounded to bfloat16, to nearest and ties to even, in the order the kernels read them, with zeros past their edges. The instructions take
//! numbers below the smallest normal one as zero, in operands and in sums.
//!
//! A unit is 16 pairs of numbers that follow each other along k. A step of a group of A is a unit for each of its lines; a step of a panel of B
//! is the pairs of all its lines for each of the 16 places.

use super::avx512::{lanes, transposed};
use crate::buffer_pool::{Pool, Pooled};
use crate::gemm::kernel::{Kernel, Side, Tile, Unit};
use crate::gemm::matrix::Matrix;
use std::arch::x86_64::*;
use std::cell::RefCell;
use std::sync::LazyLock;
use std::thread::LocalKey;

/// The inner extent of a unit: a row of an AMX tile.
pub const STEP: usize = 32;
/// Pairs of a unit.
pub const PAIRS: usize = STEP / 2;
/// Columns of a panel of B.
pub const COLUMNS: usize = 32;
/// Blocks of k have at most this extent, so that the group that is used again stays in the first-level cache.
pub const DEPTH: usize = 512;
/// A task has at least about this many multiply-adds.
pub const TASK_WORK: usize = 1 << 19;
/// A square of packing has this many lines.
pub const LINES: usize = 16;
/// How far along k numbers are fetched before they are read.
const AHEAD: usize = 64;

/// Sixteen pairs of bfloat16 numbers, the first of each in the low half: a line of the cache.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Pairs([u32; PAIRS]);

static POOL: LazyLock<Pool<Pairs>> = LazyLock::new(Pool::new);

thread_local! {
    static SCRATCH: RefCell<Vec<Pairs>> = const { RefCell::new(Vec::new()) };
}

impl Pooled for Pairs {
    fn pool() -> &'static Pool<Self> {
        &POOL
    }
}
impl Unit for Pairs {
    fn scratch() -> &'static LocalKey<RefCell<Vec<Self>>> {
        &SCRATCH
    }
}

/// Packs a group for this kernel.
///
/// # Safety
/// As [`Kernel::pack`].
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub unsafe fn pack<K: Kernel>(side: Side, lines: Matrix<f32>, (count, k): (usize, usize), packed: &mut [Pairs]) {
    let (group, (across, along)) = (side.group::<K>(), lines.strides);
    for (step, packed) in packed.chunks_exact_mut(group).enumerate() {
        for first in (0..group).step_by(LINES) {
            let line = first.min(count);
            let start = lines.start.wrapping_offset(line as isize * across + (step * STEP) as isize * along);
            let square = Square { start, across, along, extents: (LINES.min(count - line), STEP.min(k - step * STEP)) };
            // SAFETY: the caller's promise: the square lies inside the operand.
            unsafe {
                match side {
                    Side::A => store(square.by_line(), packed.as_mut_ptr().add(first), 1),
                    Side::B => store(square.by_pair(), packed.as_mut_ptr().add(first / LINES), group / LINES),
                }
            }
        }
    }
}

/// `kernel` for whole groups, in which part of C is used.
///
/// # Safety
/// As [`Kernel::sums`].
pub unsafe fn of_whole_groups<K: Kernel<Unit = Pairs>>((rows, columns): (usize, usize), tile: Tile<Pairs>, kernel: unsafe fn(Tile<Pairs>)) {
    if (rows, columns) == (K::ROWS, COLUMNS) {
        // SAFETY: the caller's promise.
        return unsafe { kernel(tile) };
    }
    let mut whole = [0.0; 32 * COLUMNS];
    // SAFETY: the caller's promise; `whole` has the extents of whole groups.
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
                self.rounded_along()
            } else if self.across == 1 {
                transposed_pairs(self.rounded_across())
            } else {
                self.copied(&mut [0.0; LINES * STEP]).rounded_along()
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
        unsafe { if self.across == 1 { self.rounded_across() } else { transposed_pairs(self.by_line()) } }
    }

    /// [`Square::by_line`] for numbers that are contiguous along k.
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn rounded_along(self) -> [__m512i; LINES] {
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
            _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(AHEAD).cast());
            _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(AHEAD + 16).cast());
            (_mm512_maskz_loadu_ps(low, from), _mm512_maskz_loadu_ps(high, from.wrapping_add(16)))
        }
    }

    /// [`Square::by_pair`] for lines that are contiguous: two rows of the memory interleaved.
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn rounded_across(self) -> [__m512i; PAIRS] {
        let mut x = [_mm512_setzero_si512(); PAIRS];
        for (pair, x) in x.iter_mut().enumerate().take(self.extents.1.div_ceil(2)) {
            // SAFETY: the caller's promise.
            let (first, second) = unsafe { self.rows_of_pair(pair) };
            *x = interleaved(first, second);
        }
        x
    }

    /// Two rows of the memory of lines that lie next to each other.
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
            _mm_prefetch::<_MM_HINT_T0>(from.wrapping_offset(AHEAD as isize * self.along).cast());
            _mm_prefetch::<_MM_HINT_T0>(next.wrapping_offset(AHEAD as isize * self.along).cast());
            let next_mask = if 2 * pair + 1 < self.extents.1 { mask } else { 0 };
            (_mm512_maskz_loadu_ps(mask, from), _mm512_maskz_loadu_ps(next_mask, next))
        }
    }

    /// A contiguous copy.
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    unsafe fn copied(self, copy: &mut [f32; LINES * STEP]) -> Self {
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
pub fn transposed_pairs(x: [__m512i; PAIRS]) -> [__m512i; PAIRS] {
    // SAFETY: both are squares of vectors of 512 bits.
    unsafe { std::mem::transmute(transposed(std::mem::transmute::<[__m512i; PAIRS], [__m512; PAIRS]>(x))) }
}
