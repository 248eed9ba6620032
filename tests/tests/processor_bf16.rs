//! The processor with products of operands rounded to bfloat16, against `Cpu<f64>`: values and gradients to the error analysis with u =
//! 2⁻⁸, models that train as in f32, and the same bits on any number of threads. Skipped where the processor has no instructions for it.

use engine::backend::Core;
use engine::gradcheck::{Function, check_entry_on, check_on};
use engine::{Cpu, Device, Precision, PrecisionError, Segments, function};
use model::batch::Batch;
use model::config::Config;
use model::decoder::{Decoder, ForwardOptions};
use model::optimizer::{Rule, Schedule};
use model::train::Trainer;
use slpo_tests::normal_sample;

/// The processor in bfloat16; says why it is left out where it is.
fn device() -> Option<Device> {
    Cpu::with_precision(Precision::Bf16).map(Device::Cpu).map_err(|error| println!("skipped: {error}")).ok()
}

fn agrees(name: &str, f: impl Function, shapes: &[&[usize]]) {
    let sample = normal_sample(f, shapes);
    device().iter().for_each(|device| check_on(device, name, &sample).assert());
}

#[test]
fn every_op_on_random_shapes() {
    let Some(device) = device() else { return };
    for entry in engine::ops::registry() {
        check_entry_on(&device, &entry, 0..12, 5).assert();
        check_entry_on(&device, &entry, 20..23, 14).assert();
    }
}

#[test]
fn every_loss_on_random_shapes() {
    let Some(device) = device() else { return };
    losses::registry().iter().for_each(|entry| check_entry_on(&device, entry, 0..6, 5).assert());
}

#[test]
fn attention_over_segments_longer_than_a_block() {
    for (lengths, window) in [(vec![150, 5], None), (vec![300, 1], None), (vec![150, 40], Some(70))] {
        let n = lengths.iter().sum();
        let segments = Segments::of_lengths(&lengths).with_window(window);
        let attention = function!(|x; segments: Segments| x[0].attention(&x[1], &x[2], segments, 0.4));
        agrees(&format!("attention over {lengths:?}, window {window:?}"), attention, &[&[n, 4, 6], &[n, 2, 6], &[n, 2, 6]]);
    }
}

#[test]
fn products_of_views() {
    agrees("tall", function!(|x| x[0].matmul(&x[1])), &[&[101, 37], &[37, 29]]);
    agrees("transposed views", function!(|x| x[0].t().matmul(&x[1].t())), &[&[61, 53], &[45, 61]]);
    agrees("broadcast batches", function!(|x| x[0].matmul(&x[1])), &[&[3, 1, 13, 20], &[4, 20, 15]]);
    agrees("permuted batches", function!(|x| x[0].permute(&[1, 0, 2]).matmul(&x[1].permute(&[2, 1, 0]))), &[&[20, 5, 10], &[15, 10, 5]]);
    agrees("one row", function!(|x| x[0].matmul(&x[1].t())), &[&[1, 30], &[7, 30]]);
    agrees("gated_mlp", function!(|x| x[0].gated_mlp(&x[1], &x[2], &x[3])), &[&[130, 64], &[96, 64], &[96, 64], &[64, 96]]);
}

/// Of numbers that bfloat16 holds, products and their sums of few terms are those of f32 exactly; of others they are not.
#[test]
fn operands_are_rounded_and_nothing_else_is() {
    let Some(Device::Cpu(rounding)) = device() else { return };
    let product = |cpu: &Cpu<f32>, a: f64, b: f64| {
        let [a, b] = [a, b].map(|x| engine::Tensor::constant(cpu, &[x; 64 * 64], &[64, 64]));
        a.matmul(&b).to_f64()[0]
    };
    let exact = Cpu::<f32>::new();
    assert_eq!(product(&rounding, 1.0 + 1.0 / 128.0, 3.0), product(&exact, 1.0 + 1.0 / 128.0, 3.0));
    assert_eq!(product(&rounding, 1.0 + 1.0 / 512.0, 3.0), product(&exact, 1.0, 3.0), "1 + 2⁻⁹ is rounded to 1");
    assert_eq!(product(&rounding, 1.0 + 3.0 / 256.0, 3.0), product(&exact, 1.0 + 1.0 / 64.0, 3.0), "a tie goes to the even one");
}

/// The losses of some steps on one batch.
fn losses_of_steps(device: &Device, threads: usize) -> Vec<f64> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    pool.install(|| {
        let config = Config { vocab_size: 200, layers: 2, ..Config::preset("nano").unwrap() };
        let schedule = Schedule { learning_rate: 1e-2, warmup: 0, steps: 9, final_fraction: 1.0 };
        let mut trainer = Trainer::new(Decoder::random(device, &config, 3).unwrap(), Rule::default(), schedule, 1.0);
        let windows: Vec<Vec<u32>> = (0..6).map(|row| (0..65).map(|i| (i * 7 + row * row) % 200).collect()).collect();
        let batch = Batch::of_windows(windows.iter().map(Vec::as_slice));
        let step = |decoder: &Decoder<Device>, _: usize| Ok((batch.loss(decoder, &ForwardOptions::default()), batch.target_count() as f64));
        (0..8).map(|_| trainer.step(1, step).unwrap().loss).collect()
    })
}

/// The first loss differs by the rounding of what goes through two layers; what is learned is the same.
#[test]
fn training_follows_f32_and_threads_change_nothing() {
    let Some(device) = device() else { return };
    let (rounded, exact) = (losses_of_steps(&device, 1), losses_of_steps(&Device::default(), 1));
    assert!(rounded[0] != exact[0], "nothing was rounded");
    for (step, (rounded, exact)) in rounded.iter().zip(&exact).enumerate() {
        assert!((rounded - exact).abs() < 0.02 * exact, "step {step}: {rounded} in bf16, {exact} in f32");
    }
    assert!(rounded[7] < rounded[0] - 0.5, "{rounded:?}");
    for threads in [2, 5] {
        assert_eq!(rounded, losses_of_steps(&device, threads), "{threads} threads");
    }
}

#[test]
fn tf32_is_for_gpus() {
    assert_eq!(Cpu::with_precision(Precision::Tf32).unwrap_err(), PrecisionError::Tf32);
    assert_eq!(Cpu::with_precision(Precision::F32).unwrap().precision(), Precision::F32);
}
