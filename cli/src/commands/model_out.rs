//! The folder into which `convert` and `merge` write a model. It is written beside its place until it is complete. It replaces a model only
//! if this is asked for.

use crate::failure::Failure;
use crate::run_folder;
use crate::terminal;
use model::files::is_there;
use model::model_folder::what_is_in;
use model::whole_folder::WholeFolder;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Refuses a folder that holds a model, an adapter or a run. `advice` says what to do.
///
/// # Errors
/// [`Failure::Failed`], with the name of the file that shows it.
pub fn refuse_occupied(place: &Path, advice: &str) -> Result<(), Failure> {
    let Some((what, file)) = what_is_in(place)? else { return Ok(()) };
    Err(Failure::Failed(format!("{} already holds {what} ({file} is there): {advice}", place.display())))
}

/// A folder that is being written.
pub struct ModelOut {
    place: PathBuf,
    folder: WholeFolder,
    /// The kind of content that will be replaced.
    replaced: Option<&'static str>,
    /// The lock of the run's folder. It keeps a run from resuming there while the model is written.
    _lock: Option<File>,
}

impl ModelOut {
    /// Begins a folder for `place`. With `force`, a model in this place is replaced as a whole.
    ///
    /// # Errors
    /// [`Failure::Failed`] if the place holds a model, an adapter or a run that must not be replaced; [`Failure::RunFolder`] if a run is
    /// active there; the errors of [`WholeFolder::begin`].
    pub fn begin(place: &Path, force: bool) -> Result<Self, Failure> {
        let lock = run_folder::take_lock_where_there_is_one(place)?;
        if !force {
            refuse_occupied(place, "choose another --out, or give --force to replace it")?;
        }
        let there = what_is_in(place)?;
        let folder = WholeFolder::begin(place, force)?;
        Ok(Self { place: place.to_owned(), folder, replaced: there.map(|(what, _)| what), _lock: lock })
    }

    /// Fills the folder with `fill`, which gets its path, and moves the folder to its place.
    ///
    /// # Errors
    /// The errors of `fill` and of [`WholeFolder::finish`]. The content of the place is then unchanged.
    pub fn fill<T>(self, fill: impl FnOnce(&Path) -> model::Result<T>) -> Result<T, Failure> {
        let made = fill(self.folder.path()).map_err(|error| self.folder.at_place(error))?;
        self.folder.finish()?;
        if self.replaced.is_some() && is_there(&self.place.join("metrics.jsonl"))? {
            let place = self.place.display();
            let warning =
                format!("warning: the records of a run in {place} (metrics.jsonl, config.toml …) are of the model that was replaced");
            terminal::say(&terminal::line(&warning));
        }
        Ok(made)
    }
}
