//! The peak rates of this machine, against which kernels are measured: the fastest loops of fused multiply-adds, of copies through memory,
//! and of reading from it.

use super::Cpu;
use super::element::Element;
use crate::backend::core::Core;
use crate::gemm::matrix::Matrix;
use crate::simd::{ask_a_page_ahead, vectorised};
use rayon::prelude::*;
use std::time::Instant;

/// Number of independent sums. It is enough to hide the latency of a fused multiply-add (4 cycles, two per cycle). It is few enough to stay
/// in 16 registers with the loop's two constants.
const CHAINS: usize = 12;

/// Measures the GFLOP/s in f32 of a loop of multiply-adds in registers, on every thread of the pool, over about `seconds`.
pub fn multiply_adds(seconds: f64) -> f64 {
    let threads = rayon::current_num_threads();
    let (mut rounds, mut best) = (1usize << 16, 0.0f64);
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        let flops: f64 = (0..threads).into_par_iter().with_max_len(1).map(|_| chains(rounds)).sum();
        let elapsed = start.elapsed().as_secs_f64();
        best = best.max(flops / elapsed / 1e9);
        if elapsed < 0.05 {
            rounds *= 2;
        }
    }
    best
}

/// Runs the loop and returns its floating-point operations.
fn chains(rounds: usize) -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature is there.
            return unsafe { chains_avx512(rounds) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the features are there.
            return unsafe { chains_avx2(rounds) };
        }
    }
    let mut y = [[1.0f32; 4]; CHAINS];
    for _ in 0..rounds {
        y.iter_mut().flatten().for_each(|y| *y = 0.999 * *y + 1e-3);
    }
    std::hint::black_box(y);
    2.0 * (rounds * CHAINS * 4) as f64
}

macro_rules! chains {
    ($name:ident, $features:literal, $lanes:literal, $set:ident, $fma:ident) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        fn $name(rounds: usize) -> f64 {
            use std::arch::x86_64::*;
            let (x, z) = ($set(std::hint::black_box(0.999)), $set(std::hint::black_box(1e-3)));
            let mut y = [$set(1.0); CHAINS];
            for _ in 0..rounds {
                for chain in &mut y {
                    *chain = $fma(x, *chain, z);
                }
            }
            std::hint::black_box(y);
            2.0 * (rounds * CHAINS * $lanes) as f64
        }
    };
}
chains!(chains_avx512, "avx512f", 16, _mm512_set1_ps, _mm512_fmadd_ps);
chains!(chains_avx2, "avx2,fma", 8, _mm256_set1_ps, _mm256_fmadd_ps);

/// Measures the GFLOP/s of square products of this extent on the pool, in f32 or with the rounding of `cpu`: the best of `repeats`.
pub fn products(cpu: Cpu<f32>, extent: usize, repeats: usize) -> f64 {
    let (a, b) = (vec![1.0f32; extent * extent], vec![0.5f32; extent * extent]);
    let mut c = vec![0.0f32; extent * extent];
    let one = |c: &mut [f32]| {
        let start = Instant::now();
        let (a, b) = (Matrix::row_major(&a, extent), Matrix::row_major(&b, extent));
        // SAFETY: the matrices are whole slices, the precision is a processor's.
        unsafe { f32::parallel_gemm(cpu.precision(), (extent, extent, extent), a, b, 0.0, c) };
        start.elapsed().as_secs_f64()
    };
    let fastest = (0..repeats).map(|_| one(&mut c)).fold(f64::INFINITY, f64::min);
    std::hint::black_box(&c);
    2.0 * (extent as f64).powi(3) / fastest / 1e9
}

/// Measures the GB/s that a sum of `elements` f32 reads on the pool: the best of `repeats`.
pub fn reads(elements: usize, repeats: usize) -> f64 {
    const CHUNK: usize = 1 << 14;
    const LANES: usize = 32;
    let numbers = vec![1.0f32; elements];
    let sum_of_chunk = |chunk: &[f32]| {
        vectorised::<f32, _>(
            #[inline(always)]
            || {
                let mut sums = [0.0f32; LANES];
                for numbers in chunk.as_chunks::<LANES>().0 {
                    numbers.chunks_exact(16).for_each(|line| ask_a_page_ahead(line.as_ptr()));
                    for lane in 0..LANES {
                        sums[lane] += numbers[lane];
                    }
                }
                sums.iter().sum::<f32>()
            },
        )
    };
    let one = || {
        let start = Instant::now();
        let sum: f32 = numbers.par_chunks(elements.div_ceil(rayon::current_num_threads()).next_multiple_of(CHUNK)).map(sum_of_chunk).sum();
        std::hint::black_box(sum);
        start.elapsed().as_secs_f64()
    };
    let fastest = (0..repeats).map(|_| one()).fold(f64::INFINITY, f64::min);
    4.0 * elements as f64 / fastest / 1e9
}

/// Measures the GB/s that a scaled copy of `elements` f32 reads and writes on the pool: the best of `repeats`.
pub fn copies(elements: usize, repeats: usize) -> f64 {
    const CHUNK: usize = 1 << 14;
    let (from, mut to) = (vec![1.0f32; elements], vec![0.0f32; elements]);
    let one = |to: &mut [f32]| {
        let start = Instant::now();
        to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(|(to, from)| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = 0.5 * *from);
        });
        start.elapsed().as_secs_f64()
    };
    let fastest = (0..repeats).map(|_| one(&mut to)).fold(f64::INFINITY, f64::min);
    std::hint::black_box(&to);
    8.0 * elements as f64 / fastest / 1e9
}
