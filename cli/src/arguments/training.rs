//! What the training commands take. Each is also the record of a run's settings, as `config.toml` keeps it.

use super::Lora;
use super::LossSettings;
use super::{CutSettings, TurnSettings};
use super::values;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// Arguments of `slpo demo`.
#[derive(Debug, Clone, Args, Serialize)]
#[command(after_help = "Examples:\n  slpo demo\n  slpo demo --out first-look --seed 1")]
pub struct Demo {
    /// The folder for report.html and the runs
    #[arg(long, value_name = "DIR", default_value = "demo-out")]
    pub out: PathBuf,
    /// Steps of pretraining [default: what two minutes on two cores allow]
    #[arg(long, value_name = "N", value_parser = values::count::<u64>())]
    pub pretrain_steps: Option<u64>,
    /// Steps of each alignment [default: what two minutes on two cores allow]
    #[arg(long, value_name = "N", value_parser = values::count::<u64>())]
    pub align_steps: Option<u64>,
    /// Texts that are sampled to measure each model [default: enough for two digits]
    #[arg(long, value_name = "N", value_parser = values::count::<usize>())]
    pub samples: Option<usize>,
}

/// Arguments of `slpo train`.
#[derive(Debug, Clone, Args, Serialize)]
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:\n  slpo train --data corpus.txt --out base\n  \
                        slpo train --data corpus.txt --out base --preset micro --steps 5000 --checkpoint-every 500\n  \
                        slpo train --data corpus.txt --out base --resume\n\n\
                        Started as several processes (with torchrun's RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, or by mpirun), each takes \
                        a share of every batch."
)]
pub struct Train {
    /// Text (documents separated by <|endoftext|> where there are several), or .jsonl rows with `text`
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// The run's folder: the model, metrics, settings and checkpoints
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The size of the model
    #[arg(long, value_name = "P", default_value = "nano", value_parser = values::preset())]
    pub preset: String,
    /// A tokenizer.json or a folder with one [default: one token a byte]
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// Optimiser steps, from 1
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = values::count::<u64>())]
    pub steps: u64,
    /// Sequences of a batch, from 1 [default: the preset's]
    #[arg(long, value_name = "N", value_parser = values::count::<usize>())]
    pub batch_rows: Option<usize>,
    /// Tokens of each sequence, from 1 [default: the preset's]
    #[arg(long, value_name = "N", value_parser = values::count::<usize>())]
    pub batch_tokens: Option<usize>,
    /// Batches whose gradients are added up for one step, from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::count::<usize>())]
    pub accumulate: usize,
    /// The learning rate at its peak, above 0; half a cosine leads down to a tenth of it
    #[arg(long, value_name = "RATE", default_value_t = 2e-3, value_parser = values::positive)]
    pub learning_rate: f64,
    /// Steps over which the learning rate rises to its peak, at least 0
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub warmup: u64,
    /// AdamW's decoupled weight decay, at least 0
    #[arg(long, value_name = "X", default_value_t = 0.1, value_parser = values::non_negative)]
    pub weight_decay: f64,
    /// The norm that a step's gradient is cut to, above 0
    #[arg(long, value_name = "NORM", default_value_t = 1.0, value_parser = values::positive)]
    pub clip: f64,
    /// The probability of dropping an activation, at least 0 and below 1
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = values::below_one)]
    pub dropout: f64,
    /// The fraction of the text that is kept apart to measure with, at least 0 and below 1
    #[arg(long, value_name = "F", default_value_t = 0.1, value_parser = values::below_one)]
    pub held_out: f64,
    /// Steps between measurements on the text kept apart; 0 for the end only
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub eval_every: u64,
    /// Steps between checkpoints, which --resume goes on from; 0 for the end only
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub checkpoint_every: u64,
    /// Checkpoints that are kept, from 1; a damaged newest one falls back to the one before it
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = values::count::<usize>())]
    pub keep: usize,
    /// What to do where a loss or gradient is not finite: stop the run, or skip the step
    #[arg(long, value_name = "WHAT", default_value = "stop", value_parser = ["stop", "skip"])]
    pub on_nonfinite: String,
    /// Compute activations again in the backward pass instead of keeping them: less memory, a third more time
    #[arg(long)]
    pub checkpoint_activations: bool,
    /// Print where the time and bytes of one step go, by op: the third, when every buffer is there, or the last of fewer
    #[arg(long)]
    #[serde(skip)]
    pub profile: bool,
    /// Go on from the last checkpoint in --out
    #[arg(long)]
    #[serde(skip)]
    pub resume: bool,
    /// A TOML file of these settings, such as a run's config.toml; flags win over it
    #[arg(long, value_name = "FILE.toml")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

