//! A model's folder that is either complete or missing, and never mixed with another model.
//!
//! The files are written into a temporary folder (`.NAME.PROCESS.COUNT.tmp`) beside the place of the model. Then the temporary folder takes
//! this place. The way depends on what is there:
//!
//! 1. Nothing: the temporary folder is renamed.
//! 2. A folder without a model (an empty folder, a mounted volume, notes): the temporary folder is made inside. Its files are moved up one
//!    by one, the weights last, so that there is no model until it is complete.
//! 3. A folder with a model that is to be replaced:
//!    1. Everything in it that is not the model's gets a second hard link in the new folder.
//!    2. The two folders are exchanged in one system call, so that at each moment the old model or the new one is there.
//!    3. The old folder, now beside the place, is removed.
//!
//! A killed process may leave a temporary folder behind. The next process removes it. It recognises the folder by its name, and by a lock
//! that died with the process.

use crate::atomic::{folder_of, keep_permissions, make_folder, sync_folder, temporary_name};
use crate::error::{Error, Result};
use crate::files::descriptor::follow;
use crate::model_folder::{is_model_file, what_is_in};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A folder that is being written before it takes its place.
#[derive(Debug)]
pub struct WholeFolder {
    place: PathBuf,
    work: PathBuf,
    way: Way,
    /// A lock that tells other processes that this one is alive.
    _lock: File,
}

/// The way in which the new folder takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Rename,
    MoveInto,
    Exchange,
}

impl WholeFolder {
    /// Makes the temporary folder for `place`, and missing parents of `place`. An existing model is replaced only if `replace` is true.
    ///
    /// # Errors
    /// [`Error::Io`]. [`Error::BadFile`] if `place` is not a folder, holds a model that must stay, or cannot be replaced.
    pub fn begin(place: &Path, replace: bool) -> Result<Self> {
        let place = follow(place).map_err(Error::io(place))?;
        let (place, way) = match fs::metadata(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_folder(folder_of(&place))?;
                (place, Way::Rename)
            }
            Err(error) => return Err(Error::io(place)(error)),
            Ok(about) if !about.is_dir() => return Err(Error::bad_file(place, "is a file, and a model needs a folder")),
            Ok(_) => {
                let place = fs::canonicalize(&place).map_err(Error::io(place))?;
                let way = way_into(&place, replace)?;
                (place, way)
            }
        };
        let beside = if way == Way::MoveInto { place.join(place.file_name().unwrap_or("model".as_ref())) } else { place.clone() };
        remove_dead(&beside);
        let (work, lock) = locked_folder(&beside).map_err(Error::io(&place))?;
        Ok(Self { place, work, way, _lock: lock })
    }

    /// Returns the folder into which the files are to be written.
    pub fn path(&self) -> &Path {
        &self.work
    }

    /// Changes an error about a file of the temporary folder to one about the file at its final place.
    pub fn at_place(&self, mut error: Error) -> Error {
        if let Error::Io { path, .. } | Error::BadFile { path, .. } | Error::NonFinite { path, .. } | Error::Json { path, .. } = &mut error
            && let Ok(rest) = path.strip_prefix(&self.work)
        {
            *path = self.place.join(rest);
        }
        error
    }

    /// Puts the folder in its place.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::BadFile`]. The place is then unchanged, unless the message says otherwise.
    pub fn finish(mut self) -> Result<()> {
        sync_folder(&self.work).map_err(Error::io(&self.work))?;
        match self.way {
            Way::Rename => fs::rename(&self.work, &self.place).map_err(Error::io(&self.place))?,
            Way::MoveInto => self.move_into()?,
            Way::Exchange => self.exchange()?,
        }
        sync_folder(folder_of(&self.place)).map_err(Error::io(&self.place))
    }

    /// Moves each file to its place, the weights last. If a file cannot be moved, the files moved before are removed.
    fn move_into(&self) -> Result<()> {
        if let Some((what, file)) = what_is_in(&self.place)? {
            return Err(Error::bad_file(&self.place, format!("{what} has come there meanwhile ({file})")));
        }
        let mut names: Vec<_> = entries(&self.work)?.into_iter().map(|entry| entry.file_name()).collect();
        names.sort_by_key(|name| Path::new(name).extension().is_some_and(|extension| extension == "safetensors"));
        for (moved, name) in names.iter().enumerate() {
            if let Err(error) = fs::rename(self.work.join(name), self.place.join(name)) {
                for name in &names[..moved] {
                    // The first failure is the one to report.
                    let _ = fs::remove_file(self.place.join(name));
                }
                return Err(Error::io(self.place.join(name))(error));
            }
        }
        sync_folder(&self.place).map_err(Error::io(&self.place))
    }

    /// Exchanges the new folder with the one of the old model, and removes the old folder.
    fn exchange(&mut self) -> Result<()> {
        keep_others(&self.place, &self.work)?;
        let about = fs::metadata(&self.place).map_err(Error::io(&self.place))?;
        File::open(&self.work).and_then(|folder| keep_permissions(&folder, &about)).map_err(Error::io(&self.place))?;
        sync_folder(&self.work).map_err(Error::io(&self.work))?;
        let old = swap(&self.work, &self.place)?;
        // The temporary name now belongs to the old folder. It is removed only after everything in it that must stay has been kept.
        self.work = PathBuf::new();
        let removed = sync_folder(folder_of(&self.place)).map_err(Error::io(&self.place)).and_then(|()| {
            // Files may have come into the old folder since the first pass.
            keep_others(&old, &self.place)?;
            fs::remove_dir_all(&old).map_err(Error::io(&old))
        });
        removed.map_err(|error| Error::bad_file(&self.place, format!("holds the new model, and the old one could not be removed: {error}")))
    }
}

