//! Packing in three parts, at once or in pieces.
//!
//! A unit holds 32 numbers of one part: of A, a line's 32 places of a step; of B, sixteen lines' numbers at two places. The products pair
//! places p and p + 16 of a step, in A as in B. A unit is then the upper words of two vectors in turn, and no word needs a permutation.

use crate::gemm::kernels::avx512::transpose_whole;
use crate::gemm::kernels::pack_bf16::{LINES, Pairs, STEP};
use crate::gemm::matrix::Matrix;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Parts of a number.
pub const PARTS: usize = 3;
/// Lines of a panel, of A as of B.
pub const PANEL: usize = 32;
/// Numbers in a vector.
pub const LANES: usize = 16;
/// Units of a square.
const UNITS: usize = 16;
/// Units that a piece of packing stores.
const PIECE: usize = 4;
/// How far along k numbers are prefetched. They go to L2: in L1, rows of memory that share few sets of the cache would drive each other
/// out.
const PREFETCH_AHEAD: isize = 64;
/// The classes of ∞ and −∞ for VFPCLASSPS.
const INFINITE: i32 = 0x08 | 0x10;

/// The two vectors of each unit of a square whose vectors are not contiguous in memory.
#[repr(C, align(64))]
pub struct SquareBuffer([[MaybeUninit<f32>; 2 * LANES]; UNITS]);

impl Default for SquareBuffer {
    fn default() -> Self {
        Self([[MaybeUninit::uninit(); 2 * LANES]; UNITS])
    }
}

/// The direction in which the numbers of an operand are contiguous in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contiguous {
    Along,
    Across,
    Neither,
}

impl Contiguous {
    #[inline]
    fn of(lines: Matrix<f32>) -> Self {
        match lines.strides {
            (_, 1) => Self::Along,
            (1, _) => Self::Across,
            _ => Self::Neither,
        }
    }
    /// True if the vectors of units are contiguous: those of a line of A, or of neighbouring lines of B.
    #[inline]
    fn has_vectors<const A: bool>(self) -> bool {
        self == if A { Self::Along } else { Self::Across }
    }
}

/// Pieces of packing a square whose vectors are contiguous.
const SQUARE_PIECES: usize = UNITS / PIECE;
/// Pieces of packing another square, whose two halves are transposed first.
const TRANSPOSED_SQUARE_PIECES: usize = SQUARE_PIECES + 2;

/// The number of pieces of packing a panel for an inner extent of k.
pub fn piece_count<const A: bool>(lines: Matrix<f32>, k: usize) -> usize {
    let of_square = if Contiguous::of(lines).has_vectors::<A>() { SQUARE_PIECES } else { TRANSPOSED_SQUARE_PIECES };
    k.div_ceil(STEP) * (PANEL / LINES) * of_square
}

/// Packs a panel of A or of B. Each step has the units of the first parts, then those of the second, then those of the third. (This is not
/// a loop over [`pack_piece`]: choosing a piece takes a quarter of the time of packing it.)
///
/// # Safety
/// As [`Kernel::pack`](crate::gemm::kernel::Kernel::pack).
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
pub unsafe fn pack<const A: bool>(lines: Matrix<f32>, extents: (usize, usize), packed: &mut [Pairs]) {
    let mut buffer = SquareBuffer::default();
    for number in 0..extents.1.div_ceil(STEP) * (PANEL / LINES) {
        let (square, to) = Square::of_panel::<A>(number, lines, extents, packed);
        // SAFETY: the caller's promise: the square lies inside the operand, and its units inside the step's.
        unsafe {
            if !square.is_whole() {
                square.copy::<A>(0..UNITS, 0, &mut buffer);
                square.copy::<A>(0..UNITS, 1, &mut buffer);
            } else if !square.contiguous.has_vectors::<A>() {
                square.transpose(0, &mut buffer);
                square.transpose(1, &mut buffer);
            } else {
                for first in (0..UNITS).step_by(PIECE) {
                    store::<A>(square.units(first), first, to);
                }
                continue;
            }
            for first in (0..UNITS).step_by(PIECE) {
                store::<A>(buffer.units(first), first, to);
            }
        }
    }
}

