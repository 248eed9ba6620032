//! Products of f32 by AMX: each number is the sum of three of bfloat16, which have its 24 bits between them, and of the nine products of parts the
//! six that matter are added up, in each step that of the first parts last.
//!
//! a₁ is the number of 8 bits nearest to a, a₂ the one nearest to a − a₁, and a₃ the rest, which has 7 bits: a = a₁ + a₂ + a₃ with |a₂| ≤ 2⁻⁸·|a| and
//! |a₃| ≤ 2⁻¹⁷·|a|. What is left out of a·b, a₂b₃ + a₃b₂ + a₃b₃, is at most 2⁻²⁴·|a·b| (and a little), what rounding a product to f32 may lose,
//! and on average a tenth of it with either sign. The instruction sums 32 products before it adds them to a result, so that long sums are rounded
//! less often than one by one. It takes numbers below 2⁻¹²⁶ as zero, in operands and in sums: of operands below about 2⁻¹⁰³ and of products below about
//! 2⁻¹⁰⁰ the last bits, or all, are lost. A product that is too large by far, beyond 2¹³⁶, may be NaN where it should be ∞, and so may ∞ next to
//! a signalling NaN, which no operation gives.

use super::amx::{Amx, fetch_to_write};
use super::avx512::{lanes, transposed};
use super::rounded::{self, LINES, Pairs, STEP, Square};
use super::{Kernel, Side, Tile};
use crate::backend::cpu::matmul::Matrix;
use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

/// AMX for f32.
pub struct Split;

/// Parts of a number.
const PARTS: usize = 3;
/// Lines of a group, of A as of B.
const GROUP: usize = 32;
/// Numbers of a vector.
const LANES: usize = 16;
/// The magnitude from which on the nearest number of eight bits is ∞.
const TOO_LARGE: f32 = f32::from_bits(0x7f7f_8000);
/// The classes of ∞ and −∞.
const INFINITE: i32 = 0x08 | 0x10;

impl Kernel for Split {
    type Unit = Pairs;
    const ROWS: usize = GROUP;
    const COLUMNS: usize = GROUP;
    const STEP: usize = STEP;
    const PARTS: usize = PARTS;
    const DEPTH: usize = rounded::DEPTH;
    const BAND: usize = rounded::DEPTH;
    const TASK_WORK: usize = rounded::TASK_WORK;
    const OWN_BYTES: usize = if cfg!(test) { 1 << 15 } else { 1 << 18 };

    #[inline]
    fn available() -> bool {
        Amx::available() && is_x86_feature_detected!("avx512dq")
    }
    unsafe fn pack(side: Side, lines: Matrix<f32>, extents: (usize, usize), packed: &mut [Pairs]) {
        // SAFETY: the caller's promise.
        unsafe {
            match side {
                Side::A => pack::<true>(lines, extents, packed),
                Side::B => pack::<false>(lines, extents, packed),
            }
        }
    }
    unsafe fn begin() {
        // SAFETY: the caller's promise.
        unsafe { Amx::begin() }
    }
    unsafe fn end() {
        // SAFETY: the caller's promise.
        unsafe { Amx::end() }
    }
    unsafe fn sums(extents: (usize, usize), tile: Tile<Pairs>) {
        // SAFETY: the caller's promise.
        unsafe {
            fetch_to_write(tile);
            if extents == (GROUP, GROUP) && !tile.accumulate {
                return kernel(tile);
            }
            let mut sums = MaybeUninit::<Sums>::uninit();
            kernel(Tile { c: sums.as_mut_ptr().cast(), c_stride: GROUP, ..tile });
            add(extents, sums.assume_init_ref(), tile);
        }
    }
}

/// Sums of a tile. They are formed apart from the old elements, which may be larger: what is added to a small number is rounded less.
#[repr(C, align(64))]
struct Sums([[f32; GROUP]; GROUP]);

