//! Writing a file whole or not at all, with the system's own error.

use std::io;
use std::path::Path;

/// Replaces the file at `path` by `bytes` in one step; missing parent folders are made.
///
/// # Errors
/// The system's; the old file is then untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    }
    if let Some(folder) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    model::atomic::atomic_write(path, bytes).map_err(|error| match error {
        model::Error::Io { source, .. } => source,
        other => io::Error::other(other),
    })
}
