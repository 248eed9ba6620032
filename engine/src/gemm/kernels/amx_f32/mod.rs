//! The kernel with AMX, for operands in f32: each number is the sum of three parts of bfloat16, which have its 24 bits between them.
//!
//! Of the nine products of parts, the six that matter are added up, in each step that of the first parts last.
//!
//! * **Parts.** a₁ is the number of 8 bits nearest to a, a₂ the one nearest to a − a₁, and a₃ the rest, which has 7 bits: a = a₁ + a₂ + a₃
//!   with
//!   |a₂| ≤ 2⁻⁸·|a| and |a₃| ≤ 2⁻¹⁷·|a|.
//! * **Error.** a·b lacks a₂b₃ + a₃b₂ + a₃b₃. It is at most 2⁻²⁴·|a·b| (and a little), what rounding a product to f32 may
//!   lose, and on average a tenth of that with either sign. The instruction sums 32 products before it adds them to a result, so that a
//!   long sum is rounded less often than one by one.
//! * **Small numbers.** The instruction takes numbers below 2⁻¹²⁶ as zero, in operands and in sums. Of operands below about 2⁻¹⁰³, and of
//!   products below about 2⁻¹⁰⁰, the last bits or all are lost.
//! * **Large numbers.** A product beyond 2¹³⁶ may be NaN instead of ∞. So may ∞ next to a signalling NaN, which no operation gives.

mod kernel;
mod packing;

use super::amx_bf16::{AmxBf16, prefetch_c};
use super::avx512::lanes;
use super::pack_bf16::{self, Pairs, STEP};
use crate::gemm::kernel::{Background, Kernel, NoBackground, Side, Tile};
use crate::gemm::matrix::Matrix;
use kernel::kernel;
use packing::{LANES, PANEL, PARTS, SquareBuffer};
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

/// AMX on operands in three parts, in f32.
pub struct AmxF32;

impl Kernel for AmxF32 {
    type Unit = Pairs;
    const ROWS: usize = PANEL;
    const COLUMNS: usize = PANEL;
    const STEP: usize = STEP;
    const PARTS: usize = PARTS;
    const DEPTH: usize = pack_bf16::DEPTH;
    const BAND: usize = pack_bf16::DEPTH;
    const TASK_WORK: usize = pack_bf16::TASK_WORK;
    const SUMS_FROM_ZERO: bool = true;
    type PackState = SquareBuffer;
    const PACKS_IN_PIECES: bool = true;

    /// More where the shared operand outgrows L2, and is read from L3 once for each of a task's blocks.
    fn own_block_bytes(shared_bytes: usize) -> usize {
        match shared_bytes {
            _ if cfg!(test) => 1 << 15,
            bytes if bytes > 3 << 19 => 1 << 19,
            _ => 1 << 17,
        }
    }
    #[inline]
    fn is_available() -> bool {
        AmxBf16::is_available() && is_x86_feature_detected!("avx512dq")
    }
    unsafe fn pack(side: Side, lines: Matrix<f32>, extents: (usize, usize), packed: &mut [Pairs]) {
        // SAFETY: the caller's promise.
        unsafe {
            match side {
                Side::A => packing::pack::<true>(lines, extents, packed),
                Side::B => packing::pack::<false>(lines, extents, packed),
            }
        }
    }
    fn piece_count(side: Side, lines: Matrix<f32>, k: usize) -> usize {
        match side {
            Side::A => packing::piece_count::<true>(lines, k),
            Side::B => packing::piece_count::<false>(lines, k),
        }
    }
    unsafe fn pack_piece(
        number: usize,
        side: Side,
        lines: Matrix<f32>,
        extents: (usize, usize),
        packed: &mut [Pairs],
        buffer: &mut SquareBuffer,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            match side {
                Side::A => packing::pack_piece::<true>(number, lines, extents, packed, buffer),
                Side::B => packing::pack_piece::<false>(number, lines, extents, packed, buffer),
            }
        }
    }
    unsafe fn begin() {
        // SAFETY: the caller's promise.
        unsafe { AmxBf16::begin() }
    }
    unsafe fn end() {
        // SAFETY: the caller's promise.
        unsafe { AmxBf16::end() }
    }
    unsafe fn multiply_tile(extents: (usize, usize), tile: Tile<Pairs>) {
        // SAFETY: the caller's promise.
        unsafe { Self::multiply_tile_with(extents, tile, &mut NoBackground) }
    }
    unsafe fn multiply_tile_with(extents: (usize, usize), tile: Tile<Pairs>, background: &mut impl Background) {
        // SAFETY: the caller's promise.
        unsafe {
            prefetch_c(tile);
            if extents == (PANEL, PANEL) && !tile.accumulate {
                return kernel(tile, background);
            }
            let mut sums = MaybeUninit::<Sums>::uninit();
            kernel(Tile { c: sums.as_mut_ptr().cast(), c_stride: PANEL, ..tile }, background);
            store_sums(extents, sums.assume_init_ref(), tile);
        }
    }
}

/// The sums of a tile. They start at zero, apart from the old elements of C: what is added to a small number is rounded less.
#[repr(C, align(64))]
struct Sums([[f32; PANEL]; PANEL]);

/// Writes the sums of the first rows and columns of a tile to C, or adds them.
///
/// # Safety
/// As [`Kernel::multiply_tile`].
#[target_feature(enable = "avx512f")]
unsafe fn store_sums((rows, columns): (usize, usize), sums: &Sums, tile: Tile<Pairs>) {
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
