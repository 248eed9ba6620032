//! The kernel with AVX-512: a tile of 12 × 32 sums in 24 registers.

use super::pack_f32::{self, Vectors};
use crate::gemm::kernel::{Kernel, Side, Tile};
use crate::gemm::matrix::{Matrix, Strides};
use std::arch::x86_64::*;

/// AVX-512.
pub struct Avx512;

impl Kernel for Avx512 {
    type Unit = f32;
    const ROWS: usize = 12;
    const COLUMNS: usize = 32;
    const STEP: usize = 1;
    const DEPTH: usize = pack_f32::DEPTH;
    const BAND: usize = pack_f32::BAND;
    const TASK_WORK: usize = pack_f32::TASK_WORK;
    const SUMS_FROM_ZERO: bool = true;
    type PackState = ();

    #[inline]
    fn is_available() -> bool {
        is_x86_feature_detected!("avx512f")
    }
    /// In place are:
    /// * contiguous rows, unless they are a multiple of a page apart and share few sets of the cache;
    /// * contiguous columns near enough to each other that the rows of a panel share few sets of the cache.
    fn reads_rows_in_place(strides: Strides) -> bool {
        (strides.1 == 1 && strides.0 % 1024 != 0) || (strides.0 == 1 && strides.1 <= 768)
    }
    /// In place are contiguous rows of one or two panels.
    fn reads_columns_in_place(strides: Strides, n: usize) -> bool {
        strides.1 == 1 && strides.0 >= 0 && n <= 2 * COLUMNS
    }
    unsafe fn pack(side: Side, lines: Matrix<f32>, extents: (usize, usize), packed: &mut [f32]) {
        // SAFETY: the caller's promise.
        unsafe { pack_f32::pack::<Self, { Avx512::ROWS }, COLUMNS>(side, lines, extents, packed) }
    }
    unsafe fn multiply_tile((rows, columns): (usize, usize), tile: Tile<f32>) {
        macro_rules! choose {
            ($($rows:literal)*) => {
                // SAFETY: the caller's promise.
                unsafe { match rows {
                    $($rows => match (tile.a_strides.0 == 1, columns <= LANES) {
                        (true, true) => kernel::<$rows, 1, true>(columns, tile),
                        (true, false) => kernel::<$rows, 2, true>(columns, tile),
                        (false, true) => kernel::<$rows, 1, false>(columns, tile),
                        (false, false) => kernel::<$rows, 2, false>(columns, tile),
                    },)*
                    _ => unreachable!("a panel has 1 to 12 rows"),
                } }
            };
        }
        choose!(1 2 3 4 5 6 7 8 9 10 11 12)
    }
}

impl Vectors for Avx512 {
    const LANES: usize = 16;

    unsafe fn transpose(from: *const f32, from_stride: isize, count: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: the caller's promise.
        unsafe { transpose(from, from_stride, count, to, to_stride) }
    }
}

const LANES: usize = Avx512::LANES;
const COLUMNS: usize = Avx512::COLUMNS;
/// How far along a line numbers are prefetched.
const PREFETCH_AHEAD: usize = 64;

/// Transposes a square of vectors in place, in four rounds in which vectors that are 1, 2, 4 and 8 apart exchange lanes. The first two
/// rounds swap the two lowest bits of a row's number. (A macro, because a function that is not inlined passes the vectors through memory.)
macro_rules! transpose_in_place {
    ($x:ident) => {
        exchange!($x, 1, _mm512_unpacklo_ps, _mm512_unpackhi_ps);
        exchange!($x, 2, low_doubles, high_doubles);
        exchange!($x, 4, even_quarters, odd_quarters);
        exchange!($x, 8, even_quarters, odd_quarters);
        for p in (0..LANES).step_by(4) {
            $x.swap(p + 1, p + 2);
        }
    };
}

/// One round of a transposition.
macro_rules! exchange {
    ($x:ident, $apart:literal, $low:ident, $high:ident) => {
        for i in (0..LANES).filter(|i| i & $apart == 0) {
            ($x[i], $x[i + $apart]) = ($low($x[i], $x[i + $apart]), $high($x[i], $x[i + $apart]));
        }
    };
}

