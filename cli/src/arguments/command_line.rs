//! The commands, and the arguments that all of them share.

use super::{
    Align, Audit, Bench, Chat, Compare, Completions, Convert, Data, Demo, Eval, Explain, Generate, Gradcheck, Man, Merge, RunControl,
    Score, Sft, Study, Train, Verify, values,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use std::path::Path;

/// Train small language models and align them with preferences, in pure Rust.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "slpo",
    version,
    args_override_self = true,
    after_help = "The main job: pretrain a small model, align it with DPO and the SLPO forms, compare them in a report (about a minute on two cores):\n  \
                  slpo demo\n\nOn your own data:\n  slpo train --data corpus.txt --out base\n  \
                  slpo align --model base --data preferences.jsonl --loss dpo --out aligned\n  \
                  slpo eval --model aligned --reference base --data preferences.jsonl\n\n\
                  `slpo COMMAND --help` says what a command takes."
)]
pub struct Arguments {
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What every command takes.
#[derive(Debug, Clone, Args, Serialize)]
#[command(next_help_heading = "Options of every command")]
pub struct Shared {
    /// Print one JSON object on standard output and nothing else there
    #[arg(long, global = true)]
    #[serde(skip)]
    pub json: bool,
    /// Where to compute; auto is the processor
    #[arg(long, global = true, value_enum, default_value_t = Device::Auto)]
    pub device: Device,
    /// How to round: f32 throughout; tf32, products of operands of 11 bits (GPUs only); bf16, products of operands of 8 bits, and on a GPU
    /// activations too, with weights, sums and losses in f32 (processors with AMX or AVX512-BF16, and GPUs)
    #[arg(long, global = true, value_enum, default_value_t = Rounding::F32)]
    pub precision: Rounding,
    /// Threads to use, 1 to 1024 [default: one a core]; the results do not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = values::integer::<usize>(1..=1024))]
    pub threads: Option<usize>,
    /// The seed of everything random; the same seed gives the same results
    #[arg(long, global = true, value_name = "N", default_value_t = 0, value_parser = values::integer::<u64>(0..=u64::MAX))]
    pub seed: u64,
}

/// Where to compute: automatically chosen, on the processor, or on an NVIDIA GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    Auto,
    Cpu,
    Cuda,
}

/// How products round their operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rounding {
    F32,
    Tf32,
    Bf16,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Pretrain a micro model on a small language, align it with every method, compare them in a report
    Demo(Demo),
    /// Pretrain a model on text
    Train(Train),
    /// Fine-tune a model on prompts with completions
    Sft(Sft),
    /// Optimise a model for preferences: DPO, its relatives and the SLPO forms
    Align(Align),
    /// Write text with a model
    Generate(Generate),
    /// Hold a conversation with a model that has a chat template
    Chat(Chat),
    /// Look at a dataset before training: lengths, what is cut and dropped, what is learned
    Data(Data),
    /// The log-probability of each token of a text, and the logits after it
    Score(Score),
    /// How well a model predicts text, completions or preferences
    Eval(Eval),
    /// Convert a model in another format into a Hugging Face folder
    Convert(Convert),
    /// Put a LoRA adapter's change into its model's weights
    Merge(Merge),
    /// Check every gradient against finite differences, forward mode and a slow version of each op
    Gradcheck(Gradcheck),
    /// Check a loss and its gradients that another program computed
    Verify(Verify),
    /// Recompute the claims of the SLPO paper, with a verdict on each
    Audit(Audit),
    /// Explain an op or a loss: formula, derivation, worked example, gradient by every method, graph
    Explain(Explain),
    /// Compare the losses at equal divergence in worlds whose every reward and probability is known
    Study(Study),
    /// Compare losses at equal divergence on your own pairs: each tuned by the same rule, with intervals and a correction
    Compare(Compare),
    /// Measure a training step, or what the processor can do
    Bench(Bench),
    /// What there is to compute on, and why CUDA can or cannot be used
    #[command(after_help = "Examples:\n  slpo devices\n  slpo devices --json")]
    Devices,
    /// Print what a shell needs to complete slpo's commands and options
    Completions(Completions),
    /// Write the manual as pages for man
    Man(Man),
}

impl Command {
    /// True for a command that several processes can run together.
    pub fn trains(&self) -> bool {
        matches!(self, Self::Train(_) | Self::Sft(_) | Self::Align(_))
    }

    /// Returns the settings that control a run, or `None` for a command that does not train.
    pub fn control_mut(&mut self) -> Option<&mut RunControl> {
        match self {
            Self::Train(train) => Some(&mut train.control),
            Self::Sft(sft) => Some(&mut sft.training.control),
            Self::Align(align) => Some(&mut align.training.control),
            _ => None,
        }
    }

    /// Lists the input files, each with its flag. Folders are not listed, because they are checked when they are opened.
    pub fn input_files(&self) -> Vec<(&'static str, &Path)> {
        match self {
            Self::Train(train) => vec![("--data", &train.data)],
            Self::Sft(Sft { training, .. }) | Self::Align(Align { training, .. }) => {
                let held_out = training.eval_data.as_deref().map(|path| ("--eval-data", path));
                [("--data", training.data.as_path())].into_iter().chain(held_out).collect()
            }
            Self::Compare(compare) => {
                let text = compare.text.as_deref().map(|path| ("--text", path));
                [("--data", compare.data.as_path())].into_iter().chain(text).collect()
            }
            Self::Eval(eval) => vec![("--data", &eval.data)],
            Self::Data(data) => vec![("FILE", &data.data)],
            Self::Verify(verify) => vec![("FILE", &verify.file)],
            Self::Generate(generate) => generate.prompts.as_deref().map(|path| ("--prompts", path)).into_iter().collect(),
            Self::Chat(chat) => chat.chat_template.as_deref().map(|path| ("--chat-template", path)).into_iter().collect(),
            _ => Vec::new(),
        }
    }
}
