//! The folder that `convert` and `merge` write a model into: beside its place until it is whole, and never over a model unless that is
//! asked for.

use crate::failure::Failure;
use crate::run_folder;
use crate::terminal;
use model::files::is_there;
use model::model_folder::what_is_in;
use model::whole_folder::WholeFolder;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Refuses a folder that holds a model, an adapter or a run; `advice` says what to do.
///
/// # Errors
/// [`Failure::Failed`] naming the file that tells.
pub fn refuse_occupied(place: &Path, advice: &str) -> Result<(), Failure> {
    let Some((what, file)) = what_is_in(place)? else { return Ok(()) };
    Err(Failure::Failed(format!("{} already holds {what} ({file} is there): {advice}", place.display())))
}

/// A folder that is being written.
pub struct ModelOut {
    place: PathBuf,
    folder: WholeFolder,
    /// What the folder held that is replaced.
    replaced: Option<&'static str>,
    /// Held against runs that would go on in the folder meanwhile.
    _lock: Option<File>,
}

impl ModelOut {
    /// Begins a folder for `place`; with `force`, a model that is there is replaced as a whole.
    ///
    /// # Errors
    /// [`Failure::Failed`] where a model, an adapter or a run is there and is not to be replaced; [`Failure::RunFolder`] where a run is
    /// going on there; those of [`WholeFolder::begin`].
    pub fn begin(place: &Path, force: bool) -> Result<Self, Failure> {
        let lock = run_folder::take_lock_where_there_is_one(place)?;
        if !force {
            refuse_occupied(place, "choose another --out, or give --force to replace it")?;
        }
        let there = what_is_in(place)?;
        let folder = WholeFolder::begin(place, force)?;
        Ok(Self { place: place.to_owned(), folder, replaced: there.map(|(what, _)| what), _lock: lock })
    }

    /// Fills the folder with `fill`, which gets its path, and puts it in its place.
    ///
    /// # Errors
    /// Those of `fill` and of [`WholeFolder::finish`]; what was at the place is then as it was.
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
