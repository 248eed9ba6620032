//! `slpo bench step`: times an optimiser step of a preset, or of the preset in another shape, on random tokens.

use super::peak_memory::peak_memory;
use crate::arguments::{BenchStep, Rounding, Shared, Task};
use crate::failure::Failure;
use crate::output::Output;
use engine::backend::cuda::GraphReport;
use engine::{Device, Generator};
use losses::{Hyperparameters, Loss, Objective};
use model::align::reference_cache::ReferenceCache;
use model::align::{Alignment, Reference};
use model::batch::Batch;
use model::boundary::Sequence;
use model::config::Config;
use model::config::preset::{Preset, PresetBatch};
use model::data::PreferencePair;
use model::decoder::{Decoder, ForwardOptions, Packed};
use model::optimizer::{Rule, Schedule};
use model::preference::PairBatch;
use model::train::Trainer;
use serde::Serialize;
use std::time::Instant;

/// Steps before the clock starts, in which buffers fill and the processor speeds up.
const WARM_UP: u64 = 2;

#[derive(Serialize)]
struct StepResult {
    preset: &'static str,
    task: Task,
    device: &'static str,
    precision: Rounding,
    /// The median time of a step.
    ms: f64,
    fastest_ms: f64,
    /// Tokens of the batch per second, at the median. Tokens that a pair shares count in both of its sequences.
    tok_s: f64,
    /// The process' largest resident memory, or the GPU's. `null` if the system does not tell.
    peak_mib: Option<f64>,
    params: usize,
    threads: usize,
    steps: u64,
    /// Floating-point operations of the model per second, at the median: 6 for each weight of a matrix and token (2 if only the reference
    /// runs), and attention.
    gflop_s: f64,
    /// Only for a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    graphs: Option<Graphs>,
}

/// Launches over all steps, including the steps before the clock starts.
#[derive(Serialize)]
struct Graphs {
    captured: usize,
    replayed: usize,
    /// Kernels and products that ran in graphs, and alone.
    in_graphs: usize,
    alone: usize,
    /// The reason why no graphs are captured, if there is one.
    failure: Option<String>,
}

impl Graphs {
    fn of(device: &Device) -> Option<Self> {
        let Device::Cuda(cuda) = device else { return None };
        let GraphReport { captured, replayed, commands, alone, failure } = cuda.graphs();
        Some(Self { captured, replayed, in_graphs: commands, alone, failure })
    }
}

/// The data of a step, and for DPO its loss and reference.
enum Work {
    Lm(Batch),
    Dpo(Vec<PreferencePair>, Box<Alignment<Device>>),
}

impl Work {
    fn new(arguments: &BenchStep, decoder: &Decoder<Device>, batch: PresetBatch, seed: u64) -> Result<Self, Failure> {
        let mut generator = Generator::new(seed);
        let mut tokens = |length: usize| -> Vec<u32> { (0..length).map(|_| generator.below(decoder.config().vocab_size) as u32).collect() };
        match arguments.task {
            Task::Lm => {
                let windows: Vec<Vec<u32>> = (0..batch.rows).map(|_| tokens(batch.tokens + 1)).collect();
                Ok(Self::Lm(Batch::of_windows(windows.iter().map(Vec::as_slice))))
            }
            Task::Dpo => {
                let mut pair = |line: usize| {
                    let prompt = tokens(arguments.prompt);
                    let completion_start = arguments.prompt.max(1);
                    let mut sequence = || {
                        let completion = tokens(batch.tokens + 1 - arguments.prompt);
                        Sequence::new([&prompt[..], &completion].concat(), completion_start)
                    };
                    PreferencePair { line, chosen: sequence(), rejected: sequence() }
                };
                let pairs: Vec<PreferencePair> = (1..=batch.rows).map(&mut pair).collect();
                let objective =
                    Objective::new(Loss::Dpo, Hyperparameters::default()).map_err(|error| Failure::Failed(error.to_string()))?;
                let mut reference = Reference::live(decoder.clone());
                if arguments.cached_reference {
                    let mut cache = ReferenceCache::in_memory();
                    cache.fill(pairs.iter(), decoder, batch.rows, None, &|| Ok(false))?;
                    reference.set_cache(cache);
                }
                Ok(Self::Dpo(pairs, Box::new(Alignment { objective, reference, at_once: batch.rows })))
            }
        }
    }

    fn inputs(&self) -> Packed {
        match self {
            Self::Lm(batch) => batch.inputs.clone(),
            Self::Dpo(pairs, _) => PairBatch::new(pairs).inputs().clone(),
        }
    }

    /// Counts the multiply-adds of the forward pass: one for each weight of a matrix and token, and two products for each key that a query
    /// sees.
    fn multiply_adds(&self, decoder: &Decoder<Device>) -> f64 {
        let (config, inputs) = (decoder.config(), self.inputs());
        let segments = inputs.segments();
        let weights = decoder.parameter_count() - (2 * config.layers + 1) * config.hidden_size;
        let seen = |segment: usize| {
            let (queries, keys) = (segments.queries(segment).len(), segments.keys(segment).len());
            queries * (keys - queries) + queries * queries / 2
        };
        let seen: usize = (0..segments.len()).map(seen).sum();
        (inputs.tokens().len() * weights + 2 * seen * config.layers * config.heads * config.head_dim) as f64
    }

    /// The number of forward passes that cost as much as a step. The backward pass counts as two, and DPO's reference as one
    /// unless it is known.
    fn passes(&self) -> f64 {
        match self {
            Self::Lm(_) => 3.0,
            Self::Dpo(_, alignment) if alignment.reference.cache().is_some() => 3.0,
            Self::Dpo(..) => 4.0,
        }
    }

