//! A run's folder: its settings (`config.toml`) and its metrics (`metrics.jsonl` and a TensorBoard event file).
//!
//! A folder holds one run. Starting a second one in it is refused before anything is written; a resumed run goes on in the
//! same files, and what was logged after the checkpoint it resumes from is dropped, so that the metrics read as those of a
//! run that was never stopped.

mod atomic;
mod lock;
mod metrics;
mod record;
mod tensorboard;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use atomic::{write_atomically, write_page};
pub use lock::take_where_there_is_one as take_lock_where_there_is_one;
pub use metrics::{Metrics, read_metrics};
pub use record::Record;

use model::error::io_words;

/// The name of the settings file in the run's folder.
pub const CONFIG: &str = "config.toml";

/// Files that show that a folder holds a run or a model.
const MARKS: [&str; 4] = [metrics::FILE, CONFIG, "model.safetensors", "config.json"];

/// Failures to make, write or read a run's folder.
#[derive(Debug, thiserror::Error)]
pub enum RunFolderError {
    /// A new run in a folder that already holds one.
    #[error("{} already holds {}", .folder.display(), occupied_by(file))]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// The file that shows it.
        file: &'static str,
    },
    /// Another process trains in the folder.
    #[error("{}: another run is going on there (process {process}): wait for it, end it, or choose another --out", .folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
        /// The process id, as the process wrote it.
        process: String,
    },
    /// Resuming in a folder without a run.
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

/// What `file` shows to be in a folder, and what to do about it.
fn occupied_by(file: &str) -> String {
    match file {
        metrics::FILE | CONFIG => format!("a run ({file} is there): choose another folder, or resume that run"),
        _ => format!("a model ({file} is there): choose another folder"),
    }
}

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
    /// Held for the whole run.
    lock: Arc<File>,
}

impl RunFolder {
    /// Makes the folder, with its parents, for a new run. Other files may already be in it.
    ///
    /// # Errors
    /// [`RunFolderError::Occupied`] where it holds a run or a model, [`RunFolderError::NotAFolder`],
    /// [`RunFolderError::Busy`], [`RunFolderError::Write`].
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, RunFolderError> {
        let path = path.into();
        if fs::metadata(&path).is_ok_and(|about| !about.is_dir()) {
            return Err(RunFolderError::NotAFolder { path });
        }
        if let Some(file) = mark(&path)? {
            return Err(RunFolderError::Occupied { folder: path, file });
        }
        fs::create_dir_all(&path).map_err(writing(&path))?;
        let lock = Arc::new(lock::take(&path)?);
        // Another process may have begun, and ended, a run there since.
        match mark(&path)? {
            Some(file) => Err(RunFolderError::Occupied { folder: path, file }),
            None => Ok(Self { path, lock }),
        }
    }

    /// Opens the folder of a run that was stopped at any moment.
    ///
    /// # Errors
    /// [`RunFolderError::NothingToResume`] where there is neither `metrics.jsonl` nor `config.toml`; [`RunFolderError::Busy`].
    pub fn resume(path: impl Into<PathBuf>) -> Result<Self, RunFolderError> {
        let path = path.into();
        if !is_there(&path.join(metrics::FILE))? && !is_there(&path.join(CONFIG))? {
            return Err(RunFolderError::NothingToResume { folder: path });
        }
        let lock = Arc::new(lock::take(&path)?);
        remove_litter(&path);
        Ok(Self { path, lock })
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in the folder.
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes `config.toml` atomically if its text differs, and returns the text.
    ///
    /// # Errors
    /// [`RunFolderError::Config`] where `text` could not be made, [`RunFolderError::Write`].
    pub fn write_config(&self, text: Result<String, toml::ser::Error>) -> Result<String, RunFolderError> {
        let path = self.file(CONFIG);
        let text = text.map_err(|source| RunFolderError::Config { path: path.clone(), source })?;
        if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(text);
        }
        write_atomically(&path, text.as_bytes()).map_err(writing(&path))?;
        Ok(text)
    }

    /// Restores a folder that was moved or removed during the run, as far as possible: `config.toml`, the metrics logged so far, and the
    /// lock.
    ///
    /// # Errors
    /// [`RunFolderError::Gone`] with the reason.
    pub fn make_again(&mut self, metrics: &Metrics, config: &str) -> Result<Metrics, RunFolderError> {
        let gone = |error: RunFolderError| RunFolderError::Gone { folder: self.path.clone(), reason: error.to_string() };
        let made = || {
            fs::create_dir_all(&self.path).map_err(writing(&self.path))?;
            let lock = if is_there(&self.file(lock::FILE))? { self.lock.clone() } else { Arc::new(lock::take(&self.path)?) };
            self.write_config(Ok(config.to_owned()))?;
            Ok((lock, metrics.written_again(self)?))
        };
        let (lock, metrics) = made().map_err(gone)?;
        self.lock = lock;
        Ok(metrics)
    }

    /// Begins the metrics of a new run.
    ///
    /// # Errors
    /// [`RunFolderError::Write`].
    pub fn metrics(&self) -> Result<Metrics, RunFolderError> {
        Metrics::create(self)
    }

    /// Continues the metrics of a run whose last checkpoint was written after `step` (`None`: the run has no checkpoint). Later records are
    /// dropped, and so is an incomplete last line.
    ///
    /// # Errors
    /// [`RunFolderError::Read`], [`RunFolderError::Malformed`] (a bad line that is not the last), [`RunFolderError::Write`].
    pub fn resume_metrics(&self, step: Option<u64>) -> Result<Metrics, RunFolderError> {
        Metrics::resume(self, step)
    }
}

/// The first of a folder's files that show a run or a model.
fn mark(folder: &Path) -> Result<Option<&'static str>, RunFolderError> {
    for mark in MARKS {
        if is_there(&folder.join(mark))? {
            return Ok(Some(mark));
        }
    }
    Ok(None)
}

/// Whether something is at a path; an error where the system does not say.
fn is_there(path: &Path) -> Result<bool, RunFolderError> {
    match fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(source) => Err(RunFolderError::Read { path: path.to_owned(), source }),
    }
}

/// Removes temporary files of interrupted writes: `.NAME.PROCESS.COUNT.tmp`.
fn remove_litter(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let unfinished = |name: &str| name.starts_with('.') && name.ends_with(".tmp");
    for entry in entries.filter(|entry| entry.file_name().to_str().is_some_and(unfinished)) {
        // One that cannot be removed is in nobody's way.
        let _ = fs::remove_file(entry.path());
    }
}

/// Turns a system error into a [`RunFolderError::Write`] for `path`.
fn writing(path: &Path) -> impl FnOnce(io::Error) -> RunFolderError {
    let path = path.to_path_buf();
    move |source| RunFolderError::Write { path, source }
}

/// Turns a system error into a [`RunFolderError::Read`] of `path`.
fn reading(path: &Path) -> impl FnOnce(io::Error) -> RunFolderError {
    let path = path.to_path_buf();
    move |source| RunFolderError::Read { path, source }
}