/// What fine-tuning takes, on completions or on preferences.
#[derive(Debug, Clone, Args, Serialize)]
pub struct FineTuning {
    /// The folder of the model to start from
    #[arg(long, value_name = "MODEL")]
    pub model: PathBuf,
    /// The rows to learn from (.jsonl)
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// Rows to measure with (.jsonl) [default: none]
    #[arg(long, value_name = "FILE")]
    pub eval_data: Option<PathBuf>,
    /// The run's folder: the model, metrics, settings and checkpoints
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Optimiser steps, from 1 [default: what --epochs says]
    #[arg(long, value_name = "N", value_parser = values::count::<u64>())]
    pub steps: Option<u64>,
    /// Times to go through the data, above 0, where --steps is not given
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = values::positive)]
    pub epochs: f64,
    /// An adapter instead of the whole model.
    #[command(flatten)]
    #[serde(flatten)]
    pub lora: Lora,
    /// Rows (or pairs) of a batch, from 1
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = values::count::<usize>())]
    pub batch: usize,
    /// Batches whose gradients are added up for one step, from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::count::<usize>())]
    pub accumulate: usize,
    /// The learning rate at its peak, above 0; half a cosine leads down to a tenth of it
    #[arg(long, value_name = "RATE", default_value_t = 1e-4, value_parser = values::positive)]
    pub learning_rate: f64,
    /// Steps over which the learning rate rises to its peak, at least 0
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub warmup: u64,
    /// AdamW's decoupled weight decay, at least 0
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = values::non_negative)]
    pub weight_decay: f64,
    /// The norm that a step's gradient is cut to, above 0
    #[arg(long, value_name = "NORM", default_value_t = 1.0, value_parser = values::positive)]
    pub clip: f64,
    /// The probability of dropping an activation, at least 0 and below 1
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = values::below_one)]
    pub dropout: f64,
    /// Tokens of a sequence at most, from 2; longer ones are cut at the start of the prompt [default: what the model's configuration
    /// allows, up to 1024]
    #[arg(long, value_name = "N", value_parser = values::integer::<usize>(2..=u32::MAX.into()))]
    pub max_tokens: Option<usize>,
    /// What is cut.
    #[command(flatten)]
    #[serde(flatten)]
    pub cut: CutSettings,
    /// Steps between measurements on --eval-data; 0 for the end only
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub eval_every: u64,
    /// Steps between checkpoints, which --resume goes on from; 0 for the end only
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub checkpoint_every: u64,
    /// Checkpoints that are kept, from 1; a damaged newest one falls back to the one before it
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = values::count::<usize>())]
    pub keep: usize,
    /// What to do where a loss or gradient is not finite: stop the run, or skip the step
    #[arg(long, value_name = "WHAT", default_value = "stop", value_parser = ["stop", "skip"])]
    pub on_nonfinite: String,
    /// Print where the time and bytes of one step go, by op: the third, when every buffer is there, or the last of fewer
    #[arg(long)]
    #[serde(skip)]
    pub profile: bool,
    /// Go on from the last checkpoint in --out
    #[arg(long)]
    #[serde(skip)]
    pub resume: bool,
    /// A TOML file of these settings, such as a run's config.toml; flags win over it
    #[arg(long, value_name = "FILE.toml")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

/// Arguments of `slpo sft`.
#[derive(Debug, Clone, Args, Serialize)]
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:\n  slpo sft --model base --data completions.jsonl --out tuned\n  \
                        slpo sft --model base --data chats.jsonl --eval-data dev.jsonl --out tuned --epochs 3 --learning-rate 5e-5\n\n\
                        A row is {\"prompt\": …, \"completion\": …} or {\"messages\": [{\"role\": …, \"content\": …}, …]}.\n\n\
                        Started as several processes, each takes a share of every batch: see slpo train --help."
)]
pub struct Sft {
    /// What all fine-tuning takes.
    #[command(flatten)]
    #[serde(flatten)]
    pub training: FineTuning,
    /// Which turns are learned.
    #[command(flatten)]
    #[serde(flatten)]
    pub rows: TurnSettings,
}

/// Names of the losses.
pub const LOSSES: [&str; 10] = ["dpo", "cdpo", "ipo", "hinge", "robust", "slpo", "slpo-token", "slpo-literal", "slpo-exact", "slpo-gkl"];

/// Arguments of `slpo align`.
#[derive(Debug, Clone, Args, Serialize)]
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:\n  slpo align --model base --data preferences.jsonl --loss slpo --out aligned\n  \
                        slpo align --model tuned --data preferences.jsonl --loss dpo --beta 0.05 --eval-data dev.jsonl --out aligned\n\n\
                        A row is {\"prompt\": …, \"chosen\": …, \"rejected\": …}, each a text or chat messages.\n\n\
                        Started as several processes, each takes a share of every batch: see slpo train --help."
)]
pub struct Align {
    /// What all fine-tuning takes.
    #[command(flatten)]
    #[serde(flatten)]
    pub training: FineTuning,
    /// The loss
    #[arg(long, value_name = "NAME", default_value = "dpo", value_parser = LOSSES)]
    pub loss: String,
    /// The loss' own settings.
    #[command(flatten)]
    #[serde(flatten)]
    pub settings: LossSettings,
    /// The folder of the reference model [default: the model as it starts]
    #[arg(long, value_name = "MODEL")]
    pub reference: Option<PathBuf>,
    /// The file that keeps the reference's log-probabilities between runs, or off; token forms and slpo-exact need more than it holds
    /// [default: reference-log-probs.json in --out]
    #[arg(long, value_name = "FILE")]
    pub reference_cache: Option<PathBuf>,
}
