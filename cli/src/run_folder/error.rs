//! Why a run's folder could not be made, written or read.

use model::error::io_words;
use std::io;
use std::path::{Path, PathBuf};

/// Why a run's folder could not be made, written or read.
#[derive(Debug, thiserror::Error)]
pub enum RunFolderError {
    /// Starting a run where there is one.
    #[error("{} already holds {what}", .folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// What it holds, by the file that gives it away, and what to do.
        what: String,
    },
    /// Another process trains there.
    #[error("{}: another run is going on there (process {process}): wait for it, end it, or choose another --out", .folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
        /// The number of the process, as it wrote it.
        process: String,
    },
    /// Resuming where there is no run.
    #[error("{} holds no run to resume: it has no metrics.jsonl", .folder.display())]
    NothingToResume {
        /// The folder.
        folder: PathBuf,
    },
    /// The path of the folder is a file.
    #[error("{} is a file: a run needs a folder", .path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// The system refused to create or write a file or folder (a full disk, missing permission …).
    #[error("cannot write {}: {}", .path.display(), io_words(source))]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system refused to read a file.
    #[error("cannot read {}: {}", .path.display(), io_words(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The folder was moved or removed while the run went on, and cannot be made again.
    #[error("{}: the run's folder was moved or removed while the run went on, and cannot be made again: {reason}", .folder.display())]
    Gone {
        /// The folder.
        folder: PathBuf,
        /// Why it cannot be made.
        reason: String,
    },
    /// A line of `metrics.jsonl` is not a metrics record.
    #[error("{}, line {line}: {reason}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The settings have no TOML form.
    #[error("cannot write the settings to {}: {source}", .path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What TOML cannot express.
        source: toml::ser::Error,
    },
}

/// Turns a system error into a [`RunFolderError::Write`] for `path`.
pub fn writing(path: &Path) -> impl FnOnce(io::Error) -> RunFolderError {
    let path = path.to_path_buf();
    move |source| RunFolderError::Write { path, source }
}

/// Turns a system error into a [`RunFolderError::Read`] of `path`.
pub fn reading(path: &Path) -> impl FnOnce(io::Error) -> RunFolderError {
    let path = path.to_path_buf();
    move |source| RunFolderError::Read { path, source }
}