/// Writes the sums of so many rows and columns of a tile, or adds them to what is there.
///
/// # Safety
/// As [`Kernel::sums`].
#[target_feature(enable = "avx512f")]
unsafe fn add((rows, columns): (usize, usize), sums: &Sums, tile: Tile<Pairs>) {
    let masks = [lanes(columns), lanes(columns.saturating_sub(LANES))];
    for (row, sums) in sums.0.iter().enumerate().take(rows) {
        for (half, mask) in masks.into_iter().enumerate() {
            // SAFETY: the caller's promise; lanes that are masked out are neither read nor written.
            unsafe {
                let c = tile.c.add(row * tile.c_stride).wrapping_add(half * LANES);
                let sum = _mm512_load_ps(sums.as_ptr().add(half * LANES));
                let sum = if tile.accumulate { _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, c)) } else { sum };
                _mm512_mask_storeu_ps(c, mask, sum);
            }
        }
    }
}

/// Thirty-two vectors: the first sixteen numbers of each of sixteen lines and the last, or a number of each line for each of 32 places along k.
type Vectors = [[__m512; LINES]; 2];

/// Packs a group of A, or of B: at each step the units of the first parts, of the second, of the third.
///
/// # Safety
/// As [`Kernel::pack`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
unsafe fn pack<const A: bool>(lines: Matrix<f32>, (count, k): (usize, usize), packed: &mut [Pairs]) {
    let (across, along) = lines.strides;
    for (step, packed) in packed.chunks_exact_mut(GROUP * PARTS).enumerate() {
        for first in (0..GROUP).step_by(LINES) {
            let line = first.min(count);
            let start = lines.start.wrapping_offset(line as isize * across + (step * STEP) as isize * along);
            let square = Square { start, across, along, extents: (LINES.min(count - line), STEP.min(k - step * STEP)) };
            // SAFETY: the caller's promise: the square lies inside the operand.
            unsafe {
                let x = square.vectors::<A>();
                let to = packed.as_mut_ptr().add(if A { first } else { first / LINES });
                if !store::<A, false>(&x, to) {
                    store::<A, true>(&x, to);
                }
            }
        }
    }
}

/// Stores the units of a square: those of A are of a line each, those of B of sixteen lines and a pair along k. The parts are right if the numbers
/// are [`ANY`](parts_of_any) or, which is returned, none is too large.
///
/// # Safety
/// They must lie inside a step of a group.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
unsafe fn store<const A: bool, const ANY: bool>(x: &Vectors, to: *mut Pairs) -> bool {
    const LARGER_MAGNITUDE: i32 = 0b1011;
    let (words, apart) = if A { (one_after_another(), 1) } else { (in_turn(), GROUP / LINES) };
    let mut largest = zeros();
    for unit in 0..LINES {
        let (half, place) = (2 * unit / LINES, 2 * unit % LINES);
        let (x, y) = if A { (x[0][unit], x[1][unit]) } else { (x[half][place], x[half][place + 1]) };
        largest = _mm512_range_ps::<LARGER_MAGNITUDE>(_mm512_range_ps::<LARGER_MAGNITUDE>(largest, x), y);
        let parts = if ANY { parts_of_any(x, y, words) } else { parts(x, y, words) };
        for (part, x) in parts.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { _mm512_store_si512(to.add(part * GROUP + unit * apart).cast(), x) }
        }
    }
    _mm512_cmp_ps_mask::<_CMP_GE_OQ>(largest, _mm512_set1_ps(TOO_LARGE)) == 0
}

impl Square {
    /// The vectors of lines for A, or those of places along k for B.
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn vectors<const A: bool>(self) -> Vectors {
        // SAFETY: the caller's promise.
        unsafe {
            let of_lines = self.along == 1 || self.across != 1;
            let x = match self {
                Square { along: 1, .. } => self.vectors_along(),
                Square { across: 1, .. } => self.vectors_across(),
                _ => self.vectors_of_copy(),
            };
            if of_lines == A { x } else { [transposed(x[0]), transposed(x[1])] }
        }
    }

