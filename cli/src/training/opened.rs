//! Opening the folder of a run: a new one, or one that continues.

use super::request::RunRequest;
use super::resumed::Remarks;
use crate::arguments::RunSettings;
use crate::failure::Failure;
use crate::run_folder::{Metrics, RunFolder};
use engine::Device;
use model::checkpoint::{self, RunState};
use model::train::Trainer;
use toml::Table;

/// The opened folder of a run.
pub struct Opened {
    /// The folder, locked for this run.
    pub folder: RunFolder,
    /// Its metrics, without those of steps that are to be made again.
    pub metrics: Metrics,
    /// The steps that are done; 0 for a new run.
    pub done: u64,
    /// Changed settings that do not change the result.
    pub notes: Vec<String>,
    /// Everything else to tell the user.
    pub warnings: Vec<String>,
    /// The text of its config.toml.
    pub config: String,
}

impl Opened {
    /// Creates the folder of a new run.
    ///
    /// # Errors
    /// [`Failure::RunFolder`] if it exists with files in it, or cannot be written.
    pub fn create(request: &RunRequest, settings: &RunSettings) -> Result<Self, Failure> {
        let folder = RunFolder::create(&request.out)?;
        let config = folder.write_config(settings.to_toml(&[]))?;
        let metrics = folder.metrics()?.with_names(settings.metric_names());
        Ok(Self { folder, metrics, done: 0, notes: Vec::new(), warnings: Vec::new(), config })
    }

    /// Opens the folder of a run that stopped and restores its newest checkpoint. A run that cannot continue is left unchanged.
    ///
    /// # Errors
    /// [`Failure::Usage`] if the run cannot continue with these settings, [`Failure::Model`] for its checkpoints, [`Failure::RunFolder`]
    /// for its other files.
    pub fn resume(request: &RunRequest, trainer: &mut Trainer<Device>, state: &RunState, settings: &RunSettings) -> Result<Self, Failure> {
        let folder = RunFolder::resume(&request.out)?;
        let restored = match checkpoint::exists(folder.path())? {
            true => Some(checkpoint::restore(folder.path(), trainer, state)?),
            false => None,
        };
        let done = restored.as_ref().map_or(0, |restored| restored.step);
        let Remarks { notes, warnings, entry } = Remarks::of(request, restored.as_ref())?;
        let metrics = folder.resume_metrics(restored.map(|restored| restored.step))?.with_names(settings.metric_names());
        let history: Vec<Table> = request.layers.history.iter().cloned().chain(entry).collect();
        let config = folder.write_config(settings.to_toml(&history))?;
        checkpoint::drop_old(folder.path(), done, request.keep)?;
        Ok(Self { folder, metrics, done, notes, warnings, config })
    }
}