#[inline]
#[target_feature(enable = "avx512f")]
fn low_doubles(a: __m512, b: __m512) -> __m512 {
    _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn high_doubles(a: __m512, b: __m512) -> __m512 {
    _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn even_quarters(a: __m512, b: __m512) -> __m512 {
    _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn odd_quarters(a: __m512, b: __m512) -> __m512 {
    _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b)
}

/// # Safety
/// As [`Vectors::transpose`].
#[target_feature(enable = "avx512f")]
unsafe fn transpose(from: *const f32, from_stride: isize, count: usize, to: *mut f32, to_stride: usize) {
    let mut x = [_mm512_setzero_ps(); LANES];
    // SAFETY: the caller's promise.
    unsafe {
        for (j, x) in x.iter_mut().enumerate().take(count) {
            let from = from.offset(j as isize * from_stride);
            _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(PREFETCH_AHEAD).cast());
            *x = _mm512_loadu_ps(from);
        }
        transpose_in_place!(x);
        for (p, row) in x.into_iter().enumerate() {
            _mm512_mask_storeu_ps(to.add(p * to_stride), lanes(count), row);
        }
    }
}

/// [`Vectors::transpose`] for a whole square, to rows that start at a cache line. The numbers `ahead` of those that are read are prefetched
/// to L2.
///
/// # Safety
/// As there; every row of `to` must start at a cache line.
#[inline(never)]
#[target_feature(enable = "avx512f")]
pub unsafe fn transpose_whole((from, from_stride): (*const f32, isize), ahead: isize, (to, to_stride): (*mut f32, usize)) {
    let mut x = [_mm512_setzero_ps(); LANES];
    // SAFETY: the caller's promise; what is prefetched need not exist.
    unsafe {
        for (j, x) in x.iter_mut().enumerate() {
            let from = from.wrapping_offset(j as isize * from_stride);
            _mm_prefetch::<_MM_HINT_T1>(from.wrapping_offset(ahead).cast());
            *x = _mm512_loadu_ps(from);
        }
        transpose_in_place!(x);
        for (p, row) in x.into_iter().enumerate() {
            _mm512_store_ps(to.add(p * to_stride), row);
        }
    }
}

/// The transpose of a square of vectors.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn transposed(mut x: [__m512; LANES]) -> [__m512; LANES] {
    transpose_in_place!(x);
    x
}

/// The micro-kernel for R rows and up to 16·H columns, for an A whose columns or (else) whose rows are contiguous.
///
/// # Safety
/// As [`Kernel::multiply_tile`].
#[target_feature(enable = "avx512f")]
unsafe fn kernel<const R: usize, const H: usize, const COLUMN_MAJOR: bool>(columns: usize, tile: Tile<f32>) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut total = [[_mm512_setzero_ps(); H]; R];
        let masks = [lanes(columns), lanes(columns.saturating_sub(LANES))];
        let rows: [*const f32; R] = std::array::from_fn(|i| tile.a.offset(i as isize * tile.a_strides.0));
        for p in 0..tile.steps {
            let b = tile.b.add(p * tile.b_stride);
            let b: [__m512; H] = std::array::from_fn(|half| _mm512_maskz_loadu_ps(masks[half], b.wrapping_add(LANES * half)));
            for i in 0..R {
                let a = if COLUMN_MAJOR { *tile.a.offset(p as isize * tile.a_strides.1 + i as isize) } else { *rows[i].add(p) };
                let a = _mm512_set1_ps(a);
                for half in 0..H {
                    total[i][half] = _mm512_fmadd_ps(a, b[half], total[i][half]);
                }
            }
        }
        for (i, total) in total.iter().enumerate() {
            let c = tile.c.add(i * tile.c_stride);
            for (half, mask) in masks.into_iter().enumerate().take(H) {
                let c = c.add(LANES * half);
                let old = if tile.accumulate { _mm512_maskz_loadu_ps(mask, c) } else { _mm512_setzero_ps() };
                _mm512_mask_storeu_ps(c, mask, _mm512_add_ps(total[half], old));
            }
        }
    }
}

/// A mask of the first `count` of 16 lanes.
pub fn lanes(count: usize) -> __mmask16 {
    if count >= LANES { __mmask16::MAX } else { (1 << count) - 1 }
}
