//! The `slpo` binary: reads the command line, runs a command, and reports a failure in one line.
//!
#![cfg_attr(doc, doc = include_str!("../README.md"))]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod arguments;
mod card;
mod commands;
mod device;
mod explain;
mod failure;
mod interrupt;
mod memory;
mod number;
mod output;
mod panic_message;
mod processes;
mod profile_table;
mod progress;
mod report;
mod run_folder;
mod signals;
mod streaming;
mod terminal;
mod training;
#[cfg(test)]
mod untrusted;
mod watch;

use arguments::Request;
use engine::out_of_memory::SystemOrExit;
use failure::Failure;
use std::io::Write;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: SystemOrExit = SystemOrExit { advice: panic_message::LESS_MEMORY };

fn main() -> ExitCode {
    panic_message::install();
    if model::memory::address_space().is_some() {
        engine::out_of_memory::share_one_heap();
    }
    match run() {
        Ok(()) => {
            processes::leave(None);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            if let Some(line) = processes::line(&failure) {
                terminal::say(&line);
            }
            processes::leave(Some(&failure));
            failure.exit_code()
        }
    }
}

fn run() -> Result<(), Failure> {
    match arguments::parse(std::env::args_os().collect())? {
        Request::Show(text) => Ok(std::io::stdout().write_all(text.as_bytes())?),
        Request::Run(shared, command) => {
            signals::listen()?;
            commands::run(&command, &shared)
        }
    }
}
