//! `slpo bench`: what a training step costs here, and what the machine could do.

use crate::arguments::{Bench, BenchPeak, BenchStep, Measurement, Shared, Task};
use crate::failure::Failure;
use crate::objective::LossObjective;
use crate::output::Output;
use engine::backend::cpu::peak;
use engine::{Device, Generator};
use losses::{Hyperparameters, Loss};
use model::batch::Batch;
use model::boundary::Sequence;
use model::config::preset::{Preset, PresetBatch};
use model::data::PreferencePair;
use model::decoder::{Decoder, ForwardOptions};
use model::optimizer::{Rule, Schedule};
use model::preference::{Objective, PairBatch, Scored};
use model::train::Trainer;
use serde::Serialize;
use std::time::Instant;

/// Steps that are made before the clock starts: buffers fill, the processor speeds up.
const WARM_UP: u64 = 2;

/// Measures what is asked for.
///
/// # Errors
/// [`Failure::Failed`] where a step is not finite; [`Failure::Output`].
pub fn run(arguments: &Bench, shared: &Shared) -> Result<(), Failure> {
    match &arguments.what {
        Measurement::Step(step) => bench_step(step, shared),
        Measurement::Peak(peak) => bench_peak(peak, shared),
    }
}

#[derive(Serialize)]
struct StepResult {
    preset: &'static str,
    task: Task,
    device: &'static str,
    /// The median time of a step.
    ms: f64,
    fastest_ms: f64,
    /// Tokens through the policy a second, at the median.
    tok_s: f64,
    /// The process' largest resident memory, or the GPU's; null where the system does not say.
    peak_mib: Option<f64>,
    params: usize,
    threads: usize,
    steps: u64,
    /// Model floating-point operations a second at the median: 6 a matrix weight and token (2 where only the reference runs), and attention.
    gflop_s: f64,
}

/// What a step runs on.
enum Work {
    Lm(Batch),
    Dpo(PairBatch, Box<Decoder<Device>>),
}

impl Work {
    fn new(task: Task, decoder: &Decoder<Device>, batch: PresetBatch, seed: u64) -> Self {
        let mut generator = Generator::new(seed);
        let mut window = |length: usize| -> Vec<u32> { (0..length).map(|_| generator.below(decoder.config().vocab_size) as u32).collect() };
        match task {
            Task::Lm => {
                let windows: Vec<Vec<u32>> = (0..batch.rows).map(|_| window(batch.tokens + 1)).collect();
                Self::Lm(Batch::of_windows(windows.iter().map(Vec::as_slice)))
            }
            Task::Dpo => {
                let mut sequence = || Sequence { tokens: window(batch.tokens + 1), completion_start: 1 };
                let pairs: Vec<PreferencePair> =
                    (0..batch.rows).map(|row| PreferencePair { line: row + 1, chosen: sequence(), rejected: sequence() }).collect();
                Self::Dpo(PairBatch::new(&pairs), Box::new(decoder.clone()))
            }
        }
    }

    fn tokens(&self) -> usize {
        match self {
            Self::Lm(batch) => batch.inputs.tokens().len(),
            Self::Dpo(batch, _) => batch.token_count(),
        }
    }

    fn step(&self, trainer: &mut Trainer<Device>, options: &ForwardOptions) -> Result<(), Failure> {
        match self {
            Self::Lm(batch) => trainer.step(1, |decoder, _| Ok((batch.loss(decoder, options), batch.target_count() as f64)))?,
            Self::Dpo(batch, reference) => {
                let objective = LossObjective { loss: Loss::Dpo, hyper: Hyperparameters::default() };
                trainer.step(1, |decoder, _| {
                    let reference = Scored::reference(batch, reference);
                    objective.total(&Scored::policy(batch, decoder, options), &reference)
                })?
            }
        };
        Ok(())
    }
}

