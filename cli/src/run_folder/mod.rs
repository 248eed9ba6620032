//! A run's folder: its settings (`config.toml`) and its metrics (`metrics.jsonl` and a TensorBoard event file).
//!
//! A folder holds one run. Starting a second one in it is refused before anything is written; a resumed run goes on in the
//! same files, and what was logged after the checkpoint it resumes from is dropped, so that the metrics read as those of a
//! run that was never stopped.

mod atomic;
mod metrics;
mod tensorboard;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use atomic::write_atomically;
pub use metrics::{Metrics, Record, read_metrics};

/// Files by which a folder is known to hold a run or a model.
const MARKS: [&str; 4] = ["metrics.jsonl", "config.toml", "model.safetensors", "config.json"];

/// Why a run's folder could not be made, written or read.
#[derive(Debug, thiserror::Error)]
pub enum RunFolderError {
    /// Starting a run where there is one.
    #[error("{} already holds a run ({file} is there): choose another folder, or resume that run", .folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// The file that gives the run away.
        file: &'static str,
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
    #[error("cannot write {}: {source}", .path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system refused to read a file.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
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

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes the folder, with its parents, for a new run. Other files may already be in it.
    ///
    /// # Errors
    /// [`RunFolderError::Occupied`] where it holds a run or a model, [`RunFolderError::NotAFolder`], [`RunFolderError::Write`].
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, RunFolderError> {
        let path = path.into();
        if path.exists() && !path.is_dir() {
            return Err(RunFolderError::NotAFolder { path });
        }
        if let Some(file) = MARKS.into_iter().find(|mark| path.join(mark).exists()) {
            return Err(RunFolderError::Occupied { folder: path, file });
        }
        fs::create_dir_all(&path).map_err(writing(&path))?;
        Ok(Self { path })
    }

    /// Opens the folder of a run that was stopped.
    ///
    /// # Errors
    /// [`RunFolderError::NothingToResume`] where there is no `metrics.jsonl`.
    pub fn resume(path: impl Into<PathBuf>) -> Result<Self, RunFolderError> {
        let path = path.into();
        match path.join(metrics::FILE).is_file() {
            true => Ok(Self { path }),
            false => Err(RunFolderError::NothingToResume { folder: path }),
        }
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in the folder.
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes `config.toml`, whole or not at all.
    ///
    /// # Errors
    /// [`RunFolderError::Config`] where `config` has no TOML form (it is not a table), [`RunFolderError::Write`].
    pub fn write_config(&self, config: &impl serde::Serialize) -> Result<(), RunFolderError> {
        let path = self.file("config.toml");
        let text = toml::to_string_pretty(config).map_err(|source| RunFolderError::Config { path: path.clone(), source })?;
        write_atomically(&path, text.as_bytes()).map_err(writing(&path))
    }

    /// Begins the metrics of a new run.
    ///
    /// # Errors
    /// [`RunFolderError::Write`].
    pub fn metrics(&self) -> Result<Metrics, RunFolderError> {
        Metrics::create(self)
    }

    /// Goes on with the metrics of a run whose last checkpoint was written after `step`; later records are dropped, and so is
    /// a last line that was cut off while it was written.
    ///
    /// # Errors
    /// [`RunFolderError::Read`], [`RunFolderError::Malformed`] (a bad line that is not the last), [`RunFolderError::Write`].
    pub fn resume_metrics(&self, step: u64) -> Result<Metrics, RunFolderError> {
        Metrics::resume(self, step)
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
