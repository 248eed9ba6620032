//! One run at a time in a folder, by a lock that the system releases when the process ends in any way.

use super::error::{RunFolderError, writing};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;

/// The locked file. It contains the process id of the holder.
pub(super) const FILE: &str = "run.lock";
/// Upper bound on the digits of a process id.
const LONGEST_NUMBER: u64 = 20;

/// Locks a folder until the returned file is closed.
///
/// # Errors
/// [`RunFolderError::Busy`] if another process holds the lock; [`RunFolderError::Write`].
pub(super) fn take(folder: &Path) -> Result<File, RunFolderError> {
    let path = folder.join(FILE);
    refuse_other_than_files(&path)?;
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(writing(&path))?;
    lock(folder, &path, &mut file)?;
    let numbered = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
    numbered.map_err(writing(&path))?;
    Ok(file)
}

/// Locks the folder of an earlier run until the returned file is closed; `None` if there was no run.
///
/// # Errors
/// As [`take`].
pub fn take_where_there_is_one(folder: &Path) -> Result<Option<File>, RunFolderError> {
    let path = folder.join(FILE);
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    refuse_other_than_files(&path)?;
    let mut file = File::open(&path).map_err(writing(&path))?;
    lock(folder, &path, &mut file)?;
    Ok(Some(file))
}

fn lock(folder: &Path, path: &Path, file: &mut File) -> Result<(), RunFolderError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            // Who has it is good to know, and not needed.
            let _ = file.take(LONGEST_NUMBER).read_to_string(&mut process);
            Err(RunFolderError::Busy { folder: folder.to_owned(), process: process.trim().to_owned() })
        }
        Err(TryLockError::Error(source)) => Err(RunFolderError::Write { path: path.to_owned(), source }),
    }
}

/// Refuses links, which would redirect the process id to another file, and pipes, which would block.
fn refuse_other_than_files(path: &Path) -> Result<(), RunFolderError> {
    match fs::symlink_metadata(path) {
        Ok(about) if !about.is_file() => {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "is no regular file: remove it");
            Err(RunFolderError::Write { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
