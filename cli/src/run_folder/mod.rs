//! A run's folder: its settings (`config.toml`) and its metrics (`metrics.jsonl` and a TensorBoard event file).
//!
//! A folder holds one run. Starting a second one in it is refused before anything is written; a resumed run goes on in the
//! same files, and what was logged after the checkpoint it resumes from is dropped, so that the metrics read as those of a
//! run that was never stopped.

mod atomic;
mod error;
mod lock;
mod metrics;
mod record;
mod tensorboard;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use atomic::{write_atomically, write_page};
pub use error::RunFolderError;
pub use lock::take_where_there_is_one as take_lock_where_there_is_one;
pub use metrics::{Metrics, read_metrics};
pub use record::Record;

use error::writing;

/// The name of the settings file in the run's folder.
pub const CONFIG: &str = "config.toml";

/// What the files say by which a folder is known to hold a run or a model.
fn occupied(folder: &Path) -> Option<RunFolderError> {
    let found = |names: [&'static str; 2]| names.into_iter().find(|name| folder.join(name).exists());
    let run = found([metrics::FILE, CONFIG]).map(|file| format!("a run ({file} is there): choose another folder, or resume that run"));
    let model = || found(["model.safetensors", "config.json"]).map(|file| format!("a model ({file} is there): choose another folder"));
    run.or_else(model).map(|what| RunFolderError::Occupied { folder: folder.to_owned(), what })
}

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
    /// Held for as long as the run goes on.
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
        if path.exists() && !path.is_dir() {
            return Err(RunFolderError::NotAFolder { path });
        }
        if let Some(error) = occupied(&path) {
            return Err(error);
        }
        fs::create_dir_all(&path).map_err(writing(&path))?;
        let lock = Arc::new(lock::take(&path)?);
        // Another process may have begun, and ended, a run there since.
        occupied(&path).map_or(Ok(Self { path, lock }), Err)
    }

    /// Opens the folder of a run that was stopped, at whatever moment.
    ///
    /// # Errors
    /// [`RunFolderError::NothingToResume`] where there is neither `metrics.jsonl` nor `config.toml`; [`RunFolderError::Busy`].
    pub fn resume(path: impl Into<PathBuf>) -> Result<Self, RunFolderError> {
        let path = path.into();
        if !path.join(metrics::FILE).is_file() && !path.join(CONFIG).is_file() {
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

    /// Writes `config.toml`, whole or not at all, where it has another text; returns the text.
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

    /// Makes the folder again as far as it can be, where it or its metrics were moved or removed while the run went on: `config.toml`, the
    /// metrics that were logged so far, and the lock.
    ///
    /// # Errors
    /// [`RunFolderError::Gone`] with the reason.
    pub fn make_again(&mut self, metrics: &Metrics, config: &str) -> Result<Metrics, RunFolderError> {
        let gone = |error: RunFolderError| RunFolderError::Gone { folder: self.path.clone(), reason: error.to_string() };
        let made = || {
            fs::create_dir_all(&self.path).map_err(writing(&self.path))?;
            let lock = if self.file(lock::FILE).exists() { self.lock.clone() } else { Arc::new(lock::take(&self.path)?) };
            self.write_config(Ok(config.to_owned()))?;
            Ok((lock, metrics.written_again(&self.path)?))
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
        Metrics::create(&self.path)
    }

    /// Goes on with the metrics of a run whose last checkpoint was written after `step`, or that has none (`None`); later records are dropped, and so is
    /// a last line that was cut off while it was written.
    ///
    /// # Errors
    /// [`RunFolderError::Read`], [`RunFolderError::Malformed`] (a bad line that is not the last), [`RunFolderError::Write`].
    pub fn resume_metrics(&self, step: Option<u64>) -> Result<Metrics, RunFolderError> {
        Metrics::resume(&self.path, step)
    }
}

/// Removes files that a write left unfinished when the process was ended: `.NAME.PROCESS.COUNT.tmp`.
fn remove_litter(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let unfinished = |name: &str| name.starts_with('.') && name.ends_with(".tmp");
    for entry in entries.filter(|entry| entry.file_name().to_str().is_some_and(unfinished)) {
        // One that cannot be removed is in nobody's way.
        let _ = fs::remove_file(entry.path());
    }
}
