//! `slpo bench generate`: times how fast a preset continues prompts of random tokens, beside the bytes of weights that it reads.

use super::peak_memory::peak_memory;
use crate::arguments::{BenchGenerate, Rounding, Shared};
use crate::failure::Failure;
use crate::output::Output;
use engine::{Device, Generator};
use model::config::preset::Preset;
use model::decoder::Decoder;
use model::generate::{Sampling, StopConditions, generate};
use serde::Serialize;
use std::time::Instant;

#[derive(Serialize)]
struct GenerateResult {
    preset: &'static str,
    device: &'static str,
    precision: Rounding,
    prompts: usize,
    prompt_tokens: usize,
    new_tokens: usize,
    /// New tokens of all prompts per second after the first, in the fastest round.
    tok_s: f64,
    /// Bytes of the weights that a step reads, times the steps per second.
    gb_s: f64,
    /// From the call to the first token of each prompt, in the fastest round.
    first_token_ms: f64,
    /// The process' largest resident memory, or the GPU's. `null` if the system does not tell.
    peak_mib: Option<f64>,
    weight_bytes: usize,
    threads: usize,
}

/// The times of one round, in seconds.
struct Round {
    first: f64,
    others: f64,
}

/// Generates once.
fn round(decoder: &Decoder<Device>, prompts: &[Vec<u32>], max_tokens: usize, seed: u64) -> Result<Round, Failure> {
    let (start, mut first, mut left) = (Instant::now(), 0.0, prompts.len());
    let limits = StopConditions { max_tokens, stop: &[] };
    generate(decoder, prompts, &Sampling::PLAIN, limits, &Generator::new(seed), |_, _| {
        left = left.saturating_sub(1);
        if left == 0 && first == 0.0 {
            first = start.elapsed().as_secs_f64();
        }
        true
    })?;
    Ok(Round { first, others: start.elapsed().as_secs_f64() - first })
}

/// Returns the bytes of the weights that a step reads whole: of an embedding that is not the head too, it reads some rows.
fn weight_bytes(decoder: &Decoder<Device>) -> usize {
    let config = decoder.config();
    let table = if config.tied_head { 0 } else { config.vocab_size * config.hidden_size };
    (decoder.parameter_count() - table) * size_of::<f32>()
}

/// Measures generation.
pub fn run(arguments: &BenchGenerate, shared: &Shared) -> Result<(), Failure> {
    let preset = Preset::named(&arguments.preset)?;
    let device = crate::device::current();
    let decoder = Decoder::random(&device, &preset.config(), shared.seed)?;
    let mut generator = Generator::new(shared.seed);
    let mut token = || generator.below(decoder.config().vocab_size) as u32;
    let prompts: Vec<Vec<u32>> = (0..arguments.prompts).map(|_| (0..arguments.prompt).map(|_| token()).collect()).collect();
    round(&decoder, &prompts, 2, shared.seed)?;
    let rounds = (0..arguments.rounds).map(|_| round(&decoder, &prompts, arguments.tokens, shared.seed)).collect::<Result<Vec<_>, _>>()?;
    let fastest = |of: fn(&Round) -> f64| rounds.iter().map(of).fold(f64::INFINITY, f64::min);
    let steps_a_second = (arguments.tokens - 1) as f64 / fastest(|round| round.others);
    let weight_bytes = weight_bytes(&decoder);
    let result = GenerateResult {
        preset: preset.name,
        device: device.kind(),
        precision: shared.precision,
        prompts: arguments.prompts,
        prompt_tokens: arguments.prompt,
        new_tokens: arguments.tokens,
        tok_s: arguments.prompts as f64 * steps_a_second,
        gb_s: weight_bytes as f64 * steps_a_second / 1e9,
        first_token_ms: 1e3 * fastest(|round| round.first),
        peak_mib: peak_memory(&device),
        weight_bytes,
        threads: rayon::current_num_threads(),
    };
    Output::new(shared.json).result(&result, |to| {
        let memory = result.peak_mib.map_or("unknown".to_owned(), |mib| format!("{mib:.0} MiB"));
        writeln!(
            to,
            "{} {:.1} tokens/s, {:.2} GB/s of weights, first token after {:.1} ms, peak memory {memory}",
            result.preset, result.tok_s, result.gb_s, result.first_token_ms
        )
    })
}
