//! Products of f32 by AMX: each number is the sum of three of bfloat16, which have its 24 bits between them, and of the nine products of parts the
//! six that matter are added up, in each step that of the first parts last.
//!
//! a₁ is the number of 8 bits nearest to a, a₂ the one nearest to a − a₁, and a₃ the rest, which has 7 bits: a = a₁ + a₂ + a₃ with |a₂| ≤ 2⁻⁸·|a| and
//! |a₃| ≤ 2⁻¹⁷·|a|. What is left out of a·b, a₂b₃ + a₃b₂ + a₃b₃, is at most 2⁻²⁴·|a·b| (and a little), what rounding a product to f32 may lose,
//! and on average a tenth of it with either sign. The instruction sums 32 products before it adds them to a result, so that long sums are rounded
//! less often than one by one. It takes numbers below 2⁻¹²⁶ as zero, in operands and in sums: of operands below about 2⁻¹⁰³ and of products below about
//! 2⁻¹⁰⁰ the last bits, or all, are lost. A product that is too large by far, beyond 2¹³⁶, may be NaN where it should be ∞, and so may ∞ next to
//! a signalling NaN, which no operation gives.

mod kernel;
mod packing;

use super::amx::{Amx, fetch_to_write};
use super::avx512::lanes;
use super::pack_bf16::{self, Pairs, STEP};
use crate::gemm::kernel::{Kernel, Meanwhile, Nothing, Side, Tile};
use crate::gemm::matrix::Matrix;
use kernel::kernel;
use packing::{GROUP, LANES, PARTS, Turned};
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

/// AMX for f32.
pub struct Split;

impl Kernel for Split {
    type Unit = Pairs;
    const ROWS: usize = GROUP;
    const COLUMNS: usize = GROUP;
    const STEP: usize = STEP;
    const PARTS: usize = PARTS;
    const DEPTH: usize = pack_bf16::DEPTH;
    const BAND: usize = pack_bf16::DEPTH;
    const TASK_WORK: usize = pack_bf16::TASK_WORK;
    const SUMS_APART: bool = true;
    type PackState = Turned;
    const IN_PIECES: bool = true;

    /// More where the shared operand does not stay in the second-level cache, but comes through it once for each of a task's blocks.
    fn own_bytes(shared_bytes: usize) -> usize {
        match shared_bytes {
            _ if cfg!(test) => 1 << 15,
            bytes if bytes > 3 << 19 => 1 << 19,
            _ => 1 << 17,
        }
    }
    #[inline]
    fn available() -> bool {
        Amx::available() && is_x86_feature_detected!("avx512dq")
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
    fn pieces(side: Side, lines: Matrix<f32>, k: usize) -> usize {
        match side {
            Side::A => packing::pieces::<true>(lines, k),
            Side::B => packing::pieces::<false>(lines, k),
        }
    }
    unsafe fn pack_piece(
        number: usize,
        side: Side,
        lines: Matrix<f32>,
        extents: (usize, usize),
        packed: &mut [Pairs],
        turned: &mut Turned,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            match side {
                Side::A => packing::piece::<true>(number, lines, extents, packed, turned),
                Side::B => packing::piece::<false>(number, lines, extents, packed, turned),
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
        unsafe { Self::sums_while(extents, tile, &mut Nothing) }
    }
    unsafe fn sums_while(extents: (usize, usize), tile: Tile<Pairs>, meanwhile: &mut impl Meanwhile) {
        // SAFETY: the caller's promise.
        unsafe {
            fetch_to_write(tile);
            if extents == (GROUP, GROUP) && !tile.accumulate {
                return kernel(tile, meanwhile);
            }
            let mut sums = MaybeUninit::<Sums>::uninit();
            kernel(Tile { c: sums.as_mut_ptr().cast(), c_stride: GROUP, ..tile }, meanwhile);
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
