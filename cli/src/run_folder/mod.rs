//! A run's folder: its settings (`config.toml`) and its metrics (`metrics.jsonl` and a TensorBoard event file).
//!
//! A folder holds one run. Starting a second one in it is refused before anything is written; a resumed run goes on in the
//! same files, and what was logged after the checkpoint it resumes from is dropped, so that the metrics read as those of a
//! run that was never stopped.

mod atomic;
mod error;
mod lock;
mod metrics;
mod names;
mod record;
mod tensorboard;
#[cfg(test)]
mod tests;

use model::files;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use atomic::{write_atomically, write_page};
pub use error::RunFolderError;
pub use lock::take_where_there_is_one as take_lock_where_there_is_one;
pub use metrics::{Metrics, read_metrics};
pub use names::MetricNames;
pub use record::Record;

use error::{reading, writing};

/// The name of the settings file in the run's folder.
pub const CONFIG: &str = "config.toml";

/// Refuses a folder with a file by which it is known to hold a run or a model.
fn refuse_occupied(folder: &Path) -> Result<(), RunFolderError> {
    const MARKS: [(&str, &str, &str); 4] = [
        (metrics::FILE, "a run", ", or resume that run"),
        (CONFIG, "a run", ", or resume that run"),
        ("model.safetensors", "a model", ""),
        ("config.json", "a model", ""),
    ];
    for (file, what, way_out) in MARKS {
        if is_there(&folder.join(file))? {
            let what = format!("{what} ({file} is there): choose another folder{way_out}");
            return Err(RunFolderError::Occupied { folder: folder.to_owned(), what });
        }
    }
    Ok(())
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
        refuse_occupied(&path)?;
        fs::create_dir_all(&path).map_err(writing(&path))?;
        let lock = Arc::new(lock::take(&path)?);
        // Another process may have begun, and ended, a run there since.
        refuse_occupied(&path)?;
        Ok(Self { path, lock })
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

    /// Continues the metrics of a run whose last checkpoint was written after `step` (`None`: the run has no checkpoint). Later records are
    /// dropped, and so is an incomplete last line.
    ///
    /// # Errors
    /// [`RunFolderError::Read`], [`RunFolderError::Malformed`] (a bad line that is not the last), [`RunFolderError::Write`].
    pub fn resume_metrics(&self, step: Option<u64>) -> Result<Metrics, RunFolderError> {
        Metrics::resume(&self.path, step)
    }
}

/// Whether something is at a path; an error where the system does not say.
fn is_there(path: &Path) -> Result<bool, RunFolderError> {
    Ok(files::look(path).map_err(reading(path))?.is_some())
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