/// Runs a piece of [`pack`].
///
/// # Safety
/// As there; the pieces come in order.
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
pub unsafe fn pack_piece<const A: bool>(
    number: usize,
    lines: Matrix<f32>,
    extents: (usize, usize),
    packed: &mut [Pairs],
    buffer: &mut SquareBuffer,
) {
    let needs_transpose = !Contiguous::of(lines).has_vectors::<A>();
    let (square, number) = if needs_transpose {
        (number / TRANSPOSED_SQUARE_PIECES, number % TRANSPOSED_SQUARE_PIECES)
    } else {
        (number / SQUARE_PIECES, number % SQUARE_PIECES)
    };
    let (square, to) = Square::of_panel::<A>(square, lines, extents, packed);
    // SAFETY: the caller's promise: the square lies inside the operand, and its units inside the step's.
    unsafe {
        match (square.is_whole(), needs_transpose) {
            (true, false) => store::<A>(square.units(PIECE * number), PIECE * number, to),
            (true, true) if number < 2 => square.transpose(number, buffer),
            (false, true) if number < 2 => square.copy::<A>(0..UNITS, number, buffer),
            (false, false) => square.edge_units::<A>(PIECE * number, buffer, to),
            (_, true) => store::<A>(buffer.units(PIECE * (number - 2)), PIECE * (number - 2), to),
        }
    }
}

/// The two vectors of each of some units.
type Units = [[__m512; 2]; PIECE];

impl SquareBuffer {
    /// Units from `first` on.
    ///
    /// # Safety
    /// They must have been written.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn units(&self, first: usize) -> Units {
        let units: &[_; PIECE] = self.0[first..first + PIECE].try_into().expect("PIECE units");
        let vectors = |x: &[MaybeUninit<f32>; 2 * LANES]| {
            // SAFETY: the caller's promise; a unit has two vectors.
            unsafe { [_mm512_load_ps(x.as_ptr().cast()), _mm512_load_ps(x.as_ptr().cast::<f32>().add(LANES))] }
        };
        [vectors(&units[0]), vectors(&units[1]), vectors(&units[2]), vectors(&units[3])]
    }
}

/// At most sixteen lines by a step of k: (lines, inner extent).
#[derive(Clone, Copy)]
struct Square {
    lines: Matrix<f32>,
    contiguous: Contiguous,
    extents: (usize, usize),
}

impl Square {
    /// Square `number` of a panel of A or B, with the place where its units are packed. Squares are counted step by step, and in a step
    /// from line to line.
    #[inline]
    fn of_panel<const A: bool>(number: usize, lines: Matrix<f32>, (count, k): (usize, usize), packed: &mut [Pairs]) -> (Self, *mut Pairs) {
        let (step, first) = (number / (PANEL / LINES), number % (PANEL / LINES) * LINES);
        let extents = (LINES.min(count.saturating_sub(first)), STEP.min(k - step * STEP));
        let (across, along) = lines.strides;
        let start = lines.start.wrapping_offset(first as isize * across + (step * STEP) as isize * along);
        let units = &mut packed[step * PANEL * PARTS..][..PANEL * PARTS];
        let to = units.as_mut_ptr().wrapping_add(if A { first } else { first / LINES });
        (Self { lines: Matrix { start, ..lines }, contiguous: Contiguous::of(lines), extents }, to)
    }

    /// True if all its numbers exist, in vectors one way or the other.
    #[inline]
    fn is_whole(self) -> bool {
        self.extents == (LINES, STEP) && self.contiguous != Contiguous::Neither
    }

