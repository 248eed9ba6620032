//! The arguments of the training commands. They are also the record of a run's settings in `config.toml`.

use super::headings::{DATA, LOSS, MODEL, RUN, TRAINING};
use super::values;
use super::{CutSettings, Lora, LossSettings, RunControl, TurnSettings};
use clap::Args;
use losses::{Loss, Need};
use model::config::preset::PRESETS;
use serde::Serialize;
use std::path::PathBuf;

/// Arguments of `slpo demo`.
#[derive(Debug, Clone, Args, Serialize)]
#[command(after_help = "Examples:\n  slpo demo\n  slpo demo --out first-look --seed 1\n  slpo demo --files .")]
pub struct Demo {
    /// The folder for report.html and the runs
    #[arg(long, value_name = "DIR", default_value = "demo-out")]
    pub out: PathBuf,
    /// Steps of pretraining [default: what about a minute on two cores allows]
    #[arg(long, value_name = "N", value_parser = values::count::<u64>())]
    pub pretrain_steps: Option<u64>,
    /// Steps of each alignment [default: what about a minute on two cores allows]
    #[arg(long, value_name = "N", value_parser = values::count::<u64>())]
    pub align_steps: Option<u64>,
    /// Texts sampled to measure each model [default: enough for two digits]
    #[arg(long, value_name = "N", value_parser = values::count::<usize>())]
    pub samples: Option<usize>,
    /// Only write corpus.txt, completions.jsonl and preferences.jsonl of the demo's language into this folder, to try other commands with
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "pretrain_steps", "align_steps", "samples"])]
    pub files: Option<PathBuf>,
}

