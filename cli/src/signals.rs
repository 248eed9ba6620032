//! Catching the signals that ask a command to stop: what each means is in [`crate::interrupt`].
//!
//! A signal that the parent has set to be ignored stays ignored: `nohup` ignores SIGHUP, and shells ignore SIGINT for what a script starts
//! with `&`. Linux tells which; elsewhere every signal is caught.

use crate::failure::Failure;
use crate::interrupt::{self, Action};
use crate::processes;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Time in which a command must end the text that it writes.
const LIMIT: Duration = Duration::from_secs(3);

/// Starts to catch signals. At this point there is nothing to save.
///
/// # Errors
/// [`Failure::Failed`] if the system refuses.
pub fn listen() -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("cannot catch signals: {error}"));
    catch().map_err(failed)
}

#[cfg(unix)]
fn catch() -> std::io::Result<()> {
    let ignored = ignored();
    let caught: Vec<i32> = interrupt::SIGNALS.iter().map(|(number, _)| *number).filter(|number| ignored >> (number - 1) & 1 == 0).collect();
    let mut signals = signal_hook::iterator::Signals::new(caught)?;
    let receive_all = move || signals.forever().for_each(receive);
    std::thread::Builder::new().name("signals".to_owned()).spawn(receive_all).map(drop)
}

#[cfg(not(unix))]
fn catch() -> std::io::Result<()> {
    ctrlc::set_handler(|| receive(interrupt::SIGINT)).map_err(std::io::Error::other)
}

/// Reads which signals the parent has set to be ignored: signal n is bit n − 1. Returns 0 if the system does not tell.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read("/proc/self/status").unwrap_or_default();
    let mask = String::from_utf8_lossy(&status).lines().find_map(|line| line.strip_prefix("SigIgn:").map(str::to_owned));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn receive(signal: i32) {
    match interrupt::receive(signal) {
        Action::Ask => {}
        Action::AskWithin => drop(std::thread::spawn(move || {
            std::thread::sleep(LIMIT);
            end(signal);
        })),
        Action::EndAndSay => {
            if processes::is_first() {
                new_line();
                let _ = writeln!(std::io::stderr(), "stopped: {} came, and there was nothing to save", interrupt::name(signal));
            }
            processes::leave_soon(&format!("{} came", interrupt::name(signal)));
            std::process::exit(interrupt::code(signal));
        }
        Action::End => end(signal),
    }
}

fn end(signal: i32) {
    new_line();
    std::process::exit(interrupt::code(signal));
}

/// Ends the terminal's current line, so that the next output begins a new one.
fn new_line() {
    if std::io::stderr().is_terminal() {
        let _ = std::io::stderr().write_all(b"\n");
    }
}
