//! Operands in the order the kernels read them, rounded to bfloat16 to nearest, ties to even, with zeros past their edges.
//!
//! Both operands are seen as lines along k: rows of A, columns of B. Groups of lines are cut along k into steps of [`STEP`]; a step of a group
//! of A is a row of [`PAIRS`] pairs for each of its lines, one of a panel of B is a row of [`COLUMNS`] pairs (two [`Row`]s) for each pair of k.

use super::super::matmul::Matrix;
use super::super::packed_gemm::transposed;
use super::super::pool::Pool;
use rayon::prelude::*;
use std::arch::x86_64::*;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::LazyLock;

/// The inner extent of a step: a row of an AMX tile.
pub const STEP: usize = 32;
/// Pairs of a step.
pub const PAIRS: usize = STEP / 2;
/// Columns of a panel of B.
pub const COLUMNS: usize = 32;
const AHEAD: usize = 64;
/// A square of packing has this many lines.
const LINES: usize = 16;

/// Sixteen pairs of bfloat16 numbers that follow each other along k, the first in the low half: a row of an AMX tile, a line of the cache.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Row([u32; PAIRS]);

static ROWS: LazyLock<Pool<Row>> = LazyLock::new(Pool::new);

thread_local! {
    static SCRATCH: RefCell<Vec<Row>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` with a scratch buffer of this thread, with unspecified contents.
pub fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [Row]) -> R) -> R {
    let mut buffer = SCRATCH.take();
    if buffer.len() < len {
        buffer.resize(len, Row::default());
    }
    let result = f(&mut buffer[..len]);
    SCRATCH.set(buffer);
    result
}

/// Gives a packed operand back to the pool.
pub fn recycle(packed: Vec<Row>) {
    ROWS.give(packed);
}

/// Which operand it is.
#[derive(Clone, Copy)]
pub enum Side {
    /// A, in groups of this many rows.
    Rows(usize),
    /// B, in panels.
    Columns,
}

/// An operand by its lines: a matrix [lines, k].
#[derive(Clone, Copy)]
pub struct Operand {
    /// A, or B transposed.
    pub matrix: Matrix<f32>,
    /// Which it is.
    pub side: Side,
}

impl Operand {
    /// Lines of a group.
    pub fn group(self) -> usize {
        match self.side {
            Side::Rows(rows) => rows,
            Side::Columns => COLUMNS,
        }
    }

    /// Rows of pairs that this many lines take for an inner extent of k.
    pub fn packed_len(self, lines: usize, k: usize) -> usize {
        lines.next_multiple_of(self.group()) * k.div_ceil(STEP)
    }

    /// The packed rows of these lines, which begin with a group, of a block of all lines.
    pub fn packed_lines<'a>(self, packed: &'a [Row], lines: &Range<usize>, k: usize) -> &'a [Row] {
        let start = self.packed_len(lines.start, k);
        &packed[start..start + self.packed_len(lines.len(), k)]
    }

    /// Packs these lines for this part of k.
    ///
    /// # Safety
    /// AVX512-BF16 must be there and the elements valid.
    pub unsafe fn pack(self, lines: Range<usize>, part: Range<usize>, packed: &mut [Row]) {
        let group_len = part.len().div_ceil(STEP) * self.group();
        for (number, packed) in packed.chunks_exact_mut(group_len).enumerate() {
            let first = lines.start + number * self.group();
            // SAFETY: the caller's promise.
            unsafe { self.pack_group(first..(first + self.group()).min(lines.end), part.clone(), packed) }
        }
    }

    /// All lines for a part of k, cut into blocks of `depth`: each block as [`Operand::pack`] makes it, in the space of a whole one.
    ///
    /// # Safety
    /// As [`Operand::pack`].
    pub unsafe fn pack_in_parallel(self, lines: usize, part: &Range<usize>, depth: usize) -> Vec<Row> {
        let block_len = self.packed_len(lines, depth);
        let mut packed = ROWS.take(part.len().div_ceil(depth) * block_len);
        packed.par_chunks_exact_mut(block_len).enumerate().for_each(|(block, packed)| {
            let from = part.start + block * depth;
            let part = from..(from + depth).min(part.end);
            let group_len = part.len().div_ceil(STEP) * self.group();
            let packed = &mut packed[..self.packed_len(lines, part.len())];
            packed.par_chunks_exact_mut(group_len).with_min_len(2).enumerate().for_each(|(number, packed)| {
                let first = number * self.group();
                // SAFETY: the caller's promise.
                unsafe { self.pack_group(first..(first + self.group()).min(lines), part.clone(), packed) }
            });
        });
        packed
    }

    /// Packs one group.
    ///
    /// # Safety
    /// As [`Operand::pack`].
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn pack_group(self, lines: Range<usize>, part: Range<usize>, packed: &mut [Row]) {
        let (across, along) = self.matrix.strides;
        for (step, packed) in packed.chunks_exact_mut(self.group()).enumerate() {
            let k = part.start + step * STEP;
            for first in (0..self.group()).step_by(LINES) {
                let line = (lines.start + first).min(lines.end);
                let extents = (LINES.min(lines.end - line), STEP.min(part.end - k));
                // SAFETY: the caller's promise: the square lies inside the matrix.
                unsafe {
                    let start = self.matrix.start.offset(line as isize * across + k as isize * along);
                    let square = Square { start, across, along, extents };
                    match self.side {
                        Side::Rows(_) => store(square.by_line(), packed.as_mut_ptr().add(first), 1),
                        Side::Columns => store(square.by_pair(), packed.as_mut_ptr().add(first / LINES), COLUMNS / LINES),
                    }
                }
            }
        }
    }
}

/// Stores vectors `stride` rows apart.
///
/// # Safety
/// The rows must be valid.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store(x: [__m512i; PAIRS], to: *mut Row, stride: usize) {
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
    /// As [`Operand::pack`].
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
                self.gathered(|square| square.rounded_along())
            }
        }
    }

    /// A vector of 16 lines for each pair along k.
    ///
    /// # Safety
    /// As [`Operand::pack`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn by_pair(self) -> [__m512i; PAIRS] {
        // SAFETY: the caller's promise.
        unsafe { if self.across == 1 { self.rounded_across() } else { transposed_pairs(self.by_line()) } }
    }

    /// [`Square::by_line`] for numbers that are contiguous along k.
    ///
    /// # Safety
    /// As [`Operand::pack`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn rounded_along(self) -> [__m512i; LINES] {
        let (lines, depth) = self.extents;
        let (low, high) = (first_lanes(depth), first_lanes(depth.saturating_sub(16)));
        std::array::from_fn(|line| {
            if line >= lines {
                return _mm512_setzero_si512();
            }
            // SAFETY: the caller's promise; lanes that are masked out are not read.
            unsafe {
                let from = self.start.offset(line as isize * self.across);
                _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(AHEAD).cast());
                _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(AHEAD + 16).cast());
                let (low, high) = (_mm512_maskz_loadu_ps(low, from), _mm512_maskz_loadu_ps(high, from.wrapping_add(16)));
                std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low))
            }
        })
    }

    /// [`Square::by_pair`] for lines that are contiguous: two rows of the memory interleaved.
    ///
    /// # Safety
    /// As [`Operand::pack`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn rounded_across(self) -> [__m512i; PAIRS] {
        let (lines, depth) = self.extents;
        let mask = first_lanes(lines);
        // Word 2i comes from word i of the first row, word 2i + 1 from word i of the second, which follows it by 16.
        let words = _mm512_add_epi32(_mm512_mullo_epi32(_mm512_set1_epi32(0x0001_0001), indices()), _mm512_set1_epi32(0x0010_0000));
        std::array::from_fn(|pair| {
            // SAFETY: the caller's promise; rows past the extent are not read.
            let load = |p: usize| unsafe {
                let mask = if p < depth { mask } else { 0 };
                _mm_prefetch::<_MM_HINT_T0>(self.start.wrapping_offset((p + AHEAD) as isize * self.along).cast());
                _mm512_maskz_loadu_ps(mask, self.start.wrapping_offset(p as isize * self.along))
            };
            // SAFETY: both are vectors of 512 bits.
            let rounded = unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(load(2 * pair + 1), load(2 * pair))) };
            _mm512_permutexvar_epi16(words, rounded)
        })
    }

    /// `f` for a contiguous copy.
    ///
    /// # Safety
    /// As [`Operand::pack`].
    unsafe fn gathered<R>(self, f: impl FnOnce(Self) -> R) -> R {
        let mut copy = [0.0; LINES * STEP];
        for (line, copy) in copy.chunks_exact_mut(STEP).enumerate().take(self.extents.0) {
            for (p, x) in copy.iter_mut().enumerate().take(self.extents.1) {
                // SAFETY: the caller's promise.
                *x = unsafe { *self.start.offset(line as isize * self.across + p as isize * self.along) };
            }
        }
        f(Self { start: copy.as_ptr(), across: STEP as isize, along: 1, ..self })
    }
}

/// 0 to 15.
#[inline]
#[target_feature(enable = "avx512f")]
fn indices() -> __m512i {
    _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
}

/// A mask of the first `count` of 16 lanes.
fn first_lanes(count: usize) -> __mmask16 {
    if count >= 16 { __mmask16::MAX } else { (1 << count) - 1 }
}

/// The transpose of a square of pairs.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed_pairs(x: [__m512i; PAIRS]) -> [__m512i; PAIRS] {
    transposed(x.map(|x| _mm512_castsi512_ps(x))).map(|x| _mm512_castps_si512(x))
}
