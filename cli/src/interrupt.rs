//! Stopping on request: the first ctrl-C (or SIGTERM) asks a training loop to save and end, the second ends the program at once.

use crate::failure::Failure;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// What a shell reports for a program that SIGINT ended: 128 + 2.
pub const EXIT_CODE: i32 = 130;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Catches ctrl-C from here on, for a command that polls [`requested`].
///
/// # Errors
/// [`Failure::Failed`] where the system refuses, or when called twice.
pub fn listen() -> Result<(), Failure> {
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            std::process::exit(EXIT_CODE);
        }
    })
    .map_err(|error| Failure::Failed(format!("cannot catch ctrl-C: {error}")))
}

/// Whether the user asked to stop.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Whether an answer is being written, and whether the user asked to stop it.
static ANSWERING: AtomicBool = AtomicBool::new(false);
static STOP_ANSWER: AtomicBool = AtomicBool::new(false);

/// Catches ctrl-C from here on, for a model that writes: while a [`Turn`] runs it stops that turn (a second time, the program); between
/// turns it ends the program.
///
/// # Errors
/// As [`listen`].
pub fn listen_in_turns() -> Result<(), Failure> {
    ctrlc::set_handler(|| {
        if !ANSWERING.load(Ordering::SeqCst) || STOP_ANSWER.swap(true, Ordering::SeqCst) {
            // What is typed next begins on a line of its own.
            if std::io::stderr().is_terminal() {
                let _ = std::io::stderr().write_all(b"\n");
            }
            std::process::exit(EXIT_CODE);
        }
    })
    .map_err(|error| Failure::Failed(format!("cannot catch ctrl-C: {error}")))
}

/// One answer that ctrl-C stops.
pub struct Turn(());

impl Turn {
    /// From here on until it is dropped.
    pub fn begin() -> Self {
        STOP_ANSWER.store(false, Ordering::SeqCst);
        ANSWERING.store(true, Ordering::SeqCst);
        Self(())
    }

    /// Whether the user asked to stop this answer.
    pub fn interrupted(&self) -> bool {
        STOP_ANSWER.load(Ordering::SeqCst)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        ANSWERING.store(false, Ordering::SeqCst);
    }
}
