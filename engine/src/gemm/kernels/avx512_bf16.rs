//! The kernel with the dot products of AVX512-BF16, for operands rounded to bfloat16: 16 rows by half a panel of B at a time, a vector of
//! sums for each row.

use super::pack_bf16::{self, COLUMNS, PAIRS, Pairs};
use crate::gemm::kernel::{Kernel, Side, Tile};
use crate::gemm::matrix::Matrix;
use std::arch::x86_64::*;

/// AVX512-BF16 on operands rounded to bfloat16.
pub struct Avx512Bf16;

const ROWS: usize = Avx512Bf16::ROWS;
const LANES: usize = 16;

impl Kernel for Avx512Bf16 {
    type Unit = Pairs;
    const ROWS: usize = 16;
    const COLUMNS: usize = COLUMNS;
    const STEP: usize = pack_bf16::STEP;
    const DEPTH: usize = pack_bf16::DEPTH;
    const BAND: usize = pack_bf16::DEPTH;
    const TASK_WORK: usize = pack_bf16::TASK_WORK;
    const SUMS_FROM_ZERO: bool = false;
    type PackState = ();

    #[inline]
    fn is_available() -> bool {
        is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512bw")
    }
    unsafe fn pack(side: Side, lines: Matrix<f32>, extents: (usize, usize), packed: &mut [Pairs]) {
        // SAFETY: the caller's promise.
        unsafe { pack_bf16::pack::<Self>(side, lines, extents, packed) }
    }
    unsafe fn multiply_tile(extents: (usize, usize), tile: Tile<Pairs>) {
        // SAFETY: the caller's promise.
        unsafe { pack_bf16::multiply_whole_panels::<Self>(extents, tile, kernel) }
    }
}

/// # Safety
/// As [`Kernel::multiply_tile`], of whole panels.
unsafe fn kernel(tile: Tile<Pairs>) {
    // SAFETY: the caller's promise.
    unsafe { (0..COLUMNS / LANES).for_each(|half| half_panel(tile, half)) }
}

/// The sums for half a panel of B.
///
/// # Safety
/// As [`Kernel::multiply_tile`].
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn half_panel(tile: Tile<Pairs>, half: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let c = tile.c.add(half * LANES);
        let mut total: [__m512; ROWS] =
            std::array::from_fn(|i| if tile.accumulate { _mm512_loadu_ps(c.add(i * tile.c_stride)) } else { _mm512_setzero_ps() });
        for step in 0..tile.steps {
            let a = tile.a.add(step * ROWS).cast::<i32>();
            let b = tile.b.add(step * PAIRS * 2 + half);
            for pair in 0..PAIRS {
                let b = as_bf16(_mm512_load_si512(b.add(pair * 2).cast()));
                for (i, total) in total.iter_mut().enumerate() {
                    *total = _mm512_dpbf16_ps(*total, as_bf16(_mm512_set1_epi32(*a.add(i * PAIRS + pair))), b);
                }
            }
        }
        for (i, total) in total.into_iter().enumerate() {
            _mm512_storeu_ps(c.add(i * tile.c_stride), total);
        }
    }
}

/// The same bits as pairs of bfloat16.
#[inline]
fn as_bf16(x: __m512i) -> __m512bh {
    // SAFETY: both are vectors of 512 bits, of which all are valid.
    unsafe { std::mem::transmute(x) }
}
