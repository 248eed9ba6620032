//! The commands: one file each.

mod align;
mod audit;
mod bench;
mod chat;
mod common;
mod compare;
mod convert;
mod data;
mod demo;
mod devices;
mod eval;
mod explain;
mod generate;
mod gradcheck;
mod load;
mod merge;
mod model_out;
mod notices;
mod score;
mod sft;
mod shell;
mod study;
mod train;
mod verify;

pub use load::{Loaded, longest_sequence};

use crate::arguments::{Command, Shared};
use crate::failure::Failure;
use std::path::Path;

/// Runs a command.
///
/// # Errors
/// The reason why the command cannot do what was asked.
pub fn run(command: &Command, shared: &Shared) -> Result<(), Failure> {
    if command.trains() {
        crate::processes::join()?;
    }
    command.input_files().into_iter().try_for_each(|(flag, path)| look_at(flag, path))?;
    crate::device::choose(shared.device, shared.precision)?;
    start_threads(shared.threads.or(crate::processes::threads()?))?;
    if let Command::Gradcheck(arguments) = command {
        // It has threads of its own and waits for them. On a thread of the pool it would occupy that thread while they need it.
        return gradcheck::run(arguments, shared);
    }
    if let Command::Study(arguments) = command {
        // As above: each of its threads is a pool of its own.
        return study::run(arguments, shared);
    }
    if let Command::Compare(arguments) = command {
        return compare::run(arguments, shared);
    }
    on_the_pool(|| dispatch(command, shared))
}

/// Checks that an input file exists before any work begins.
fn look_at(flag: &str, path: &Path) -> Result<(), Failure> {
    let reason = match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => "it is a folder: give the file".to_owned(),
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        Err(error) => model::error::io_words(&error),
    };
    Err(Failure::Failed(format!("{}: {reason} ({flag})", path.display())))
}

/// Runs a command on a thread of the pool, so that a parallel loop starts without waking another thread first.
fn on_the_pool(command: impl FnOnce() -> Result<(), Failure> + Send) -> Result<(), Failure> {
    let mut result = Ok(());
    rayon::scope(|_| result = command());
    result
}

fn dispatch(command: &Command, shared: &Shared) -> Result<(), Failure> {
    match command {
        Command::Demo(arguments) => demo::run(arguments, shared),
        Command::Train(arguments) => train::run(arguments, shared),
        Command::Sft(arguments) => sft::run(arguments, shared),
        Command::Align(arguments) => align::run(arguments, shared),
        Command::Generate(arguments) => generate::run(arguments, shared),
        Command::Chat(arguments) => chat::run(arguments, shared),
        Command::Data(arguments) => data::run(arguments, shared),
        Command::Score(arguments) => score::run(arguments, shared),
        Command::Eval(arguments) => eval::run(arguments, shared),
        Command::Convert(arguments) => convert::run(arguments, shared),
        Command::Merge(arguments) => merge::run(arguments, shared),
        Command::Gradcheck(arguments) => gradcheck::run(arguments, shared),
        Command::Verify(arguments) => verify::run(arguments, shared),
        Command::Audit(arguments) => audit::run(arguments, shared),
        Command::Explain(arguments) => explain::run(arguments, shared),
        Command::Study(arguments) => study::run(arguments, shared),
        Command::Compare(arguments) => compare::run(arguments, shared),
        Command::Bench(arguments) => bench::run(arguments, shared),
        Command::Devices => devices::run(shared),
        Command::Completions(arguments) => shell::completions(arguments, shared),
        Command::Man(arguments) => shell::man(arguments, shared),
    }
}

/// The stack size of each thread, equal to that of a main thread.
const STACK_BYTES: usize = 8 << 20;

/// Starts the pool with the number of threads that was asked for, or one for each processor.
fn start_threads(threads: Option<usize>) -> Result<(), Failure> {
    let started = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0)).stack_size(STACK_BYTES).build_global();
    started.map_err(|error| Failure::Failed(format!("cannot start threads: {error}")))
}
