//! Files of a run, written whole or not at all and read whole, with the system's own error.

use model::files;
use std::io;
use std::path::Path;

/// Replaces the file at `path` by `bytes` atomically and makes missing parent folders. Refuses anything but a regular file.
///
/// # Errors
/// The system's error; the old file is then untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    make_parents(path)?;
    model::atomic::atomic_write(path, bytes).map_err(|error| match error {
        model::Error::Io { source, .. } => source,
        other => io::Error::other(other),
    })
}

/// Like [`write_atomically`], but writes into a pipe or a device at `path`. For pages that other programs read.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_page(path: &Path, html: &str) -> io::Result<()> {
    make_parents(path)?;
    model::atomic::write_output(path, crate::terminal::page(html).as_bytes())
}

/// Reads a regular file of text that fits into memory.
///
/// # Errors
/// The system's error, or the reason to refuse the file.
pub(super) fn read_whole(path: &Path) -> io::Result<String> {
    files::read_text(path, files::of_memory()).map_err(|error| match error {
        model::Error::Io { source, .. } => source,
        model::Error::BadFile { reason, .. } => io::Error::other(reason),
        model::Error::BadRow { line, reason, .. } => io::Error::other(format!("line {line}: {reason}")),
        other => io::Error::other(other),
    })
}

fn make_parents(path: &Path) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    }
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), std::fs::create_dir_all)
}
