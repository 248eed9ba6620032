//! The command line: the one place that defines the arguments of every command, with units, ranges and defaults.
//!
//! Settings of the training commands may also come from a TOML file: a flag wins over the file, the file over the default.

mod adapter;
mod bench;
mod change;
mod command_line;
mod compare;
mod config_file;
mod control;
mod conversation;
mod evaluation;
mod explain;
mod given;
mod headings;
mod layers;
mod loss;
mod one_line;
mod rows;
mod run_settings;
mod shell;
mod study;
#[cfg(test)]
mod tests;
mod training;
mod unused;
mod values;
mod verify;

pub use adapter::{Lora, Merge};
pub use bench::{Bench, BenchGenerate, BenchPeak, BenchStep, Measurement, Task};
pub use change::{Change, Effect, Layers};
pub use command_line::{Arguments, Command, Device, Rounding, Shared};
pub use compare::Compare;
pub use control::RunControl;
pub use conversation::{Chat, Data};
pub use evaluation::{Audit, Convert, Eval, Generate, Gradcheck, GradcheckProgram, Score};
pub use explain::Explain;
pub use loss::LossSettings;
pub use rows::{CutSettings, TurnSettings};
pub use run_settings::RunSettings;
pub use shell::{Completions, Man};
pub use study::Study;
pub use training::{Align, Demo, FineTuning, Sft, Train};
pub use verify::Verify;

use crate::failure::Failure;
use clap::CommandFactory;
use given::{Given, without_requirements};
use std::ffi::OsString;

/// The request that the command line makes.
pub enum Request {
    /// Runs a command.
    Run(Shared, Box<Command>),
    /// Prints a text on standard output: help or version.
    Show(String),
}

/// Reads the command line and the settings files that it names: the file of `--config`, and with `--resume` the run's own.
///
/// # Errors
/// [`Failure::Usage`] in one line; [`Failure::Failed`] if a settings file cannot be read.
pub fn parse(arguments: Vec<OsString>) -> Result<Request, Failure> {
    let root = Arguments::command();
    // A settings file may give arguments that the command line lacks, so missing arguments are reported later.
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

/// Returns the help or version that was asked for. Arguments that must be given are marked as such.
fn help(root: &clap::Command, arguments: &[OsString], without_requirements: &clap::Error) -> String {
    let shown = root.clone().try_get_matches_from(arguments).err().filter(|error| !error.use_stderr());
    shown.as_ref().unwrap_or(without_requirements).render().to_string()
}
