//! Stopping on request: the first ctrl-C (or SIGTERM) asks a training loop to save and end, the second ends the program at once.

use crate::failure::Failure;
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
