//! The message for a defect of this program, or for a lack of memory or threads: one line and exit code 1. A backtrace is printed only if
//! RUST_BACKTRACE asks for one.

use crate::terminal;
use std::backtrace::Backtrace;
use std::panic::{self, PanicHookInfo};

/// Advice for a run whose memory ran out.
pub const LESS_MEMORY: &str = "take a smaller model or batch (with --accumulate for the same step); what was saved before is whole";

/// Replaces the default message of a panic in any of our threads, and ends the program after the message.
pub fn install() {
    panic::set_hook(Box::new(move |info| {
        // The reader of a damaged file catches this panic and reports an error.
        if std::thread::current().name() == Some(model::data::parquet::THREAD) || model::foreign::is_contained() {
            return;
        }
        // A limit of the GPU, such as its memory, is no defect of this program.
        if let Some(error) = info.payload().downcast_ref::<engine::CudaError>() {
            terminal::say(&terminal::line(&format!("error: {error}")));
            std::process::exit(1);
        }
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            terminal::say(&Backtrace::force_capture().to_string());
        }
        terminal::say(&line(info));
        std::process::exit(1);
    }));
}

fn line(info: &PanicHookInfo<'_>) -> String {
    let what = terminal::line(info.payload_as_str().unwrap_or("unknown reason"));
    if what.starts_with(engine::OUT_OF_MEMORY) {
        return format!("error: {what}: {LESS_MEMORY}");
    }
    // The standard library reports this failure only by these words.
    if what.starts_with("failed to spawn thread") {
        return format!(
            "error: the system starts no more threads ({what}): raise its limits (ulimit -v, ulimit -u) or take fewer (--threads)"
        );
    }
    let place = info.location().map_or(String::new(), |place| format!(" ({}:{})", place.file(), place.line()));
    let version = env!("CARGO_PKG_VERSION");
    format!("error: internal error: {what}{place}; please report it with the command line and slpo's version, {version}")
}