    fn step(&self, trainer: &mut Trainer<Device>, options: &ForwardOptions) -> Result<(), Failure> {
        match self {
            Self::Lm(batch) => {
                trainer.step(1, |decoder, _| Ok((batch.loss(decoder, options), batch.target_count() as f64)))?;
            }
            Self::Dpo(pairs, alignment) => {
                alignment.step(trainer, &pairs.iter().collect::<Vec<_>>(), options)?;
            }
        }
        Ok(())
    }
}

/// Returns the preset's decoder in the shape that was asked for. Heads keep their width, and the feed-forward part grows in proportion.
fn config(arguments: &BenchStep, preset: &Preset) -> Result<Config, Failure> {
    let config = preset.config();
    let hidden_size = arguments.width.unwrap_or(config.hidden_size);
    let heads = hidden_size / config.head_dim;
    if heads == 0 || !hidden_size.is_multiple_of(config.head_dim) {
        let message = format!("--width {hidden_size} is no multiple of {}, the width of a head of {}", config.head_dim, preset.name);
        return Err(Failure::Usage(message));
    }
    let intermediate_size = config.intermediate_size * hidden_size / config.hidden_size;
    let vocab_size = arguments.vocabulary.unwrap_or(config.vocab_size);
    Ok(Config { hidden_size, heads, kv_heads: heads, intermediate_size, vocab_size, ..config })
}

/// Rows and tokens of the batch.
fn shape(arguments: &BenchStep, preset: &Preset) -> Result<PresetBatch, Failure> {
    let batch = PresetBatch { rows: arguments.rows.unwrap_or(preset.batch.rows), tokens: arguments.tokens.unwrap_or(preset.batch.tokens) };
    if arguments.prompt > 0 && arguments.task != Task::Dpo {
        return Err(Failure::Usage("--prompt is what the two sequences of a pair share: it goes with --task dpo".to_owned()));
    }
    if arguments.cached_reference && arguments.task != Task::Dpo {
        return Err(Failure::Usage("--cached-reference goes with --task dpo: language modelling has no reference".to_owned()));
    }
    if arguments.prompt > batch.tokens {
        let message = format!("--prompt {} leaves nothing of {} tokens to the completions", arguments.prompt, batch.tokens);
        return Err(Failure::Usage(message));
    }
    Ok(batch)
}

/// Times the steps. Returns the times in ms, sorted.
fn times(arguments: &BenchStep, device: &Device, mut step: impl FnMut() -> Result<(), Failure>) -> Result<Vec<f64>, Failure> {
    for _ in 0..WARM_UP {
        step()?;
    }
    device.wait();
    let mut times = Vec::new();
    for _ in 0..arguments.steps {
        let start = Instant::now();
        step()?;
        device.wait();
        times.push(1e3 * start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Measures the steps.
pub fn run(arguments: &BenchStep, shared: &Shared) -> Result<(), Failure> {
    let preset = Preset::named(&arguments.preset)?;
    let (config, batch) = (config(arguments, preset)?, shape(arguments, preset)?);
    let device = crate::device::current();
    let decoder = Decoder::random(&device, &config, shared.seed)?;
    let (params, work) = (decoder.parameter_count(), Work::new(arguments, &decoder, batch, shared.seed)?);
    let operations = 2.0 * work.passes() * work.multiply_adds(&decoder);
    let schedule = Schedule { learning_rate: 1e-4, warmup: 0, steps: WARM_UP + arguments.steps, final_fraction: 1.0 };
    let mut trainer = Trainer::new(decoder, Rule::default(), schedule, 1.0);
    let options = ForwardOptions { checkpoint: arguments.checkpoint_activations, ..ForwardOptions::default() };
    let times = times(arguments, &device, || work.step(&mut trainer, &options))?;
    if arguments.profile {
        let waited_for = device.clone();
        let (outcome, lines) = engine::profile::profiled(move || waited_for.wait(), || work.step(&mut trainer, &options));
        outcome?;
        eprint!("{}", crate::profile_table::table(&lines));
    }
    let ms = median(&times);
    let sequences = if arguments.task == Task::Dpo { 2 * batch.rows } else { batch.rows };
    let result = StepResult {
        preset: preset.name,
        task: arguments.task,
        device: device.kind(),
        precision: shared.precision,
        ms,
        fastest_ms: times[0],
        tok_s: 1e3 * (sequences * batch.tokens) as f64 / ms,
        peak_mib: peak_memory(&device),
        params,
        threads: rayon::current_num_threads(),
        steps: arguments.steps,
        gflop_s: operations / ms / 1e6,
        graphs: Graphs::of(&device),
    };
    print(&result, shared)
}

fn print(result: &StepResult, shared: &Shared) -> Result<(), Failure> {
    Output::new(shared.json).result(result, |to| {
        let memory = result.peak_mib.map_or("unknown".to_owned(), |mib| format!("{mib:.0} MiB"));
        writeln!(
            to,
            "{} {:.2} ms a step (fastest {:.2}), {:.0} tokens/s, {:.1} GFLOP/s, peak memory {memory}",
            result.preset, result.ms, result.fastest_ms, result.tok_s, result.gflop_s
        )?;
        match &result.graphs {
            Some(Graphs { failure: Some(failure), .. }) => writeln!(to, "no CUDA graphs: {failure}"),
            Some(graphs) => writeln!(
                to,
                "{} launches of CUDA graphs with {} kernels, {} kernels alone",
                graphs.replayed, graphs.in_graphs, graphs.alone
            ),
            None => Ok(()),
        }
    })
}

/// Returns the median of sorted numbers, of which there is at least one.
fn median(sorted: &[f64]) -> f64 {
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}
