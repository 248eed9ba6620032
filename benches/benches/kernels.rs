//! The hot kernels in f32, each in the sizes of the micro preset, beside ndarray's product, which is matrixmultiply's on one thread. The
//! machine's limits are printed first; an element of what criterion calls `elem/s` is one floating-point operation, so that its Gelem/s are
//! GFLOP/s.
//!
//! `cargo bench -p slpo-benches --bench kernels`

#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::backend::cpu::peak;
use engine::{Cpu, Segments, Tensor, no_grad};
use ndarray::Array2;
use slpo_benches::{normal, parameter};

/// What the machine could do, to read the figures against.
fn limits(_: &mut Criterion) {
    let cached = TOKENS * 512;
    println!(
        "limits: {:.0} GFLOP/s of multiply-adds, {:.0} of a product of extent 1536",
        peak::multiply_adds(0.5),
        peak::products(Cpu::new(), 1536, 5)
    );
    println!(
        "limits: {:.0} GB/s of copies in the size of the rows, {:.0} through memory\n",
        peak::copies(cached, 200),
        peak::copies(1 << 26, 10)
    );
}

/// Tokens and width of the micro preset.
const TOKENS: usize = 16 * 128;
const WIDTH: usize = 128;

fn products(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("product 2048 × 128 × 384");
    let (m, k, n) = (TOKENS, WIDTH, 384);
    group.throughput(Throughput::Elements(2 * (m * k * n) as u64));
    let (a, b) = (normal(&[m, k], 1), normal(&[n, k], 2));
    group.bench_function("matmul, second operand transposed", |bencher| bencher.iter(|| a.matmul(&b.t())));
    let matrix = |x: &Tensor<_>, rows| Array2::from_shape_vec((rows, k), Tensor::to_vec(x)).expect("a whole matrix");
    let (x, y) = (matrix(&a, m), matrix(&b, n));
    group.bench_function("ndarray's dot (matrixmultiply, one thread)", |bencher| bencher.iter(|| x.dot(&y.t())));
    group.finish();
}

fn rows(criterion: &mut Criterion) {
    let x = normal(&[TOKENS, 512], 3);
    let gain = normal(&[512], 4);
    let mut group = criterion.benchmark_group("rows 2048 × 512");
    group.throughput(Throughput::Bytes(2 * 4 * x.len() as u64));
    group.bench_function("exp", |bencher| bencher.iter(|| x.exp()));
    group.bench_function("add", |bencher| bencher.iter(|| x.add(&x)));
    group.bench_function("softmax", |bencher| bencher.iter(|| x.softmax()));
    group.bench_function("rms_norm", |bencher| bencher.iter(|| x.rms_norm(&gain, 1e-5)));
    group.bench_function("gelu_tanh", |bencher| bencher.iter(|| x.gelu_tanh()));
    group.finish();
}

fn attention(criterion: &mut Criterion) {
    let shape = [TOKENS, 4, 32];
    let [q, k, v] = [5, 6, 7].map(|seed| parameter(&normal(&shape, seed)));
    let segments = Segments::of_lengths(&[128; 16]);
    let run = || q.attention(&k, &v, &segments, 0.17);
    let mut group = criterion.benchmark_group("attention 16 × 128, 4 heads of 32");
    // Scores and mixtures of the lower triangle: two products forward, five backward, of 2 · 32 operations a pair of positions.
    let product = 16 * 4 * (128 * 129 / 2) * 2 * 32;
    group.throughput(Throughput::Elements(2 * product));
    group.bench_function("forward", |bencher| bencher.iter(|| no_grad(run)));
    let cotangent = normal(&shape, 8);
    group.throughput(Throughput::Elements(7 * product));
    group.bench_function("forward and backward", |bencher| bencher.iter(|| run().backward_with(&cotangent)));
    group.finish();
}

fn vocabulary(criterion: &mut Criterion) {
    let (hidden, weight) = (parameter(&normal(&[512, 288], 9)), parameter(&normal(&[32_000, 288], 10)));
    let targets = (0..512).collect();
    let run = || hidden.linear_log_prob(&weight, &targets);
    let mut group = criterion.benchmark_group("vocabulary projection 512 × 288 × 32000");
    group.sample_size(10);
    let product = 2 * 512 * 288 * 32_000;
    group.throughput(Throughput::Elements(product));
    group.bench_function("forward", |bencher| bencher.iter(|| no_grad(run)));
    group.throughput(Throughput::Elements(3 * product));
    group.bench_function("forward and backward", |bencher| bencher.iter(|| Tensor::sum_all(&run()).backward()));
    group.finish();
}

criterion_group!(benches, limits, products, rows, attention, vocabulary);
criterion_main!(benches);
