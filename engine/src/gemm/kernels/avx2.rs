//! The kernel with AVX2 and fused multiply-adds: a tile of 6 × 16 sums in 12 registers.

use super::pack_f32::{self, Vectors};
use crate::gemm::kernel::{Kernel, Side, Tile};
use crate::gemm::matrix::{Matrix, Strides};
use std::arch::x86_64::*;

/// AVX2 with fused multiply-adds.
pub struct Avx2;

impl Kernel for Avx2 {
    type Unit = f32;
    const ROWS: usize = 6;
    const COLUMNS: usize = 16;
    const STEP: usize = 1;
    const DEPTH: usize = pack_f32::DEPTH;
    const BAND: usize = pack_f32::BAND;
    const TASK_WORK: usize = pack_f32::TASK_WORK;
    const SUMS_FROM_ZERO: bool = true;
    type PackState = ();

    #[inline]
    fn is_available() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }
    /// In place are:
    /// * contiguous rows, unless they are a multiple of a page apart and share few sets of the cache;
    /// * contiguous columns at most two cache lines apart, as attention's scores are. Of columns further apart, 6 rows are less than half
    ///   of what is loaded into the cache.
    fn reads_rows_in_place(strides: Strides) -> bool {
        (strides.1 == 1 && strides.0 % 1024 != 0) || (strides.0 == 1 && (0..=2 * COLUMNS as isize).contains(&strides.1))
    }
    /// In place are contiguous rows of whole vectors, of up to four panels, unless they are a multiple of a page apart.
    fn reads_columns_in_place(strides: Strides, n: usize) -> bool {
        strides.1 == 1 && strides.0 >= 0 && strides.0 % 1024 != 0 && n.is_multiple_of(LANES) && n <= 4 * COLUMNS
    }
    unsafe fn pack(side: Side, lines: Matrix<f32>, extents: (usize, usize), packed: &mut [f32]) {
        // The kernel loads whole vectors.
        if side == Side::B && extents.0 < COLUMNS {
            packed.fill(0.0);
        }
        // SAFETY: the caller's promise.
        unsafe { pack_f32::pack::<Self, { Avx2::ROWS }, COLUMNS>(side, lines, extents, packed) }
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
                    _ => unreachable!("a panel has 1 to 6 rows"),
                } }
            };
        }
        choose!(1 2 3 4 5 6)
    }
}

impl Vectors for Avx2 {
    const LANES: usize = 8;

    unsafe fn transpose(from: *const f32, from_stride: isize, count: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: the caller's promise.
        unsafe { transpose(from, from_stride, count, to, to_stride) }
    }
}

const LANES: usize = Avx2::LANES;
const COLUMNS: usize = Avx2::COLUMNS;

/// Transposes in three rounds, in which vectors that are 1, 2 and 4 apart exchange lanes. The first two rounds swap the two lowest bits of
/// a row's number.
///
/// # Safety
/// As [`Vectors::transpose`].
#[target_feature(enable = "avx2")]
unsafe fn transpose(from: *const f32, from_stride: isize, count: usize, to: *mut f32, to_stride: usize) {
    macro_rules! exchange {
        ($x:ident, $apart:literal, $low:expr, $high:expr) => {
            for i in (0..LANES).filter(|i| i & $apart == 0) {
                ($x[i], $x[i + $apart]) = ($low($x[i], $x[i + $apart]), $high($x[i], $x[i + $apart]));
            }
        };
    }
    let low_doubles = |a, b| _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
    let high_doubles = |a, b| _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
    let low_halves = |a, b| _mm256_permute2f128_ps::<0x20>(a, b);
    let high_halves = |a, b| _mm256_permute2f128_ps::<0x31>(a, b);
    let mut x = [_mm256_setzero_ps(); LANES];
    // SAFETY: the caller's promise.
    unsafe {
        for (j, x) in x.iter_mut().enumerate().take(count) {
            *x = _mm256_loadu_ps(from.offset(j as isize * from_stride));
        }
        exchange!(x, 1, _mm256_unpacklo_ps, _mm256_unpackhi_ps);
        exchange!(x, 2, low_doubles, high_doubles);
        exchange!(x, 4, low_halves, high_halves);
        for (i, row) in x.into_iter().enumerate() {
            let p = (i & !3) | ((i & 1) << 1) | ((i >> 1) & 1);
            store_first(to.add(p * to_stride), count, row);
        }
    }
}

/// The micro-kernel for R rows and up to 8·H columns, for an A whose columns or (else) whose rows are contiguous.
///
/// # Safety
/// As [`Kernel::multiply_tile`].
#[target_feature(enable = "avx2,fma")]
unsafe fn kernel<const R: usize, const H: usize, const COLUMN_MAJOR: bool>(columns: usize, tile: Tile<f32>) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut total = [[_mm256_setzero_ps(); H]; R];
        let rows: [*const f32; R] = std::array::from_fn(|i| tile.a.offset(i as isize * tile.a_strides.0));
        for p in 0..tile.steps {
            let b = tile.b.add(p * tile.b_stride);
            let b: [__m256; H] = std::array::from_fn(|half| _mm256_loadu_ps(b.add(LANES * half)));
            for i in 0..R {
                let a = if COLUMN_MAJOR { *tile.a.offset(p as isize * tile.a_strides.1 + i as isize) } else { *rows[i].add(p) };
                let a = _mm256_set1_ps(a);
                for half in 0..H {
                    total[i][half] = _mm256_fmadd_ps(a, b[half], total[i][half]);
                }
            }
        }
        for (i, total) in total.iter().enumerate() {
            for (half, &total) in total.iter().enumerate() {
                let c = tile.c.add(i * tile.c_stride + LANES * half);
                match columns.saturating_sub(LANES * half) {
                    LANES.. => {
                        let old = if tile.accumulate { _mm256_loadu_ps(c) } else { _mm256_setzero_ps() };
                        _mm256_storeu_ps(c, _mm256_add_ps(total, old));
                    }
                    some => {
                        let mask = first_lanes(some);
                        let old = if tile.accumulate { _mm256_maskload_ps(c, mask) } else { _mm256_setzero_ps() };
                        _mm256_maskstore_ps(c, mask, _mm256_add_ps(total, old));
                    }
                }
            }
        }
    }
}

/// Stores the first `count` of 8 lanes. Whole vectors and panels of A need no mask: a masked store takes ten times as long on some
/// processors.
///
/// # Safety
/// The first `count` elements of `to` must be valid.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store_first(to: *mut f32, count: usize, x: __m256) {
    // SAFETY: the caller's promise.
    unsafe {
        match count {
            LANES => _mm256_storeu_ps(to, x),
            Avx2::ROWS => {
                _mm_storeu_ps(to, _mm256_castps256_ps128(x));
                _mm_storel_epi64(to.add(4).cast(), _mm_castps_si128(_mm256_extractf128_ps::<1>(x)));
            }
            some => _mm256_maskstore_ps(to, first_lanes(some), x),
        }
    }
}

/// A mask of the first `count` of 8 lanes.
#[target_feature(enable = "avx2")]
fn first_lanes(count: usize) -> __m256i {
    _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}
