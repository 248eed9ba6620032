//! Inputs that the benchmarks share.
#![forbid(unsafe_code)]

use engine::{Backend, CacheAligned, Cpu, Generator, Tensor};
use model::batch::Batch;
use model::config::preset::Preset;

/// As in the `slpo` binary.
#[global_allocator]
static ALLOCATOR: CacheAligned = CacheAligned;

/// A constant of standard normal values.
pub fn normal(shape: &[usize], seed: u64) -> Tensor<Cpu<f32>> {
    let mut generator = Generator::new(seed);
    let data: Vec<f64> = (0..shape.iter().product()).map(|_| generator.normal()).collect();
    Tensor::constant(&Cpu::new(), &data, shape)
}

/// The same value as a parameter.
pub fn parameter<B: Backend>(x: &Tensor<B>) -> Tensor<B> {
    x.to_parameter()
}

/// A batch of random tokens in the preset's size.
pub fn random_batch(preset: &Preset, seed: u64) -> Batch {
    let mut generator = Generator::new(seed);
    let vocabulary = preset.config().vocab_size;
    let windows: Vec<Vec<u32>> =
        (0..preset.batch.rows).map(|_| (0..=preset.batch.tokens).map(|_| generator.below(vocabulary) as u32).collect()).collect();
    Batch::of_windows(windows.iter().map(Vec::as_slice))
}