/// Arguments of `slpo train`.
#[derive(Debug, Clone, Args, Serialize)]
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:\n  slpo train --data corpus.txt --out base\n  \
                        slpo train --data corpus.txt --out base --preset micro --steps 5000 --checkpoint-every 500\n  \
                        slpo train --out base --resume\n\n\
                        Started as several processes (as torchrun starts them, or by mpirun), each takes a share of every batch:\n  \
                        RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT  which process of how many this is, and where they meet\n  \
                        LOCAL_RANK, LOCAL_WORLD_SIZE                its GPU, and the processes on this machine\n  \
                        SLPO_JOIN_SECONDS                           how long they wait for each other [default: 300]\n  \
                        SLPO_GROUP_SECRET                           a text of 16 bytes or more, the same in every process, that keeps \
                        others out; it is never sent"
)]
pub struct Train {
    /// Text (several documents are separated by <|endoftext|>), or rows with `text`: JSON lines, a JSON list, Parquet
    #[arg(long, value_name = "FILE", help_heading = DATA)]
    pub data: PathBuf,
    /// The fraction of the text that is held out for measuring, at least 0 and below 1
    #[arg(long, value_name = "F", help_heading = DATA, default_value_t = 0.1, value_parser = values::below_one)]
    pub held_out: f64,
    /// A tokenizer.json or a folder with one [default: one token a byte]
    #[arg(long, value_name = "FILE", help_heading = DATA)]
    pub tokenizer: Option<PathBuf>,
    /// The size of the model
    #[arg(long, value_name = "P", help_heading = MODEL, default_value = "nano", value_parser = values::preset(), ignore_case = true)]
    pub preset: String,
    /// Optimiser steps, from 1 [default: 2000]
    #[arg(long, alias = "max-steps", value_name = "N", help_heading = TRAINING, value_parser = values::count::<u64>())]
    pub steps: Option<u64>,
    /// Instead of --steps: passes through the text, above 0: the tokens of all batches over the tokens of the text
    #[arg(long, alias = "num-train-epochs", value_name = "X", help_heading = TRAINING, value_parser = values::positive)]
    pub epochs: Option<f64>,
    /// Sequences of a batch, from 1 [default: the preset's]
    #[arg(
        long,
        aliases = ["batch", "batch-size", "per-device-train-batch-size"],
        value_name = "N",
        help_heading = TRAINING,
        value_parser = values::count::<usize>()
    )]
    pub batch_rows: Option<usize>,
    /// Tokens of each sequence, from 1 [default: the preset's]
    #[arg(
        long,
        aliases = ["max-tokens", "max-length", "block-size"],
        value_name = "N",
        help_heading = TRAINING,
        value_parser = values::count::<usize>()
    )]
    pub batch_tokens: Option<usize>,
    /// Batches whose gradients are added up for one step, from 1
    #[arg(
        long,
        alias = "gradient-accumulation-steps",
        value_name = "N",
        help_heading = TRAINING,
        default_value_t = 1,
        value_parser = values::count::<usize>()
    )]
    pub accumulate: usize,
    /// The learning rate at its peak, above 0; half a cosine leads down to a tenth of it [default: nano 2e-3, micro 1e-3, stories15m 5e-4,
    /// gpt2s 3e-4]
    #[arg(long, alias = "lr", value_name = "RATE", help_heading = TRAINING, value_parser = values::positive)]
    pub learning_rate: Option<f64>,
    /// Steps over which the learning rate rises to its peak, at least 0 and below --steps [default: a tenth of --steps, at most 50]
    #[arg(long, alias = "warmup-steps", value_name = "N", help_heading = TRAINING, value_parser = values::integer::<u64>(0..=u64::MAX))]
    pub warmup: Option<u64>,
    /// AdamW's decoupled weight decay, at least 0
    #[arg(long, value_name = "X", help_heading = TRAINING, default_value_t = 0.1, value_parser = values::non_negative)]
    pub weight_decay: f64,
    /// The norm that a step's gradient is clipped to, above 0
    #[arg(
        long,
        alias = "max-grad-norm",
        value_name = "NORM",
        help_heading = TRAINING,
        default_value_t = 1.0,
        value_parser = values::positive
    )]
    pub clip: f64,
    /// The probability of dropping an activation, at least 0 and below 1
    #[arg(long, value_name = "P", help_heading = TRAINING, default_value_t = 0.0, value_parser = values::below_one)]
    pub dropout: f64,
    /// Recompute activations in the backward pass instead of keeping them: less memory, a third more time
    #[arg(long, alias = "gradient-checkpointing", help_heading = TRAINING)]
    pub checkpoint_activations: bool,
    /// The run's folder: the model, metrics, settings and checkpoints
    #[arg(long, aliases = ["output-dir", "output"], value_name = "DIR", help_heading = RUN)]
    pub out: PathBuf,
    /// Steps between measurements on the held-out text; 0 for the end only
    #[arg(
        long,
        alias = "eval-steps",
        value_name = "N",
        help_heading = RUN,
        default_value_t = 200,
        value_parser = values::integer::<u64>(0..=u64::MAX)
    )]
    pub eval_every: u64,
    /// Steps between checkpoints, from which --resume goes on; 0 for the end only
    #[arg(
        long,
        alias = "save-steps",
        value_name = "N",
        help_heading = RUN,
        default_value_t = 500,
        value_parser = values::integer::<u64>(0..=u64::MAX)
    )]
    pub checkpoint_every: u64,
    /// How the run is kept.
    #[command(flatten)]
    #[serde(flatten)]
    pub control: RunControl,
}

/// The steps of `slpo train` if nothing else is given.
const STEPS: u64 = 2000;

impl Train {
    /// Returns the steps of the run, or `None` if they follow from the length of the text.
    pub fn fixed_steps(&self) -> Option<u64> {
        self.steps.or(if self.epochs.is_none() { Some(STEPS) } else { None })
    }

    /// Returns the peak learning rate: the given one, or the preset's.
    pub fn peak_rate(&self) -> f64 {
        let of_preset = || PRESETS.iter().find(|preset| preset.name == self.preset).map_or(1e-3, |preset| preset.learning_rate);
        self.learning_rate.unwrap_or_else(of_preset)
    }
}