impl Drop for WholeFolder {
    fn drop(&mut self) {
        // The folder is gone once it has its place. If it cannot be removed, the next process finds it.
        let _ = fs::remove_dir_all(&self.work);
    }
}

/// Chooses the way in which files come into an existing folder.
fn way_into(place: &Path, replace: bool) -> Result<Way> {
    match what_is_in(place)? {
        None => Ok(Way::MoveInto),
        Some((what, file)) if !replace => Err(Error::bad_file(place, format!("already holds {what} ({file} is there)"))),
        Some(_) if std::env::current_dir().is_ok_and(|current| current.starts_with(place)) => {
            Err(Error::bad_file(place, "cannot be replaced from within: run the command in another folder"))
        }
        Some(_) => Ok(Way::Exchange),
    }
}

/// Exchanges two folders. Returns the new path of the old one.
fn swap(new: &Path, place: &Path) -> Result<PathBuf> {
    match exchange_at_once(new, place) {
        Ok(true) => Ok(new.to_owned()),
        Ok(false) => swap_in_two_steps(new, place),
        Err(error) => Err(Error::bad_file(place, format!("the folder cannot be replaced: {error}; choose another --out"))),
    }
}

/// Exchanges two folders in one system call. Returns false if the system or the file system has no such call.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn exchange_at_once(new: &Path, place: &Path) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, new, CWD, place, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn exchange_at_once(_: &Path, _: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Renames the old folder, then moves the new one to its place. Between the two steps there is no model at the place, and the old folder's
/// new name says so.
fn swap_in_two_steps(new: &Path, place: &Path) -> Result<PathBuf> {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let aside = place.with_file_name(format!("{name}.replaced-by-{}", std::process::id()));
    fs::rename(place, &aside).map_err(Error::io(place))?;
    let Err(error) = fs::rename(new, place) else { return Ok(aside) };
    Err(match fs::rename(&aside, place) {
        Ok(()) => Error::io(place)(error),
        Err(_) => Error::bad_file(place, format!("could not be replaced ({error}); the old model is in {}", aside.display())),
    })
}

/// Links everything in `from` that is not a model's file into `to`, unless its name is taken there.
fn keep_others(from: &Path, to: &Path) -> Result<()> {
    for entry in entries(from)? {
        if !entry.file_name().to_str().is_some_and(is_model_file) {
            keep(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Keeps one entry: a second hard link to a file, a copy of a symbolic link, or a new folder of such entries.
fn keep(from: &Path, to: &Path) -> Result<()> {
    let cannot = |error: io::Error| Error::bad_file(from, format!("cannot be kept beside the new model ({error}): move it away first"));
    let about = fs::symlink_metadata(from).map_err(cannot)?;
    if about.is_dir() {
        make_folder(to)?;
        File::open(to).and_then(|folder| keep_permissions(&folder, &about)).map_err(cannot)?;
        return entries(from)?.into_iter().try_for_each(|entry| keep(&entry.path(), &to.join(entry.file_name())));
    }
    match if about.is_symlink() { copy_link(from, to) } else { fs::hard_link(from, to) } {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(cannot(error)),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn copy_link(from: &Path, to: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(fs::read_link(from)?, to)
}

#[cfg(not(unix))]
fn copy_link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)
}

fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>> {
    fs::read_dir(folder).and_then(Iterator::collect).map_err(Error::io(folder))
}

/// Makes a new temporary folder for `place`, locked for as long as this process lives. A file system without locks gives no lock, but there
/// no process takes another's folder for dead.
fn locked_folder(place: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        let work = temporary_name(place);
        match fs::create_dir(&work) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made?,
        }
        // Before the folder is locked, another process may take it for dead and remove it.
        match File::open(&work) {
            Ok(folder) if !matches!(folder.try_lock(), Err(TryLockError::WouldBlock)) && fs::metadata(&work).is_ok() => {
                return Ok((work, folder));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
}

/// Removes the folders `.NAME.PROCESS.COUNT.tmp` beside `place` that no process holds any more.
fn remove_dead(place: &Path) {
    let start = format!(".{}.", place.file_name().unwrap_or_default().to_string_lossy());
    let is_ours = |name: &str| {
        let numbers = name.strip_prefix(&start).and_then(|rest| rest.strip_suffix(".tmp")).and_then(|rest| rest.split_once('.'));
        numbers.is_some_and(|(process, count)| process.parse::<u32>().is_ok() && count.parse::<u64>().is_ok())
    };
    for entry in fs::read_dir(folder_of(place)).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_folder = || entry.file_type().is_ok_and(|kind| kind.is_dir());
        let is_dead = || is_folder() && File::open(&path).is_ok_and(|folder| folder.try_lock().is_ok());
        if entry.file_name().to_str().is_some_and(is_ours) && is_dead() {
            // A folder that cannot be removed does no harm.
            let _ = fs::remove_dir_all(path);
        }
    }
}

#[cfg(test)]
mod tests;
