//! Products of f32 by AMX: each number is the sum of three of bfloat16, which have its 24 bits between them, and of the nine products of parts the
//! six that matter are added up, in each step that of the first parts last.
//!
//! a₁ is the number of 8 bits nearest to a, a₂ the one nearest to a − a₁, and a₃ the rest, which has 7 bits: a = a₁ + a₂ + a₃ with |a₂| ≤ 2⁻⁸·|a| and
//! |a₃| ≤ 2⁻¹⁷·|a|. What is left out of a·b, a₂b₃ + a₃b₂ + a₃b₃, is at most 2⁻²⁴·|a·b| (and a little), what rounding a product to f32 may lose,
//! and on average a tenth of it with either sign. The instruction sums 32 products before it adds them to a result, so that long sums are rounded
//! less often than one by one. It takes numbers below 2⁻¹²⁶ as zero, in operands and in sums: of operands below about 2⁻¹⁰³ and of products below about
//! 2⁻¹⁰⁰ the last bits, or all, are lost. A product that is too large by far, beyond 2¹³⁶, may be NaN where it should be ∞.

use super::amx::{Amx, SHAPES, fetch_to_write};
use super::avx512::lanes;
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
        unsafe { pack(side, lines, extents, packed) }
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

/// The parts of 16 numbers, each with the bits of a bfloat16 and zeros. Next to ∞ every number is ∞ or the largest: the first part is the
/// nearest finite one. Those of ±∞ are 1, 0 and ±∞, so that no product of parts but the last part's is infinite; NaN is in some.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn parts(x: __m512) -> [__m512; PARTS] {
    let nearest = |x: __m512, finite: __mmask16| {
        let up = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
        _mm512_castsi512_ps(_mm512_maskz_and_epi32(finite, up, _mm512_set1_epi32(0xffff_0000u32 as i32)))
    };
    let largest = _mm512_castsi512_ps(_mm512_set1_epi32(0x7f7f_0000));
    let finite = !_mm512_fpclass_ps_mask::<INFINITE>(x);
    let first = _mm512_max_ps(_mm512_xor_ps(largest, _mm512_set1_ps(-0.0)), _mm512_min_ps(largest, nearest(x, __mmask16::MAX)));
    let first = _mm512_mask_mov_ps(_mm512_set1_ps(1.0), finite, first);
    let rest = _mm512_sub_ps(x, first);
    let second = nearest(rest, finite);
    [first, second, _mm512_sub_ps(rest, second)]
}

/// Packs a group: at each step the units of the first parts, of the second, of the third.
///
/// # Safety
/// As [`Kernel::pack`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512bf16")]
unsafe fn pack(side: Side, lines: Matrix<f32>, (count, k): (usize, usize), packed: &mut [Pairs]) {
    let (across, along) = lines.strides;
    let mut vectors = [[_mm512_setzero_si512(); LINES]; PARTS];
    for (step, packed) in packed.chunks_exact_mut(GROUP * PARTS).enumerate() {
        for first in (0..GROUP).step_by(LINES) {
            let line = first.min(count);
            let start = lines.start.wrapping_offset(line as isize * across + (step * STEP) as isize * along);
            let square = Square { start, across, along, extents: (LINES.min(count - line), STEP.min(k - step * STEP)) };
            // SAFETY: the caller's promise: the square lies inside the operand.
            unsafe {
                let by_lines = square.split(&mut vectors);
                for (part, vectors) in vectors.iter().enumerate() {
                    let to = packed.as_mut_ptr().add(part * GROUP);
                    match (side, by_lines) {
                        (Side::A, true) => rounded::store(*vectors, to.add(first), 1),
                        (Side::A, false) => rounded::store(rounded::transposed_pairs(*vectors), to.add(first), 1),
                        (Side::B, true) => rounded::store(rounded::transposed_pairs(*vectors), to.add(first / LINES), GROUP / LINES),
                        (Side::B, false) => rounded::store(*vectors, to.add(first / LINES), GROUP / LINES),
                    }
                }
            }
        }
    }
}

impl Square {
    /// Writes the parts of the numbers: where a line is contiguous along k 16 pairs of each line, and true; else 16 lines of each pair, and false.
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512bf16")]
    unsafe fn split(self, to: &mut [[__m512i; LINES]; PARTS]) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            if self.along == 1 {
                self.split_along(to);
            } else if self.across == 1 {
                self.split_across(to);
                return false;
            } else {
                self.copied(&mut [0.0; LINES * STEP]).split_along(to);
            }
        }
        true
    }

    /// # Safety
    /// As [`Square::split`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512bf16")]
    unsafe fn split_along(self, to: &mut [[__m512i; LINES]; PARTS]) {
        let [first, second, third] = to;
        for (line, ((first, second), third)) in first.iter_mut().zip(second).zip(third).enumerate() {
            // SAFETY: the caller's promise.
            let (low, high) = if line < self.extents.0 { unsafe { self.halves_of_line(line) } } else { (zeros(), zeros()) };
            let (low, high) = (parts(low), parts(high));
            *first = rounded::rounded(low[0], high[0]);
            *second = rounded::rounded(low[1], high[1]);
            *third = rounded::rounded(low[2], high[2]);
        }
    }

    /// # Safety
    /// As [`Square::split`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512bf16")]
    unsafe fn split_across(self, to: &mut [[__m512i; LINES]; PARTS]) {
        let [first, second, third] = to;
        for (pair, ((first, second), third)) in first.iter_mut().zip(second).zip(third).enumerate() {
            // SAFETY: the caller's promise.
            let (upper, lower) = if 2 * pair < self.extents.1 { unsafe { self.rows_of_pair(pair) } } else { (zeros(), zeros()) };
            let (upper, lower) = (parts(upper), parts(lower));
            *first = rounded::interleaved(upper[0], lower[0]);
            *second = rounded::interleaved(upper[1], lower[1]);
            *third = rounded::interleaved(upper[2], lower[2]);
        }
    }
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
    // SAFETY: the caller's promise; what is fetched need not be there. LDTILECFG sets all tiles to zero; no state of them outlives the block.
    unsafe {
        asm!(
            "ldtilecfg [{shapes}]",
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
            "tilerelease",
            shapes = in(reg) &raw const SHAPES,
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
