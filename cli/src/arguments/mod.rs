//! The command line: one place that says what every command takes, with units, ranges and defaults.
//!
//! Settings of the training commands may also come from a TOML file: a flag wins over the file, the file over the default.

mod adapter;
mod bench;
mod config_file;
mod conversation;
mod evaluation;
mod explain;
mod loss;
mod one_line;
mod rows;
#[cfg(test)]
mod tests;
mod training;
mod values;
mod verify;

pub use adapter::{Lora, Merge};
pub use bench::{Bench, BenchPeak, BenchStep, Measurement, Task};
pub use conversation::{Chat, Data};
pub use evaluation::{Audit, Convert, Eval, Generate, Gradcheck, Score};
pub use explain::Explain;
pub use loss::LossSettings;
pub use rows::{CutSettings, TurnSettings};
pub use training::{Align, Demo, FineTuning, Sft, Train};
pub use verify::Verify;

use crate::failure::Failure;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use std::ffi::OsString;

/// Train small language models and align them with preferences, in pure Rust.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "slpo",
    version,
    args_override_self = true,
    after_help = "The main job: pretrain a small model, align it with DPO and the SLPO forms, compare them in a report (about two minutes):\n  \
                  slpo demo\n\nOn your own data:\n  slpo train --data corpus.txt --out base\n  \
                  slpo align --model base --data preferences.jsonl --loss slpo --out aligned\n  \
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
    #[arg(long, global = true, value_enum, default_value_t = Precision::F32)]
    pub precision: Precision,
    /// Threads to use, 1 to 1024 [default: one a core]; the results do not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = values::integer::<usize>(1..=1024))]
    pub threads: Option<usize>,
    /// The seed of everything random; the same seed gives the same results
    #[arg(long, global = true, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// Where to compute: the best that is there, the processor, or an NVIDIA GPU.
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
pub enum Precision {
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
    /// Check every gradient against finite differences, forward mode and its slow twins
    Gradcheck(Gradcheck),
    /// Check a loss and its gradients that another program computed
    Verify(Verify),
    /// Recompute the claims of the SLPO paper, with a verdict on each
    Audit(Audit),
    /// Explain an op or a loss: formula, derivation, worked example, gradient by every method, graph
    Explain(Explain),
    /// Measure a training step, or what the processor can do
    Bench(Bench),
    /// What there is to compute on, and why CUDA can or cannot be used
    #[command(after_help = "Examples:\n  slpo devices\n  slpo devices --json")]
    Devices,
}

impl Command {
    /// Is it one that several processes can do together?
    pub fn trains(&self) -> bool {
        matches!(self, Self::Train(_) | Self::Sft(_) | Self::Align(_))
    }

    /// The settings file that the command line names.
    fn config(&self) -> Option<&std::path::Path> {
        match self {
            Self::Train(train) => train.config.as_deref(),
            Self::Sft(sft) => sft.training.config.as_deref(),
            Self::Align(align) => align.training.config.as_deref(),
            _ => None,
        }
    }
}

/// What the command line asks for.
pub enum Request {
    /// A command.
    Run(Shared, Box<Command>),
    /// A text for standard output: help or version.
    Show(String),
}

/// Reads the command line and the settings file that it names.
///
/// # Errors
/// [`Failure::Usage`] in one line; [`Failure::Failed`] where the settings file cannot be read.
pub fn parse(arguments: Vec<OsString>) -> Result<Request, Failure> {
    let parsed = match parse_flags(&arguments) {
        Ok(parsed) => parsed,
        Err(error) if !error.use_stderr() => return Ok(Request::Show(error.render().to_string())),
        Err(error) => {
            let root = Arguments::command();
            let command = find_command(&root, &arguments).map(|(_, command)| command);
            return Err(Failure::Usage(one_line::of(&error, command)));
        }
    };
    let Some(command) = &parsed.command else {
        return Ok(Request::Show(Arguments::command().render_help().to_string()));
    };
    let parsed = match command.config() {
        Some(path) => config_file::apply(path, arguments)?,
        None => parsed,
    };
    let Arguments { shared, command: Some(command) } = parsed else {
        return Err(Failure::Usage("no command is given: see slpo --help".to_owned()));
    };
    Ok(Request::Run(shared, Box::new(command)))
}

fn parse_flags(arguments: &[OsString]) -> Result<Arguments, clap::Error> {
    Arguments::from_arg_matches(&Arguments::command().try_get_matches_from(arguments)?)
}

/// Where the command's name stands, and the command. Only flags of every command can stand before it, and none has such a value.
fn find_command<'a>(root: &'a clap::Command, arguments: &[OsString]) -> Option<(usize, &'a clap::Command)> {
    let named = |(position, argument): (usize, &OsString)| root.find_subcommand(argument).map(|command| (position, command));
    arguments.iter().enumerate().skip(1).find_map(named)
}