    /// # Safety
    /// As [`Kernel::pack`].
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn vectors_along(self) -> Vectors {
        let mut x = [[zeros(); LINES]; 2];
        let [low, high] = &mut x;
        for (line, halves) in low.iter_mut().zip(high).enumerate().take(self.extents.0) {
            // SAFETY: the caller's promise.
            (*halves.0, *halves.1) = unsafe { self.halves_of_line(line) };
        }
        x
    }

    /// Those of lines with any strides.
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    #[cold]
    #[target_feature(enable = "avx512f")]
    unsafe fn vectors_of_copy(self) -> Vectors {
        // SAFETY: the caller's promise.
        unsafe { self.copied(&mut [0.0; LINES * STEP]).vectors_along() }
    }

    /// # Safety
    /// As [`Kernel::pack`].
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn vectors_across(self) -> Vectors {
        let mut x = [[zeros(); LINES]; 2];
        for pair in 0..self.extents.1.div_ceil(2) {
            let (half, place) = (2 * pair / LINES, 2 * pair % LINES);
            // SAFETY: the caller's promise.
            (x[half][place], x[half][place + 1]) = unsafe { self.rows_of_pair(pair) };
        }
        x
    }
}

/// The three units of the parts of the numbers of two vectors, none of them too large. NaN is in some.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn parts(x: __m512, y: __m512, words: __m512i) -> [__m512i; PARTS] {
    let (x1, y1) = (nearest(x), nearest(y));
    let (x, y) = (_mm512_sub_ps(x, x1), _mm512_sub_ps(y, y1));
    let (x2, y2) = (nearest(x), nearest(y));
    let (x3, y3) = (_mm512_sub_ps(x, x2), _mm512_sub_ps(y, y2));
    [unit(x1, y1, words), unit(x2, y2, words), unit(x3, y3, words)]
}

/// As [`parts`] for any numbers. Next to ∞ every number is ∞ or the largest: the first part is the nearest finite one. Those of ±∞ are 1, 0 and ±∞, so
/// that no product of parts but the last part's is infinite.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn parts_of_any(x: __m512, y: __m512, words: __m512i) -> [__m512i; PARTS] {
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
    [unit(x[0], y[0], words), unit(x[1], y[1], words), unit(x[2], y[2], words)]
}

/// The numbers of eight bits nearest to these, of two that are as near that of the larger magnitude.
#[inline]
#[target_feature(enable = "avx512f")]
fn nearest(x: __m512) -> __m512 {
    let up = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
    _mm512_castsi512_ps(_mm512_and_epi32(up, _mm512_set1_epi32(0xffff_0000u32 as i32)))
}

/// A unit of these words of two vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn unit(x: __m512, y: __m512, words: __m512i) -> __m512i {
    _mm512_permutex2var_epi16(_mm512_castps_si512(x), words, _mm512_castps_si512(y))
}

/// The upper words of the first vector and then those of the second.
#[inline]
#[target_feature(enable = "avx512f")]
fn one_after_another() -> __m512i {
    let words: [u16; STEP] = std::array::from_fn(|i| 2 * i as u16 + 1);
    // SAFETY: both have 512 bits.
    unsafe { std::mem::transmute(words) }
}