    /// The strides between vectors of contiguous numbers and between the two halves. A vector is half a line, or the numbers of sixteen
    /// lines at a place.
    #[inline]
    fn strides(self) -> (isize, isize) {
        let (across, along) = self.lines.strides;
        if self.contiguous == Contiguous::Along { (across, LANES as isize) } else { (along, LANES as isize * along) }
    }

    /// Units from `first` on of a whole square whose vectors are contiguous.
    ///
    /// # Safety
    /// The square must lie inside the operand and be whole.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn units(self, first: usize) -> Units {
        let (apart, halves) = self.strides();
        let (from, ahead) = (self.lines.start.wrapping_offset(first as isize * apart), PREFETCH_AHEAD * self.lines.strides.1);
        let mut units = [[_mm512_setzero_ps(); 2]; PIECE];
        for (i, unit) in units.iter_mut().enumerate() {
            let from = from.wrapping_offset(i as isize * apart);
            // SAFETY: the caller's promise; what is prefetched need not exist.
            unsafe {
                _mm_prefetch::<_MM_HINT_T1>(from.wrapping_offset(ahead).cast());
                _mm_prefetch::<_MM_HINT_T1>(from.wrapping_offset(ahead + halves).cast());
                *unit = [_mm512_loadu_ps(from), _mm512_loadu_ps(from.wrapping_offset(halves))];
            }
        }
        units
    }

    /// Transposes one half of a whole square: one vector of each unit.
    ///
    /// # Safety
    /// As [`Square::units`].
    #[target_feature(enable = "avx512f")]
    unsafe fn transpose(self, half: usize, buffer: &mut SquareBuffer) {
        let (apart, halves) = self.strides();
        let from = self.lines.start.wrapping_offset(half as isize * halves);
        let to = buffer.0.as_mut_ptr().cast::<f32>().wrapping_add(half * LANES);
        // SAFETY: the caller's promise; a unit has two vectors.
        unsafe { transpose_whole((from, apart), PREFETCH_AHEAD * self.lines.strides.1, (to, 2 * LANES)) }
    }

    /// Stores units from `first` on of a square that is not whole and whose vectors are contiguous.
    ///
    /// # Safety
    /// The square must lie inside the operand.
    #[cold]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq")]
    unsafe fn edge_units<const A: bool>(self, first: usize, buffer: &mut SquareBuffer, to: *mut Pairs) {
        // SAFETY: the caller's promise.
        unsafe {
            (0..2).for_each(|half| self.copy::<A>(first..first + PIECE, half, buffer));
            store::<A>(buffer.units(first), first, to);
        }
    }

    /// Copies one vector of each of these units number by number, with zeros past the edges.
    ///
    /// # Safety
    /// The square must lie inside the operand.
    unsafe fn copy<const A: bool>(self, units: Range<usize>, half: usize, buffer: &mut SquareBuffer) {
        let ((count, k), (across, along)) = (self.extents, self.lines.strides);
        for (i, unit) in units.clone().zip(&mut buffer.0[units]) {
            for (j, x) in unit[half * LANES..][..LANES].iter_mut().enumerate() {
                let (line, place) = if A { (i, half * LANES + j) } else { (j, half * LANES + i) };
                let from = self.lines.start.wrapping_offset(line as isize * across + place as isize * along);
                // SAFETY: the caller's promise.
                x.write(if line < count && place < k { unsafe { *from } } else { 0.0 });
            }
        }
    }
}

/// Splits units from `first` on into their parts and stores these. A unit of A is of one line, one of B of sixteen lines at two places.
///
/// # Safety
/// They must lie inside a step of a panel.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
unsafe fn store<const A: bool>(x: Units, first: usize, to: *mut Pairs) {
    let apart = if A { 1 } else { PANEL / LINES };
    let to = to.wrapping_add(first * apart);
    let mut third = _mm512_setzero_si512();
    for (unit, [x, y]) in x.into_iter().enumerate() {
        let parts = parts(x, y);
        third = _mm512_or_si512(third, parts[2]);
        for (part, x) in parts.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { _mm512_store_si512(to.wrapping_add(unit * apart + part * PANEL).cast(), x) }
        }
    }
    if has_full_exponent(third) {
        // SAFETY: the caller's promise.
        unsafe { store_any(x, apart, to) }
    }
}

