//! Packing in three parts, a piece at a time. A unit is the numbers of a line, or of sixteen lines at two places along k, that a product of tiles
//! takes together: of a step's 32 places p and p + 16 make a pair, in A as in B, so that a unit has the words of two vectors in turn.

use crate::gemm::kernels::avx512::transpose_whole;
use crate::gemm::kernels::pack_bf16::{LINES, Pairs, STEP};
use crate::gemm::matrix::Matrix;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Parts of a number.
pub const PARTS: usize = 3;
/// Lines of a group, of A as of B.
pub const GROUP: usize = 32;
/// Numbers of a vector.
pub const LANES: usize = 16;
/// Units of a square, and of a piece of packing.
const UNITS: usize = 16;
const PIECE: usize = 4;
/// How far along k numbers are fetched before they are read, to the second-level cache: in the first, rows of the memory whose lines share few of its
/// sets drive each other out.
const AHEAD: isize = 64;
/// The classes of ∞ and −∞.
const INFINITE: i32 = 0x08 | 0x10;

/// The two vectors of each unit of a square that does not lie the way its units do.
#[repr(C, align(64))]
pub struct Turned([[MaybeUninit<f32>; 2 * LANES]; UNITS]);

impl Default for Turned {
    fn default() -> Self {
        Self([[MaybeUninit::uninit(); 2 * LANES]; UNITS])
    }
}

/// Which numbers of an operand lie next to each other in memory.
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
    /// Are vectors of units, of lines of A or of neighbouring lines of B, contiguous?
    #[inline]
    fn are_vectors<const A: bool>(self) -> bool {
        self == if A { Self::Along } else { Self::Across }
    }
}

/// Pieces that packing a square takes where it lies the way its units do, four of them each; otherwise its halves are turned first.
const OF_SQUARE: usize = UNITS / PIECE;
const OF_TURNED_SQUARE: usize = OF_SQUARE + 2;

/// Pieces that packing a group for an inner extent of k takes.
pub fn pieces<const A: bool>(lines: Matrix<f32>, k: usize) -> usize {
    let of_square = if Contiguous::of(lines).are_vectors::<A>() { OF_SQUARE } else { OF_TURNED_SQUARE };
    k.div_ceil(STEP) * (GROUP / LINES) * of_square
}

/// Packs a group of A, or of B: at each step the units of the first parts, of the second, of the third. (Choosing a [`piece`] of so much takes as long as a
/// quarter of it.)
///
/// # Safety
/// As [`Kernel::pack`](crate::gemm::kernel::Kernel::pack).
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
pub unsafe fn pack<const A: bool>(lines: Matrix<f32>, extents: (usize, usize), packed: &mut [Pairs]) {
    let mut turned = Turned::default();
    for number in 0..extents.1.div_ceil(STEP) * (GROUP / LINES) {
        let (square, to) = Square::of_group::<A>(number, lines, extents, packed);
        // SAFETY: the caller's promise: the square lies inside the operand, and its units inside the step's.
        unsafe {
            if !square.is_whole() {
                square.copy::<A>(0..UNITS, 0, &mut turned);
                square.copy::<A>(0..UNITS, 1, &mut turned);
            } else if !square.contiguous.are_vectors::<A>() {
                square.turn(0, &mut turned);
                square.turn(1, &mut turned);
            } else {
                for first in (0..UNITS).step_by(PIECE) {
                    store::<A>(square.units(first), first, to);
                }
                continue;
            }
            for first in (0..UNITS).step_by(PIECE) {
                store::<A>(turned.units(first), first, to);
            }
        }
    }
}

