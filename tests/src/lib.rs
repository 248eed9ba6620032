//! What the tests of the workspace share.

use engine::gradcheck::{Function, Input, Sample};
use engine::{Backend, Generator, Scalar, Tensor};
use proptest::test_runner::{Config, RngSeed};
use std::net::TcpListener;

/// Property tests that draw the same cases every day. `PROPTEST_CASES` and `PROPTEST_RNG_SEED` explore further.
pub fn everyday(cases: u32) -> Config {
    let set = |name| std::env::var_os(name).is_some();
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if !set("PROPTEST_CASES") {
        config.cases = cases;
    }
    if !set("PROPTEST_RNG_SEED") {
        config.rng_seed = RngSeed::Fixed(2026);
    }
    config
}

/// Standard normal elements, the same for the same seed on every backend.
pub fn normal(seed: u64, count: usize) -> Vec<f64> {
    let mut generator = Generator::new(seed);
    (0..count).map(|_| generator.normal()).collect()
}

/// A parameter with standard normal elements.
pub fn normal_parameter<B: Backend>(backend: &B, seed: u64, shape: &[usize]) -> Tensor<B> {
    Tensor::parameter(backend, &normal(seed, shape.iter().product()), shape)
}

/// A function at standard normal inputs of these shapes.
pub fn normal_sample(f: impl Function, shapes: &[&[usize]]) -> Sample {
    let input = |(i, shape): (usize, &&[usize])| Input::new(normal(i as u64, shape.iter().product()), shape);
    Sample::new(f, shapes.iter().enumerate().map(input).collect::<Vec<_>>()).with_inner_magnitude(1.0)
}

/// The bits of every element: equal only where the numbers are identical.
pub fn bits<B: Backend>(x: &Tensor<B>) -> Vec<u64> {
    x.to_vec().into_iter().map(|x| x.to_f64().to_bits()).collect()
}

/// A port that nobody listens at.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of this machine");
    listener.local_addr().expect("an address").port()
}
