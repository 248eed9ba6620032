//! Tokens chosen where the logits are.

use crate::{devices, in_bf16, trainer, with_precision};
use engine::backend::{Core, Vocabulary};
use engine::{Cpu, Device, Generator, Precision, SamplingRule};
use model::generate::{Sampling, StopConditions, generate};
use slpo_tests::normal;

/// Logits of a row: normal, in steps that make ties, or with masked and far ones.
fn logits_row(seed: u64, kind: usize, n: usize) -> Vec<f32> {
    let x = normal(seed, n).into_iter();
    match kind {
        0 => x.map(|x| x as f32).collect(),
        1 => x.map(|x| (2.0 * x).round() as f32 / 2.0).collect(),
        2 => x.enumerate().map(|(i, x)| if i % 3 == 1 { f32::NEG_INFINITY } else { (4.0 * x) as f32 }).collect(),
        _ => x.enumerate().map(|(i, x)| [1e4, -1e4, x as f32][i % 3]).collect(),
    }
}

/// The device's token is the processor's, or one that the processor gives when the uniform number or top-p moves by rounding. Sums of up to
/// V weights in double are off by (V + 8)·2⁻⁵² of themselves, for a rounding at each step and a few in the exponentials and limits; both
/// sides are, hence twice that. All terms are positive, so the error of a part of a sum is as small against that part, and no cut makes it
/// larger.
#[test]
fn sampled_tokens_are_the_processors() {
    let vocabularies = [1, 33, 1000, 50304];
    let cuts = [(0, 1.0), (1, 1.0), (7, 1.0), (100_000, 1.0), (0, 1e-9), (0, 0.3), (0, 0.9), (20, 0.8), (600, 0.95)];
    let cpu = Cpu::<f32>::new();
    for device in devices() {
        // Logits are in f32 whatever the precision: the longest rows, which take the longest here, go through it once.
        for n in vocabularies.into_iter().filter(|&n| n < 50_000 || !in_bf16(device)) {
            let logits: Vec<f32> = (0..4).flat_map(|kind| logits_row(n as u64 + kind as u64, kind, n)).collect();
            let (here, there) = (device.from_vec(logits.clone(), &[4, n]), cpu.from_vec(logits, &[4, n]));
            for (i, &(top_k, top_p)) in cuts.iter().enumerate() {
                // The longest rows take the longest, and greedy ones have no sums.
                let temperatures: &[f64] = if n < 50_000 { &[0.0, 0.01, 1.0, 10.0] } else { &[1.0] };
                for &temperature in temperatures {
                    let rule = SamplingRule { temperature, top_k, top_p, min_p: 0.0 };
                    let mut generator = Generator::new((n + i) as u64);
                    let uniforms: [f64; 4] = std::array::from_fn(|_| generator.uniform());
                    let tokens = device.sample_rows(&here, &rule, &uniforms);
                    assert_eq!(tokens, device.sample_rows(&here, &rule, &uniforms), "the same at every run");
                    let slack = (n as f64 + 8.0) * 2.0 * f64::EPSILON;
                    let near = |row: usize, token: u32| {
                        let moved = |du: f64, dp: f64| {
                            let uniforms = uniforms.map(|u| (u * (1.0 + du) + du).clamp(0.0, 1.0 - f64::EPSILON));
                            let top_p = if top_p < 1.0 { top_p * (1.0 + dp) } else { 1.0 };
                            cpu.sample_rows(&there, &SamplingRule { top_p, ..rule }, &uniforms)[row]
                        };
                        [-slack, 0.0, slack].iter().any(|&du| [-slack, 0.0, slack].iter().any(|&dp| moved(du, dp) == token))
                    };
                    let wanted = cpu.sample_rows(&there, &rule, &uniforms);
                    for (row, (&token, &wanted)) in tokens.iter().zip(&wanted).enumerate() {
                        assert!(token == wanted || near(row, token), "{rule:?}, row {row} of {n}: {token}, not {wanted}");
                    }
                }
            }
        }
    }
}

/// A token comes back for each row, and nothing else: no logits.
#[test]
fn generating_reads_tokens_alone() {
    // Devices of this test's own: what others read would be counted.
    for device in [Precision::F32, Precision::Bf16].into_iter().flat_map(with_precision) {
        let Device::Cuda(cuda) = &device else { continue };
        let decoder = trainer(&device).decoder;
        let (prompts, limits) = ([vec![1, 2, 3], vec![4]], StopConditions { max_tokens: 5, stop: &[] });
        for sampling in [Sampling::GREEDY, Sampling::PLAIN, Sampling { temperature: 0.7, top_k: 9, top_p: 0.9, ..Sampling::PLAIN }] {
            let before = (cuda.waits(), cuda.bytes_read());
            let tokens = generate(&decoder, &prompts, &sampling, limits, &Generator::new(3), |_, _| true).unwrap();
            assert_eq!(tokens.concat().len(), 2 * 5);
            assert_eq!((cuda.waits() - before.0, cuda.bytes_read() - before.1), (5, 2 * 5 * size_of::<u32>()), "{sampling:?}");
        }
    }
}

/// Every place of a small row is chosen where the uniform number says, also at both ends of [0, 1).
#[test]
fn sampling_passes_through_the_order() {
    let logits = [0.0, 1.0, 0.0, f32::NEG_INFINITY, 1.0, -1.0];
    let cpu = Cpu::<f32>::new();
    let uniforms: Vec<f64> = (0..40).map(|i| (i as f64 + 0.5) / 40.0).chain([0.0, 1.0 - f64::EPSILON / 2.0]).collect();
    let rows = logits.repeat(uniforms.len());
    for device in devices() {
        let shape = [uniforms.len(), logits.len()];
        let (here, there) = (device.from_vec(rows.clone(), &shape), cpu.from_vec(rows.clone(), &shape));
        for (top_k, top_p, min_p) in
            [(0, 1.0, 0.0), (0, 0.9, 0.0), (1, 1.0, 0.0), (3, 1.0, 0.0), (4, 0.7, 0.0), (0, 1.0, 0.3), (5, 0.95, 0.2)]
        {
            let rule = SamplingRule { temperature: 1.0, top_k, top_p, min_p };
            assert_eq!(device.sample_rows(&here, &rule, &uniforms), cpu.sample_rows(&there, &rule, &uniforms), "{rule:?}");
        }
    }
}