/// [`store`] for any numbers, infinite ones and those next to ∞ too.
///
/// # Safety
/// As there.
#[cold]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
unsafe fn store_any(x: Units, apart: usize, to: *mut Pairs) {
    for (unit, [x, y]) in x.into_iter().enumerate() {
        for (part, x) in parts_of_any(x, y).into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { _mm512_store_si512(to.wrapping_add(unit * apart + part * PANEL).cast(), x) }
        }
    }
}

/// True if a third part may be wrong: if the third parts of some number, or of some numbers together, have all bits of an exponent. They
/// have where a number is not finite or its first part would not be, and may have for others from 2¹⁸ on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn has_full_exponent(words: __m512i) -> bool {
    let exponent = _mm512_set1_epi16(0x7f80);
    _mm512_cmpeq_epi16_mask(_mm512_and_si512(words, exponent), exponent) != 0
}

/// The three parts of the numbers of two vectors, a unit each. Of numbers that are not finite, or whose first part would not be, the third
/// part is NaN.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn parts(x: __m512, y: __m512) -> [__m512i; PARTS] {
    let (x1, y1) = (nearest(x), nearest(y));
    let (x, y) = (_mm512_sub_ps(x, x1), _mm512_sub_ps(y, y1));
    let (x2, y2) = (nearest(x), nearest(y));
    let (x3, y3) = (_mm512_sub_ps(x, x2), _mm512_sub_ps(y, y2));
    [unit(x1, y1), unit(x2, y2), unit(x3, y3)]
}

/// [`parts`] for any numbers, with the same bits where those are right. Next to ∞, the first part is the nearest finite number. The parts
/// of ±∞ are 1, 0 and ±∞, so that no product of parts but the last part's is infinite.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn parts_of_any(x: __m512, y: __m512) -> [__m512i; PARTS] {
    let largest = _mm512_castsi512_ps(_mm512_set1_epi32(0x7f7f_0000));
    let smallest = _mm512_xor_ps(largest, _mm512_set1_ps(-0.0));
    let [x, y] = [x, y].map(|x| {
        let finite = !_mm512_fpclass_ps_mask::<INFINITE>(x);
        let first = _mm512_max_ps(smallest, _mm512_min_ps(largest, nearest(x)));
        let first = _mm512_mask_mov_ps(_mm512_set1_ps(1.0), finite, first);
        let rest = _mm512_sub_ps(x, first);
        let second = _mm512_maskz_mov_ps(finite, nearest(rest));
        [first, second, _mm512_sub_ps(rest, second)]
    });
    [unit(x[0], y[0]), unit(x[1], y[1]), unit(x[2], y[2])]
}

/// The numbers of eight bits nearest to these, ties away from zero.
#[inline]
#[target_feature(enable = "avx512f")]
fn nearest(x: __m512) -> __m512 {
    let up = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
    _mm512_castsi512_ps(_mm512_and_epi32(up, upper_words()))
}

/// The upper words of two vectors in turn: those of `x` in the low halves.
#[inline]
#[target_feature(enable = "avx512f")]
fn unit(x: __m512, y: __m512) -> __m512i {
    const FIRST_OR_SECOND_AND_THIRD: i32 = 0xf8;
    let low = _mm512_srli_epi32::<16>(_mm512_castps_si512(x));
    _mm512_ternarylogic_epi32::<FIRST_OR_SECOND_AND_THIRD>(low, _mm512_castps_si512(y), upper_words())
}

/// The mask of the upper word of each number.
#[inline]
#[target_feature(enable = "avx512f")]
fn upper_words() -> __m512i {
    _mm512_set1_epi32(0xffff_0000u32 as i32)
}
