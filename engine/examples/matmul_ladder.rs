//! A matrix product from its formula to the kernel: each step is checked against the one before, and timed.
//!
//! Every step makes the same 2·n³ operations; only the order in which memory is read changes.
//!
//! It prints:
//! ```text
//! C = A·B, 384 × 384 in f32: 113 million operations
//! formula     each C[i,j] a sum over k        … GFLOP/s
//! rows        B is read along its rows        … GFLOP/s
//! tiles       64 rows of B stay in the cache  … GFLOP/s
//! engine      packed panels, all cores        … GFLOP/s
//! ```

use engine::{Cpu, Generator, Tensor};
use std::time::Instant;

const N: usize = 384;
/// Rows of B in a tile: 64 · 384 · 4 bytes = 96 KiB, which fit into the L2 cache.
const TILE: usize = 64;

/// C[i,j] = Σ_k A[i,k]·B[k,j]. B is read down a column: each number is in another line of the cache.
fn formula(a: &[f32], b: &[f32], c: &mut [f32]) {
    for i in 0..N {
        for j in 0..N {
            c[i * N + j] = (0..N).map(|k| a[i * N + k] * b[k * N + j]).sum();
        }
    }
}

/// C[i,·] += A[i,k]·B[k,·]. The inner loop runs along rows of B and C, so it reads whole lines and uses vectors.
fn rows(a: &[f32], b: &[f32], c: &mut [f32]) {
    for i in 0..N {
        for k in 0..N {
            add_row(a[i * N + k], &b[k * N..][..N], &mut c[i * N..][..N]);
        }
    }
}

/// As `rows`, a tile of B at a time: all rows of C use it while it is in the cache.
fn tiles(a: &[f32], b: &[f32], c: &mut [f32]) {
    for start in (0..N).step_by(TILE) {
        for i in 0..N {
            for k in start..start + TILE {
                add_row(a[i * N + k], &b[k * N..][..N], &mut c[i * N..][..N]);
            }
        }
    }
}

fn add_row(factor: f32, b: &[f32], c: &mut [f32]) {
    c.iter_mut().zip(b).for_each(|(c, b)| *c += factor * b);
}

fn main() {
    let mut generator = Generator::new(1);
    let [a, b] = [(); 2].map(|()| (0..N * N).map(|_| generator.normal() as f32).collect::<Vec<f32>>());
    println!("C = A·B, {N} × {N} in f32: {} million operations", 2 * N * N * N / 1_000_000);
    let mut before: Option<Vec<f32>> = None;
    let mut step = |name: &str, kernel: &dyn Fn() -> Vec<f32>| {
        // The second run is timed: the first finds its memory not there yet.
        let _ = kernel();
        let started = Instant::now();
        let c = kernel();
        let seconds = started.elapsed().as_secs_f64();
        if let Some(before) = &before {
            // Sums of 384 products in another order: 384 roundings of 6e-8 of numbers of size 20 at most.
            let largest = before.iter().zip(&c).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(largest < 384.0 * 6e-8 * 20.0, "{name} differs by {largest}");
        }
        before = Some(c);
        println!("{name:<44}{:.1} GFLOP/s", 2.0 * (N * N * N) as f64 / seconds * 1e-9);
    };
    let filled = |kernel: fn(&[f32], &[f32], &mut [f32])| {
        let mut c = vec![0.0; N * N];
        kernel(&a, &b, &mut c);
        c
    };
    step("formula     each C[i,j] a sum over k", &|| filled(formula));
    step("rows        B is read along its rows", &|| filled(rows));
    step("tiles       64 rows of B stay in the cache", &|| filled(tiles));
    let cpu = Cpu::<f32>::new();
    let [a, b] = [&a, &b].map(|x| Tensor::from_vec(&cpu, x.clone(), &[N, N]));
    step("engine      packed panels, all cores", &|| a.matmul(&b).to_vec());
}