/// The upper words of the first vector and of the second in turn.
#[inline]
#[target_feature(enable = "avx512f")]
fn in_turn() -> __m512i {
    let words: [u16; STEP] = std::array::from_fn(|i| (i | 1) as u16 + STEP as u16 * (i % 2) as u16);
    // SAFETY: both have 512 bits.
    unsafe { std::mem::transmute(words) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn zeros() -> __m512 {
    _mm512_setzero_ps()
}

/// Loads a half of a part of A or B into a tile.
macro_rules! load {
    (a $tile:literal $part:literal $half:literal) => {
        concat!("tileloadd tmm", $tile, ", [{a} + {a_stride}*1 + 2048*(", $part, "-1) + 1024*", $half, "]\n")
    };
    (b $tile:literal $part:literal $half:literal) => {
        concat!("tileloadd tmm", $tile, ", [{b} + {b_stride}*1 + 2048*(", $part, "-1) + 64*", $half, "]\n")
    };
}

/// Fetches a quarter of a part of A or B of the next step: eight lines of the cache.
macro_rules! fetch {
    ($base:literal $part:literal $quarter:literal) => { fetch!($base $part $quarter, 0 1 2 3 4 5 6 7) };
    ($base:literal $part:literal $quarter:literal, $($line:literal)*) => {
        concat!($("prefetcht0 [{", $base, "} + 6144 + 2048*(", $part, "-1) + 512*", $quarter, " + 64*", $line, "]\n"),*)
    };
}

/// The product of two tiles, added to a tile of sums.
macro_rules! product {
    (0) => {
        "tdpbf16ps tmm0, tmm4, tmm6\n"
    };
    (1) => {
        "tdpbf16ps tmm1, tmm4, tmm7\n"
    };
    (2) => {
        "tdpbf16ps tmm2, tmm5, tmm6\n"
    };
    (3) => {
        "tdpbf16ps tmm3, tmm5, tmm7\n"
    };
}

/// The four products, each half of the next part of A or B loaded as soon as it may be, and a part of the next step fetched.
macro_rules! products {
    (then b $part:literal, $base:literal $fetched:literal) => {
        concat!(
            product!(0), fetch!($base $fetched 0), product!(2), load!(b 6 $part 0), fetch!($base $fetched 1),
            product!(1), fetch!($base $fetched 2), product!(3), load!(b 7 $part 1), fetch!($base $fetched 3),
        )
    };
    (then a $part:literal, $base:literal $fetched:literal) => {
        concat!(
            product!(0), fetch!($base $fetched 0), product!(1), load!(a 4 $part 0), fetch!($base $fetched 1),
            product!(2), fetch!($base $fetched 2), product!(3), load!(a 5 $part 1), fetch!($base $fetched 3),
        )
    };
    ($base:literal $fetched:literal) => {
        concat!(
            product!(0), fetch!($base $fetched 0), product!(1), fetch!($base $fetched 1),
            product!(2), fetch!($base $fetched 2), product!(3), fetch!($base $fetched 3),
        )
    };
}

/// Tiles 0 to 3 are the sums, 4 and 5 the upper and lower rows of a part of A, 6 and 7 the left and right columns of a part of B: in turn
/// a₁b₃, a₁b₂, a₂b₂, a₂b₁, a₃b₁, a₁b₁. A tile is loaded as soon as the last product that needs the one before has begun, and meanwhile the
/// next step is fetched, a part of A or B with every four products.
///
/// # Safety
/// As [`Kernel::sums`] of whole groups, whose old elements are not read.
unsafe fn kernel(tile: Tile<Pairs>) {
    let stride = tile.c_stride * size_of::<f32>();
    // SAFETY: the caller's promise; what is fetched need not be there. The tiles' shapes are set, and what is in them is not needed afterwards.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            load!(a 4 1 0),
            load!(b 6 3 0),
            load!(a 5 1 1),
            load!(b 7 3 1),
            products!(then b 2, "a" 1),
            products!(then a 2, "a" 2),
            products!(then b 1, "a" 3),
            products!(then a 3, "b" 1),
            products!(then a 1, "b" 2),
            products!("b" 3),
            "add {a}, 6144",
            "add {b}, 6144",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{upper} + {stride}*1], tmm0",
            "tilestored [{upper} + {stride}*1 + 64], tmm1",
            "tilestored [{lower} + {stride}*1], tmm2",
            "tilestored [{lower} + {stride}*1 + 64], tmm3",
            upper = in(reg) tile.c,
            lower = in(reg) tile.c.wrapping_add(16 * tile.c_stride),
            stride = in(reg) stride,
            a = inout(reg) tile.a => _,
            b = inout(reg) tile.b => _,
            a_stride = in(reg) 64usize,
            b_stride = in(reg) 128usize,
            steps = inout(reg) tile.steps => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
