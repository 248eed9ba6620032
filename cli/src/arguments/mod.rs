//! The command line: one place that says what every command takes, with units, ranges and defaults.
//!
//! Settings of the training commands may also come from a TOML file: a flag wins over the file, the file over the default.

mod adapter;
mod bench;
mod config_file;
mod control;
mod conversation;
mod evaluation;
mod explain;
mod headings;
mod layers;
mod loss;
mod one_line;
mod rows;
mod run_settings;
#[cfg(test)]
mod tests;
mod training;
mod unused;
mod values;
mod verify;

pub use adapter::{Lora, Merge};
pub use bench::{Bench, BenchPeak, BenchStep, Measurement, Task};
pub use control::RunControl;
pub use conversation::{Chat, Data};
pub use evaluation::{Audit, Convert, Eval, Generate, Gradcheck, Score};
pub use explain::Explain;
pub use layers::Layers;
pub use loss::LossSettings;
pub use rows::{CutSettings, TurnSettings};
pub use run_settings::{Change, Effect, RunSettings};
pub use training::{Align, Demo, FineTuning, Sft, Train};
pub use verify::Verify;

use crate::failure::Failure;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use std::collections::BTreeSet;
use std::ffi::OsString;
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
    #[arg(long, global = true, value_enum, default_value_t = Precision::F32)]
    pub precision: Precision,
    /// Threads to use, 1 to 1024 [default: one a core]; the results do not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = values::integer::<usize>(1..=1024))]
    pub threads: Option<usize>,
    /// The seed of everything random; the same seed gives the same results
    #[arg(long, global = true, value_name = "N", default_value_t = 0, value_parser = values::integer::<u64>(0..=u64::MAX))]
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
    /// Check every gradient against finite differences, forward mode and a slow version of each op
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

    /// How the run is kept, of a command that trains.
    fn control_mut(&mut self) -> Option<&mut RunControl> {
        match self {
            Self::Train(train) => Some(&mut train.control),
            Self::Sft(sft) => Some(&mut sft.training.control),
            Self::Align(align) => Some(&mut align.training.control),
            _ => None,
        }
    }

    /// A run's settings as its config.toml keeps them, of a command that trains.
    fn run_settings(&self, shared: &Shared) -> Option<Result<RunSettings, Failure>> {
        match self {
            Self::Train(train) => Some(train.run_settings(shared)),
            Self::Sft(sft) => Some(sft.run_settings(shared)),
            Self::Align(align) => Some(align.run_settings(shared)),
            _ => None,
        }
    }

    /// The files that are read, each with its flag; folders are looked at where they are opened.
    pub fn input_files(&self) -> Vec<(&'static str, &Path)> {
        match self {
            Self::Train(train) => vec![("--data", &train.data)],
            Self::Sft(Sft { training, .. }) | Self::Align(Align { training, .. }) => {
                let held_out = training.eval_data.as_deref().map(|path| ("--eval-data", path));
                [("--data", training.data.as_path())].into_iter().chain(held_out).collect()
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

/// What the command line asks for.
pub enum Request {
    /// A command.
    Run(Shared, Box<Command>),
    /// A text for standard output: help or version.
    Show(String),
}

/// Reads the command line and the settings files that it names: that of `--config`, and with `--resume` the run's own.
///
/// # Errors
/// [`Failure::Usage`] in one line; [`Failure::Failed`] where a settings file cannot be read.
pub fn parse(arguments: Vec<OsString>) -> Result<Request, Failure> {
    let root = Arguments::command();
    // A settings file may give what the command line lacks: whether something is missing is judged afterwards.
    let given = match without_requirements(&root).try_get_matches_from(&arguments) {
        Ok(matches) => Given::of(matches),
        Err(error) if !error.use_stderr() => return Ok(Request::Show(help(&root, &arguments, &error))),
        Err(error) => return Err(Failure::Usage(one_line::of(&error, &root, &arguments))),
    };
    let Some(given) = given else {
        return Ok(Request::Show(Arguments::command().render_help().to_string()));
    };
    let (parsed, layers) = layers::apply(&root, &given, &arguments)?;
    let Arguments { shared, command: Some(mut command) } = parsed else {
        return Err(Failure::Usage("no command is given: see slpo --help".to_owned()));
    };
    if let Some(unused) = command.unused().into_iter().find(|unused| given.flags.contains(unused.setting)) {
        return Err(Failure::Usage(unused.reason));
    }
    command.check_together(&given.flags)?;
    if let Some(control) = command.control_mut() {
        control.layers = layers;
    }
    Ok(Request::Run(shared, Box::new(command)))
}

/// The help or version that was asked for, with what has to be given.
fn help(root: &clap::Command, arguments: &[OsString], without_requirements: &clap::Error) -> String {
    let shown = root.clone().try_get_matches_from(arguments).err().filter(|error| !error.use_stderr());
    shown.as_ref().unwrap_or(without_requirements).render().to_string()
}

/// The command line by itself.
struct Given {
    command: String,
    matches: ArgMatches,
    /// The settings that it gives itself, with `_` for `-`.
    flags: BTreeSet<String>,
}

impl Given {
    /// `None` where there is no command.
    fn of(matches: ArgMatches) -> Option<Self> {
        let (command, matches) = matches.subcommand()?;
        let from_command_line = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let flags = matches.ids().map(|id| id.as_str().to_owned()).filter(|id| from_command_line(id)).collect();
        Some(Self { command: command.to_owned(), matches: matches.clone(), flags })
    }
}

/// The commands that train, with nothing that has to be given.
fn without_requirements(root: &clap::Command) -> clap::Command {
    ["train", "sft", "align"]
        .into_iter()
        .fold(root.clone(), |root, name| root.mut_subcommand(name, |command| command.mut_args(|argument| argument.required(false))))
}

fn parse_flags(arguments: &[OsString]) -> Result<Arguments, clap::Error> {
    Arguments::from_arg_matches(&Arguments::command().try_get_matches_from(arguments)?)
}

/// Where the command's name stands, and the command. Only flags of every command can stand before it, and none has such a value.
fn find_command<'a>(root: &'a clap::Command, arguments: &[OsString]) -> Option<(usize, &'a clap::Command)> {
    let named = |(position, argument): (usize, &OsString)| root.find_subcommand(argument).map(|command| (position, command));
    arguments.iter().enumerate().skip(1).find_map(named)
}
