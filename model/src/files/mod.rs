//! The reading of whole files: each is a regular file, and no longer than its format can be.
//!
//! A path can lead to anything. A link to `/dev/zero` never ends, a named pipe without a writer never begins, and opening a device can have
//! effects. So each file that is read as a whole is read here:
//!
//! 1. The path is checked before it is opened. Links are followed. Anything but a regular file is refused, and the error names its kind.
//! 2. The file's length is compared with a [`Limit`] before anything is allocated. The limit also holds while the file is read, so a file
//!    that grows does no harm.
//!
//! Data may also come through a pipe that this process was given: see [`read_data`].

mod content;
pub(crate) mod descriptor;
mod kind;
mod presence;
mod regular;

pub use content::Content;
pub(crate) use kind::special;
pub use presence::{entries, first_there, is_folder, is_there, look};
pub use regular::open;

use crate::error::{Error, Result};
use crate::memory;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The largest size of a kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The most bytes.
    pub bytes: u64,
    /// The contents of such a file, for messages.
    pub of: &'static str,
}

/// `config.json` and the like: some hundred keys. The longest known one lists every layer of a quantised model and has 2 MiB.
pub const SETTINGS: Limit = Limit { bytes: 16 << 20, of: "settings" };
/// `tokenizer.json`, `vocab.json`, `merges.txt`, `tokenizer.bin`: a million tokens and their merges take 100 MiB.
pub const TOKENIZER: Limit = Limit { bytes: 1 << 30, of: "a tokenizer" };
/// A chat template: a program that a person can read.
pub const TEMPLATE: Limit = Limit { bytes: 16 << 20, of: "a chat template" };
/// `model.safetensors.index.json`: a line for each tensor. The limit is that of a safetensors file's header, which has the same lines.
pub const INDEX: Limit = Limit { bytes: 100_000_000, of: "an index of weights" };
/// Settings in TOML: one line for each flag.
pub const FLAGS: Limit = Limit { bytes: 1 << 20, of: "settings in TOML" };

/// Returns the available memory as a limit, for files whose format has no bound: data, metrics, caches. There is no limit if the system
/// does not report its memory.
pub fn of_memory() -> Limit {
    Limit { bytes: memory::available().map_or(u64::MAX, |bytes| bytes as u64), of: "a file that is read into memory" }
}

/// Reads a regular file.
///
/// # Errors
/// As [`open`]. [`Error::BadFile`] if the file has more bytes than `limit`.
pub fn read(path: &Path, limit: Limit) -> Result<Vec<u8>> {
    let file = open(path)?;
    let length = file.metadata().map_err(Error::io(path))?.len();
    if length > limit.bytes {
        return Err(too_long(path, Some(length), limit));
    }
    read_up_to(path, file, length, limit)
}

/// Reads a regular file of UTF-8 text.
///
/// # Errors
/// As [`read`]; [`Error::BadRow`] with the line that is not UTF-8.
pub fn read_text(path: &Path, limit: Limit) -> Result<String> {
    String::from_utf8(read(path, limit)?).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        Error::BadRow { path: path.to_owned(), line, reason: "not UTF-8 text".to_owned() }
    })
}

/// Reads data from a regular file, or from a pipe that this process was given at its start: standard input (`/dev/stdin`) or a shell's
/// `<(command)` (`/dev/fd/N`).
///
/// Such a pipe is read until the program at its other end closes it. Its bytes are kept, so that they can be read again. A named pipe in
/// the file system is refused, because it may never end or never begin. Devices and terminals are refused too. No more is read than fits
/// into memory.
///
/// # Errors
/// As [`read`], with the available memory as the limit.
pub fn read_data(path: &Path) -> Result<Vec<u8>> {
    let about = fs::metadata(path).map_err(Error::io(path))?;
    let Some(kind) = special(about.file_type()) else { return read(path, of_memory()) };
    match descriptor::of(path) {
        Some(number) if descriptor::is_pipe(about.file_type()) => read_pipe(path, number),
        _ => {
            let reason = format!("is {kind}; data is a regular file, or comes through standard input from another program (/dev/stdin)");
            Err(Error::bad_file(path, reason))
        }
    }
}

/// Reads a pipe to its end the first time, and returns the same bytes from then on.
fn read_pipe(path: &Path, number: u32) -> Result<Vec<u8>> {
    static READ: Mutex<BTreeMap<u32, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut known = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bytes) = known.get(&number) {
        return Ok(bytes.clone());
    }
    let bytes = match number {
        0 => read_up_to(path, io::stdin().lock(), 0, of_memory())?,
        _ => read_up_to(path, File::open(path).map_err(Error::io(path))?, 0, of_memory())?,
    };
    known.insert(number, bytes.clone());
    Ok(bytes)
}

/// Reads to the end. `expected` is the length as far as it is known.
fn read_up_to(path: &Path, from: impl Read, expected: u64, limit: Limit) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(expected as usize);
    from.take(limit.bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > limit.bytes { Err(too_long(path, None, limit)) } else { Ok(bytes) }
}

fn too_long(path: &Path, length: Option<u64>, limit: Limit) -> Error {
    let length = length.map_or_else(|| "is longer".to_owned(), |length| format!("has {}", memory::size(length as f64)));
    Error::bad_file(path, format!("{length}, and {} may have {} at most", limit.of, memory::size(limit.bytes as f64)))
}

#[cfg(test)]
mod tests;