/// Does a piece of [`pack`].
///
/// # Safety
/// As there, with the pieces in order.
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
pub unsafe fn piece<const A: bool>(number: usize, lines: Matrix<f32>, extents: (usize, usize), packed: &mut [Pairs], turned: &mut Turned) {
    let is_turned = !Contiguous::of(lines).are_vectors::<A>();
    let (square, number) =
        if is_turned { (number / OF_TURNED_SQUARE, number % OF_TURNED_SQUARE) } else { (number / OF_SQUARE, number % OF_SQUARE) };
    let (square, to) = Square::of_group::<A>(square, lines, extents, packed);
    // SAFETY: the caller's promise: the square lies inside the operand, and its units inside the step's.
    unsafe {
        match (square.is_whole(), is_turned) {
            (true, false) => store::<A>(square.units(PIECE * number), PIECE * number, to),
            (true, true) if number < 2 => square.turn(number, turned),
            (false, true) if number < 2 => square.copy::<A>(0..UNITS, number, turned),
            (false, false) => square.edge_units::<A>(PIECE * number, turned, to),
            (_, true) => store::<A>(turned.units(PIECE * (number - 2)), PIECE * (number - 2), to),
        }
    }
}

/// The two vectors of each of some units.
type Units = [[__m512; 2]; PIECE];

impl Turned {
    /// Units from `first` on.
    ///
    /// # Safety
    /// They must have been written.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn units(&self, first: usize) -> Units {
        let units: &[_; PIECE] = self.0[first..first + PIECE].try_into().expect("so many units");
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
    /// Square `number` of a group of A or B, along k and in each step across, and where its units are packed.
    #[inline]
    fn of_group<const A: bool>(number: usize, lines: Matrix<f32>, (count, k): (usize, usize), packed: &mut [Pairs]) -> (Self, *mut Pairs) {
        let (step, first) = (number / (GROUP / LINES), number % (GROUP / LINES) * LINES);
        let extents = (LINES.min(count.saturating_sub(first)), STEP.min(k - step * STEP));
        let (across, along) = lines.strides;
        let start = lines.start.wrapping_offset(first as isize * across + (step * STEP) as isize * along);
        let units = &mut packed[step * GROUP * PARTS..][..GROUP * PARTS];
        let to = units.as_mut_ptr().wrapping_add(if A { first } else { first / LINES });
        (Self { lines: Matrix { start, ..lines }, contiguous: Contiguous::of(lines), extents }, to)
    }

    /// Are all its numbers there, in vectors one way or the other?
    #[inline]
    fn is_whole(self) -> bool {
        self.extents == (LINES, STEP) && self.contiguous != Contiguous::Neither
    }

    /// How far apart vectors of contiguous numbers are, and those of the two halves: half lines, or what sixteen lines have at a place.
    #[inline]
    fn strides(self) -> (isize, isize) {
        let (across, along) = self.lines.strides;
        if self.contiguous == Contiguous::Along { (across, LANES as isize) } else { (along, LANES as isize * along) }
    }

    /// Units from `first` on of a whole square that lies the way its units do.
    ///
    /// # Safety
    /// The square must lie inside the operand and be whole.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn units(self, first: usize) -> Units {
        let (apart, halves) = self.strides();
        let (from, ahead) = (self.lines.start.wrapping_offset(first as isize * apart), AHEAD * self.lines.strides.1);
        let mut units = [[_mm512_setzero_ps(); 2]; PIECE];
        for (i, unit) in units.iter_mut().enumerate() {
            let from = from.wrapping_offset(i as isize * apart);
            // SAFETY: the caller's promise; what is fetched need not be there.
            unsafe {
                _mm_prefetch::<_MM_HINT_T1>(from.wrapping_offset(ahead).cast());
                _mm_prefetch::<_MM_HINT_T1>(from.wrapping_offset(ahead + halves).cast());
                *unit = [_mm512_loadu_ps(from), _mm512_loadu_ps(from.wrapping_offset(halves))];
            }
        }
        units
    }

    /// Writes one vector of each unit of a whole square that lies the other way.
    ///
    /// # Safety
    /// As [`Square::units`].
    #[target_feature(enable = "avx512f")]
    unsafe fn turn(self, half: usize, turned: &mut Turned) {
        let (apart, halves) = self.strides();
        let from = self.lines.start.wrapping_offset(half as isize * halves);
        let to = turned.0.as_mut_ptr().cast::<f32>().wrapping_add(half * LANES);
        // SAFETY: the caller's promise; a unit has two vectors.
        unsafe { transpose_whole((from, apart), AHEAD * self.lines.strides.1, (to, 2 * LANES)) }
    }

    /// Stores units from `first` on of a square that lies the way its units do and is not whole.
    ///
    /// # Safety
    /// The square must lie inside the operand.
    #[cold]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq")]
    unsafe fn edge_units<const A: bool>(self, first: usize, turned: &mut Turned, to: *mut Pairs) {
        // SAFETY: the caller's promise.
        unsafe {
            (0..2).for_each(|half| self.copy::<A>(first..first + PIECE, half, turned));
            store::<A>(turned.units(first), first, to);
        }
    }

    /// Writes one vector of each of these units, with zeros past the edges.
    ///
    /// # Safety
    /// The square must lie inside the operand.
    unsafe fn copy<const A: bool>(self, units: Range<usize>, half: usize, turned: &mut Turned) {
        let ((count, k), (across, along)) = (self.extents, self.lines.strides);
        for (i, unit) in units.clone().zip(&mut turned.0[units]) {
            for (j, x) in unit[half * LANES..][..LANES].iter_mut().enumerate() {
                let (line, place) = if A { (i, half * LANES + j) } else { (j, half * LANES + i) };
                let from = self.lines.start.wrapping_offset(line as isize * across + place as isize * along);
                // SAFETY: the caller's promise.
                x.write(if line < count && place < k { unsafe { *from } } else { 0.0 });
            }
        }
    }
}

