//! The kernel with AVX-512: 12 × 32 sums in 24 registers.

use super::{Instructions, Tile};
use std::arch::x86_64::*;

/// AVX-512.
pub struct Avx512;

impl Instructions for Avx512 {
    const LANES: usize = 16;
    const ROWS: usize = 12;
    const IN_PLACE: isize = 768;

    #[inline]
    fn available() -> bool {
        is_x86_feature_detected!("avx512f")
    }
    unsafe fn transpose(from: *const f32, from_stride: isize, to: *mut f32, to_stride: usize) {
        // SAFETY: the caller's promise.
        unsafe { transpose(from, from_stride, to, to_stride) }
    }
    unsafe fn sums(count: usize, tile: Tile) {
        macro_rules! choose {
            ($($rows:literal)*) => {
                // SAFETY: the caller's promise.
                unsafe { match count {
                    $($rows => match (tile.strides.0 == 1, tile.width <= LANES) {
                        (true, true) => kernel::<$rows, 1, true>(tile),
                        (true, false) => kernel::<$rows, 2, true>(tile),
                        (false, true) => kernel::<$rows, 1, false>(tile),
                        (false, false) => kernel::<$rows, 2, false>(tile),
                    },)*
                    _ => unreachable!("a group has 1 to 12 rows"),
                } }
            };
        }
        choose!(1 2 3 4 5 6 7 8 9 10 11 12)
    }
}

const LANES: usize = Avx512::LANES;
const COLUMNS: usize = Avx512::COLUMNS;

/// # Safety
/// As [`Instructions::transpose`].
#[target_feature(enable = "avx512f")]
unsafe fn transpose(from: *const f32, from_stride: isize, to: *mut f32, to_stride: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let x = std::array::from_fn(|j| _mm512_loadu_ps(from.offset(j as isize * from_stride)));
        for (p, row) in transposed(x).into_iter().enumerate() {
            _mm512_storeu_ps(to.add(p * to_stride), row);
        }
    }
}

/// The transpose of a square of vectors. In four rounds those that are 1, 2, 4 and 8 apart exchange lanes; the first two rounds leave row p
/// where the two lowest bits of p change places.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn transposed(mut x: [__m512; LANES]) -> [__m512; LANES] {
    macro_rules! exchange {
        ($x:ident, $apart:literal, $low:expr, $high:expr) => {
            for i in (0..LANES).filter(|i| i & $apart == 0) {
                ($x[i], $x[i + $apart]) = ($low($x[i], $x[i + $apart]), $high($x[i], $x[i + $apart]));
            }
        };
    }
    let low_doubles = |a, b| _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
    let high_doubles = |a, b| _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
    let even_quarters = |a, b| _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
    let odd_quarters = |a, b| _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
    exchange!(x, 1, _mm512_unpacklo_ps, _mm512_unpackhi_ps);
    exchange!(x, 2, low_doubles, high_doubles);
    exchange!(x, 4, even_quarters, odd_quarters);
    exchange!(x, 8, even_quarters, odd_quarters);
    std::array::from_fn(|p| x[(p & !3) | ((p & 1) << 1) | ((p >> 1) & 1)])
}

/// The kernel for R rows and up to 16·H columns, of an A whose columns or (else) whose rows are contiguous.
///
/// # Safety
/// As [`Instructions::sums`].
#[target_feature(enable = "avx512f")]
unsafe fn kernel<const R: usize, const H: usize, const COLUMN_MAJOR: bool>(tile: Tile) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut total = [[_mm512_setzero_ps(); H]; R];
        let rows: [*const f32; R] = std::array::from_fn(|i| tile.a.offset(i as isize * tile.strides.0));
        for p in 0..tile.depth {
            let b = tile.b.add(p * COLUMNS);
            let b: [__m512; H] = std::array::from_fn(|half| _mm512_loadu_ps(b.add(LANES * half)));
            for i in 0..R {
                let a = if COLUMN_MAJOR { *tile.a.offset(p as isize * tile.strides.1 + i as isize) } else { *rows[i].add(p) };
                let a = _mm512_set1_ps(a);
                for half in 0..H {
                    total[i][half] = _mm512_fmadd_ps(a, b[half], total[i][half]);
                }
            }
        }
        let masks = [lanes(tile.width), lanes(tile.width.saturating_sub(LANES))];
        for (i, total) in total.iter().enumerate() {
            let c = tile.c.add(i * tile.c_stride);
            for (half, mask) in masks.into_iter().enumerate().take(H) {
                let c = c.add(LANES * half);
                let sum = match tile.beta {
                    0.0 => total[half],
                    1.0 => _mm512_add_ps(total[half], _mm512_maskz_loadu_ps(mask, c)),
                    beta => _mm512_fmadd_ps(_mm512_set1_ps(beta), _mm512_maskz_loadu_ps(mask, c), total[half]),
                };
                _mm512_mask_storeu_ps(c, mask, sum);
            }
        }
    }
}

/// A mask of the first `count` of 16 lanes.
fn lanes(count: usize) -> __mmask16 {
    if count >= LANES { __mmask16::MAX } else { (1 << count) - 1 }
}