/// What fine-tuning takes, on completions or on preferences.
#[derive(Debug, Clone, Args, Serialize)]
pub struct FineTuning {
    /// The rows to learn from (.jsonl)
    #[arg(long, value_name = "FILE", help_heading = DATA)]
    pub data: PathBuf,
    /// Rows to measure with (.jsonl) [default: none]
    #[arg(long, value_name = "FILE", help_heading = DATA)]
    pub eval_data: Option<PathBuf>,
    /// Most tokens of a sequence, from 2; longer ones are cut as --truncation says [default: what the model's configuration
    /// allows, up to 1024]
    #[arg(
        long,
        aliases = ["max-length", "max-seq-length"],
        value_name = "N",
        help_heading = DATA,
        value_parser = values::integer::<usize>(2..=u32::MAX.into())
    )]
    pub max_tokens: Option<usize>,
    /// What is cut.
    #[command(flatten)]
    #[serde(flatten)]
    pub cut: CutSettings,
    /// The folder of the model to start from
    #[arg(long, alias = "model-name-or-path", value_name = "MODEL", help_heading = MODEL)]
    pub model: PathBuf,
    /// Optimiser steps, from 1 [default: what --epochs says]
    #[arg(long, alias = "max-steps", value_name = "N", help_heading = TRAINING, value_parser = values::count::<u64>())]
    pub steps: Option<u64>,
    /// Instead of --steps: passes through the data, above 0 [default: 1]
    #[arg(long, alias = "num-train-epochs", value_name = "X", help_heading = TRAINING, value_parser = values::positive)]
    pub epochs: Option<f64>,
    /// Rows (or pairs) of a batch, from 1
    #[arg(
        long,
        aliases = ["batch-size", "batch-rows", "per-device-train-batch-size"],
        value_name = "N",
        help_heading = TRAINING,
        default_value_t = 8,
        value_parser = values::count::<usize>()
    )]
    pub batch: usize,
    /// Batches whose gradients are added up for one step, from 1
    #[arg(
        long,
        alias = "gradient-accumulation-steps",
        value_name = "N",
        help_heading = TRAINING,
        default_value_t = 1,
        value_parser = values::count::<usize>()
    )]
    pub accumulate: usize,
    /// The learning rate at its peak, above 0; half a cosine leads down to a tenth of it
    #[arg(
        long,
        alias = "lr",
        value_name = "RATE",
        help_heading = TRAINING,
        default_value_t = 1e-4,
        value_parser = values::positive
    )]
    pub learning_rate: f64,
    /// Steps over which the learning rate rises to its peak, at least 0 and below --steps [default: a tenth of --steps, at most 10]
    #[arg(long, alias = "warmup-steps", value_name = "N", help_heading = TRAINING, value_parser = values::integer::<u64>(0..=u64::MAX))]
    pub warmup: Option<u64>,
    /// AdamW's decoupled weight decay, at least 0
    #[arg(long, value_name = "X", help_heading = TRAINING, default_value_t = 0.0, value_parser = values::non_negative)]
    pub weight_decay: f64,
    /// The norm that a step's gradient is clipped to, above 0
    #[arg(
        long,
        alias = "max-grad-norm",
        value_name = "NORM",
        help_heading = TRAINING,
        default_value_t = 1.0,
        value_parser = values::positive
    )]
    pub clip: f64,
    /// The probability of dropping an activation, at least 0 and below 1
    #[arg(long, value_name = "P", help_heading = TRAINING, default_value_t = 0.0, value_parser = values::below_one)]
    pub dropout: f64,
    /// An adapter instead of the whole model.
    #[command(flatten)]
    #[serde(flatten)]
    pub lora: Lora,
    /// The run's folder: the model, metrics, settings and checkpoints
    #[arg(long, aliases = ["output-dir", "output"], value_name = "DIR", help_heading = RUN)]
    pub out: PathBuf,
    /// Steps between measurements on --eval-data; 0 for the end only
    #[arg(
        long,
        alias = "eval-steps",
        value_name = "N",
        help_heading = RUN,
        default_value_t = 50,
        value_parser = values::integer::<u64>(0..=u64::MAX)
    )]
    pub eval_every: u64,
    /// Steps between checkpoints, from which --resume goes on; 0 for the end only
    #[arg(
        long,
        alias = "save-steps",
        value_name = "N",
        help_heading = RUN,
        default_value_t = 200,
        value_parser = values::integer::<u64>(0..=u64::MAX)
    )]
    pub checkpoint_every: u64,
    /// How the run is kept.
    #[command(flatten)]
    #[serde(flatten)]
    pub control: RunControl,
}

