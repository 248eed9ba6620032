//! The kernel with AVX2 and fused multiply-adds: 6 × 16 sums in 12 registers.

use super::{Instructions, Tile};
use std::arch::x86_64::*;

/// AVX2 with fused multiply-adds.
pub struct Avx2;

impl Instructions for Avx2 {
    const LANES: usize = 8;
    const ROWS: usize = 6;
    /// Never: 6 rows are less than half of what a line of the cache holds.
    const IN_PLACE: isize = 0;

    #[inline]
    fn available() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
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
                    _ => unreachable!("a group has 1 to 6 rows"),
                } }
            };
        }
        choose!(1 2 3 4 5 6)
    }
}

const LANES: usize = Avx2::LANES;
const COLUMNS: usize = Avx2::COLUMNS;

/// In three rounds vectors that are 1, 2 and 4 apart exchange lanes; the first two rounds leave row p where the two lowest bits of p change
/// places.
///
/// # Safety
/// As [`Instructions::transpose`].
#[target_feature(enable = "avx2")]
unsafe fn transpose(from: *const f32, from_stride: isize, to: *mut f32, to_stride: usize) {
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
    // SAFETY: the caller's promise.
    unsafe {
        let mut x: [__m256; LANES] = std::array::from_fn(|j| _mm256_loadu_ps(from.offset(j as isize * from_stride)));
        exchange!(x, 1, _mm256_unpacklo_ps, _mm256_unpackhi_ps);
        exchange!(x, 2, low_doubles, high_doubles);
        exchange!(x, 4, low_halves, high_halves);
        for (i, row) in x.into_iter().enumerate() {
            let p = (i & !3) | ((i & 1) << 1) | ((i >> 1) & 1);
            _mm256_storeu_ps(to.add(p * to_stride), row);
        }
    }
}

/// The kernel for R rows and up to 8·H columns, of an A whose columns or (else) whose rows are contiguous.
///
/// # Safety
/// As [`Instructions::sums`].
#[target_feature(enable = "avx2,fma")]
unsafe fn kernel<const R: usize, const H: usize, const COLUMN_MAJOR: bool>(tile: Tile) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut total = [[_mm256_setzero_ps(); H]; R];
        let rows: [*const f32; R] = std::array::from_fn(|i| tile.a.offset(i as isize * tile.strides.0));
        for p in 0..tile.depth {
            let b = tile.b.add(p * COLUMNS);
            let b: [__m256; H] = std::array::from_fn(|half| _mm256_loadu_ps(b.add(LANES * half)));
            for i in 0..R {
                let a = if COLUMN_MAJOR { *tile.a.offset(p as isize * tile.strides.1 + i as isize) } else { *rows[i].add(p) };
                let a = _mm256_set1_ps(a);
                for half in 0..H {
                    total[i][half] = _mm256_fmadd_ps(a, b[half], total[i][half]);
                }
            }
        }
        for (i, total) in total.iter().enumerate() {
            for (half, &total) in total.iter().enumerate() {
                let c = tile.c.add(i * tile.c_stride + LANES * half);
                match tile.width.saturating_sub(LANES * half) {
                    LANES.. => add(total, tile.beta, c, |c| _mm256_loadu_ps(c), |c, x| _mm256_storeu_ps(c, x)),
                    some => {
                        let mask = first_lanes(some);
                        add(total, tile.beta, c, |c| _mm256_maskload_ps(c, mask), |c, x| _mm256_maskstore_ps(c, mask, x));
                    }
                }
            }
        }
    }
}

/// One vector of C ← total + βC.
#[target_feature(enable = "avx2,fma")]
fn add(total: __m256, beta: f32, c: *mut f32, load: impl Fn(*const f32) -> __m256, store: impl Fn(*mut f32, __m256)) {
    let sum = match beta {
        0.0 => total,
        1.0 => _mm256_add_ps(total, load(c)),
        beta => _mm256_fmadd_ps(_mm256_set1_ps(beta), load(c), total),
    };
    store(c, sum);
}

/// A mask of the first `count` of 8 lanes.
#[target_feature(enable = "avx2")]
fn first_lanes(count: usize) -> __m256i {
    _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}