/// Stores units from `first` on, those of A of a line each, those of B of sixteen lines and two places.
///
/// # Safety
/// They must lie inside a step of a group.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
unsafe fn store<const A: bool>(x: Units, first: usize, to: *mut Pairs) {
    let apart = if A { 1 } else { GROUP / LINES };
    let to = to.wrapping_add(first * apart);
    let mut third = _mm512_setzero_si512();
    for (unit, [x, y]) in x.into_iter().enumerate() {
        let parts = parts(x, y);
        third = _mm512_or_si512(third, parts[2]);
        for (part, x) in parts.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { _mm512_store_si512(to.wrapping_add(unit * apart + part * GROUP).cast(), x) }
        }
    }
    if some_exponent_is_full(third) {
        // SAFETY: the caller's promise.
        unsafe { store_any(x, apart, to) }
    }
}

/// [`store`] of any numbers.
///
/// # Safety
/// As there.
#[cold]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
unsafe fn store_any(x: Units, apart: usize, to: *mut Pairs) {
    for (unit, [x, y]) in x.into_iter().enumerate() {
        for (part, x) in parts_of_any(x, y).into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { _mm512_store_si512(to.wrapping_add(unit * apart + part * GROUP).cast(), x) }
        }
    }
}

/// Have the third parts of some number, or of some numbers together, all bits of an exponent? They have where a number is not finite or its first part
/// would not be, and may have for others from 2¹⁸ on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn some_exponent_is_full(words: __m512i) -> bool {
    let exponent = _mm512_set1_epi16(0x7f80);
    _mm512_cmpeq_epi16_mask(_mm512_and_si512(words, exponent), exponent) != 0
}

/// The three units of the parts of the numbers of two vectors. For those that are not finite, or whose first part would not be, the third has a NaN.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn parts(x: __m512, y: __m512) -> [__m512i; PARTS] {
    let (x1, y1) = (nearest(x), nearest(y));
    let (x, y) = (_mm512_sub_ps(x, x1), _mm512_sub_ps(y, y1));
    let (x2, y2) = (nearest(x), nearest(y));
    let (x3, y3) = (_mm512_sub_ps(x, x2), _mm512_sub_ps(y, y2));
    [unit(x1, y1), unit(x2, y2), unit(x3, y3)]
}

/// As [`parts`] for any numbers, with the same bits where those are right. Next to ∞ every number is ∞ or the largest: the first part is the nearest finite
/// one. Those of ±∞ are 1, 0 and ±∞, so that no product of parts but the last part's is infinite.
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

/// The numbers of eight bits nearest to these, of two that are as near that of the larger magnitude.
#[inline]
#[target_feature(enable = "avx512f")]
fn nearest(x: __m512) -> __m512 {
    let up = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
    _mm512_castsi512_ps(_mm512_and_epi32(up, upper_words()))
}

/// The upper words of two vectors in turn.
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