impl FineTuning {
    /// Returns the same settings with the length of the run filled in where the default applies.
    pub fn whole(&self) -> Self {
        let epochs = self.epochs.or(if self.steps.is_none() { Some(1.0) } else { None });
        Self { epochs, ..self.clone() }
    }
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

/// Arguments of `slpo align`.
#[derive(Debug, Clone, Args, Serialize)]
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:\n  slpo align --model base --data preferences.jsonl --loss dpo --out aligned\n  \
                        slpo align --model tuned --data preferences.jsonl --loss slpo-gkl --eval-data dev.jsonl --out aligned\n  \
                        slpo align --out aligned --resume\n\n\
                        A row is {\"prompt\": …, \"chosen\": …, \"rejected\": …}, each a text or chat messages. kto, apo-zero-unpaired \
                        and bco-unpaired also take labelled rows {\"prompt\": …, \"completion\": …, \"label\": true or false}; they take a \
                        pair as two rows.\n\n\
                        Started as several processes, each takes a share of every batch: see slpo train --help."
)]
pub struct Align {
    /// What all fine-tuning takes.
    #[command(flatten)]
    #[serde(flatten)]
    pub training: FineTuning,
    /// The loss, or several with commas between them, whose weighted sum is minimised
    #[arg(
        long,
        alias = "loss-type",
        value_name = "NAME",
        help_heading = LOSS,
        default_value = "dpo",
        value_parser = values::losses(),
        ignore_case = true
    )]
    pub loss: String,
    /// The loss' own settings.
    #[command(flatten)]
    #[serde(flatten)]
    pub settings: LossSettings,
    /// The folder of the reference model [default: the model as it starts]
    #[arg(long, alias = "ref-model", value_name = "MODEL", help_heading = MODEL)]
    pub reference: Option<PathBuf>,
    /// Move the reference towards the model after every N steps (TR-DPO); 0 for never [default: 0]
    #[arg(long, value_name = "N", help_heading = MODEL, value_parser = values::integer::<u64>(0..=u32::MAX.into()))]
    pub reference_every: Option<u64>,
    /// How far it moves, above 0 and at most 1: each weight becomes A·model + (1 − A)·reference [default: 0.6]
    #[arg(long, value_name = "A", help_heading = MODEL, value_parser = values::share)]
    pub reference_mixup: Option<f64>,
    /// The file that keeps the reference's log-probabilities between runs.
    #[arg(long, value_name = "FILE", help_heading = RUN, help = reference_cache())]
    pub reference_cache: Option<PathBuf>,
}

fn reference_cache() -> String {
    let needs_more = Loss::listed(|loss| {
        let usual = loss.defaults();
        loss.needs(Need::Reference, &usual) && !loss.is_unpaired() && !loss.takes_cached_reference(&usual)
    });
    let of_rows = Loss::listed(Loss::is_unpaired);
    format!(
        "The file that keeps the reference's log-probabilities between runs, or off; {needs_more} need more than it holds, and {of_rows} \
         run the reference at every step \
         [default: reference-log-probs.json in --out]"
    )
}