fn bench_step(arguments: &BenchStep, shared: &Shared) -> Result<(), Failure> {
    let preset = Preset::named(&arguments.preset)?;
    let config = preset.config();
    let batch = PresetBatch { rows: arguments.rows.unwrap_or(preset.batch.rows), tokens: arguments.tokens.unwrap_or(preset.batch.tokens) };
    let device = crate::device::current();
    let decoder = Decoder::random(&device, &config, shared.seed)?;
    let (params, work) = (decoder.parameter_count(), Work::new(arguments.task, &decoder, batch, shared.seed));
    let schedule = Schedule { learning_rate: 1e-4, warmup: 0, steps: WARM_UP + arguments.steps, final_fraction: 1.0 };
    let mut trainer = Trainer::new(decoder, Rule::default(), schedule, 1.0);
    let options = ForwardOptions { checkpoint: arguments.checkpoint_activations, ..ForwardOptions::default() };
    for _ in 0..WARM_UP {
        work.step(&mut trainer, &options)?;
    }
    device.wait();
    let mut times = Vec::new();
    for _ in 0..arguments.steps {
        let start = Instant::now();
        work.step(&mut trainer, &options)?;
        device.wait();
        times.push(1e3 * start.elapsed().as_secs_f64());
    }
    if arguments.profile {
        let waited_for = device.clone();
        let (outcome, lines) = engine::profile::profiled(move || waited_for.wait(), || work.step(&mut trainer, &options));
        outcome?;
        eprint!("{}", crate::profile_table::table(&lines));
    }
    times.sort_by(f64::total_cmp);
    let ms = median(&times);
    let sequences = if arguments.task == Task::Dpo { 2 * batch.rows } else { batch.rows };
    let weights = params - (2 * config.layers + 1) * config.hidden_size;
    let attention = sequences * batch.tokens * batch.tokens * config.layers * config.heads * config.head_dim;
    let forward = 2.0 * (work.tokens() * weights + attention) as f64;
    let passes = if arguments.task == Task::Dpo { 4.0 } else { 3.0 };
    let result = StepResult {
        preset: preset.name,
        task: arguments.task,
        device: device.kind(),
        ms,
        fastest_ms: times[0],
        tok_s: 1e3 * work.tokens() as f64 / ms,
        peak_mib: peak_memory(&device),
        params,
        threads: rayon::current_num_threads(),
        steps: arguments.steps,
        gflop_s: passes * forward / ms / 1e6,
    };
    Output::new(shared.json).result(&result, |to| {
        let memory = result.peak_mib.map_or("unknown".to_owned(), |mib| format!("{mib:.0} MiB"));
        writeln!(
            to,
            "{} {:.2} ms a step (fastest {:.2}), {:.0} tokens/s, {:.1} GFLOP/s, peak memory {memory}",
            result.preset, ms, times[0], result.tok_s, result.gflop_s
        )
    })
}

/// The middle of sorted numbers, of which there is at least one.
fn median(sorted: &[f64]) -> f64 {
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

/// The most memory of the device that was in use at once, in MiB: of the GPU by arrays, else of this process where the system tells.
fn peak_memory(device: &Device) -> Option<f64> {
    if let Device::Cuda(cuda) = device {
        return Some(cuda.peak_bytes() as f64 / (1 << 20) as f64);
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib / 1024.0)
}

#[derive(Serialize)]
struct PeakResult {
    device: &'static str,
    threads: usize,
    /// Multiply-adds in registers.
    fma_gflop_s: f64,
    /// The best square product.
    gemm_gflop_s: f64,
    extent: usize,
}

fn bench_peak(arguments: &BenchPeak, shared: &Shared) -> Result<(), Failure> {
    let result = PeakResult {
        device: "cpu",
        threads: rayon::current_num_threads(),
        fma_gflop_s: peak::multiply_adds(1.0),
        gemm_gflop_s: peak::products(arguments.extent, 10),
        extent: arguments.extent,
    };
    Output::new(shared.json).result(&result, |to| {
        writeln!(
            to,
            "{} threads: multiply-adds {:.1} GFLOP/s, a product of extent {} {:.1} GFLOP/s",
            result.threads, result.fma_gflop_s, result.extent, result.gemm_gflop_s
        )
    })
}
