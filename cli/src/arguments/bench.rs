//! What `slpo bench` takes.

use super::values;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

/// Measure this machine and this program on it.
#[derive(Debug, Clone, Args)]
pub struct Bench {
    /// What to measure.
    #[command(subcommand)]
    pub what: Measurement,
}

/// What to measure.
#[derive(Debug, Clone, Subcommand)]
pub enum Measurement {
    /// The median time and the peak memory of an optimiser step: forward, backward, clipping to 1.0, AdamW
    Step(BenchStep),
    /// How fast text is generated: new tokens a second, bytes of weights read a second, and the time to the first token
    Generate(BenchGenerate),
    /// What the processor can do: a loop of multiply-adds, the matrix products that steps are made of, and reading from memory
    Peak(BenchPeak),
}

/// What `slpo bench generate` takes.
#[derive(Debug, Clone, Args)]
pub struct BenchGenerate {
    /// The model: nano, micro, stories15m or gpt2s
    #[arg(long, value_name = "PRESET", value_parser = values::preset())]
    pub preset: String,
    /// Prompts that are continued together, 1 to 1024
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::integer::<usize>(1..=1024))]
    pub prompts: usize,
    /// Tokens of each prompt, 1 to 1000000
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::integer::<usize>(1..=1_000_000))]
    pub prompt: usize,
    /// New tokens of each prompt, 2 to 1000000
    #[arg(long, aliases = ["max-tokens"], value_name = "N", default_value_t = 128, value_parser = values::integer::<usize>(2..=1_000_000))]
    pub tokens: usize,
    /// Rounds, of which the fastest counts, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = values::integer::<usize>(1..=1000))]
    pub rounds: usize,
}

/// What `slpo bench step` takes.
#[derive(Debug, Clone, Args)]
pub struct BenchStep {
    /// The model and its batch: nano, micro, stories15m or gpt2s
    #[arg(long, value_name = "PRESET", value_parser = values::preset())]
    pub preset: String,
    /// Language modelling, or DPO on that many pairs with the reference's forward pass in the step
    #[arg(long, value_enum, default_value_t = Task::Lm)]
    pub task: Task,
    /// Steps to time, after two steps of warm-up, 1 to 1000000
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = values::integer::<u64>(1..=1_000_000))]
    pub steps: u64,
    /// Sequences (or pairs) of a batch [default: the preset's]
    #[arg(long, aliases = ["batch", "batch-rows", "batch-size"], value_name = "N", value_parser = values::integer::<usize>(1..=1_000_000))]
    pub rows: Option<usize>,
    /// Tokens of a sequence [default: the preset's]
    #[arg(long, aliases = ["max-tokens", "batch-tokens", "max-length"], value_name = "N")]
    #[arg(value_parser = values::integer::<usize>(1..=1_000_000))]
    pub tokens: Option<usize>,
    /// Width of the residual stream, a multiple of the preset's head width; heads and the feed-forward part grow with it [default: the
    /// preset's]
    #[arg(long, value_name = "N", value_parser = values::integer::<usize>(1..=65_536))]
    pub width: Option<usize>,
    /// Entries of the vocabulary [default: the preset's]
    #[arg(long, value_name = "N", value_parser = values::integer::<usize>(2..=1_000_000))]
    pub vocabulary: Option<usize>,
    /// Tokens of the prompt that both sequences of a pair begin with; they are not predicted
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = values::integer::<usize>(0..=1_000_000))]
    pub prompt: usize,
    /// Know the reference's log-probabilities before the first step, as slpo align does, instead of running it in the step
    #[arg(long)]
    pub cached_reference: bool,
    /// Recompute each block's activations in the backward pass instead of keeping them
    #[arg(long)]
    pub checkpoint_activations: bool,
    /// Print the time and the bytes of one more step by op, on standard error
    #[arg(long)]
    pub profile: bool,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    Lm,
    Dpo,
}

/// What `slpo bench peak` takes.
#[derive(Debug, Clone, Args)]
pub struct BenchPeak {
    /// Extent of the square products, 64 to 8192
    #[arg(long, value_name = "N", default_value_t = 1536, value_parser = values::integer::<usize>(64..=8192))]
    pub extent: usize,
}
