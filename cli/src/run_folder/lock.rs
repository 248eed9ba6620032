//! One run at a time in a folder: a lock that the system drops when the process ends, however it ends.

use super::{RunFolderError, writing};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

/// The file that is locked; it holds the number of the process that has it.
pub(super) const FILE: &str = "run.lock";

/// Locks a folder until the returned file is closed.
///
/// # Errors
/// [`RunFolderError::Busy`] where another process has it; [`RunFolderError::Write`].
pub(super) fn take(folder: &Path) -> Result<File, RunFolderError> {
    let path = folder.join(FILE);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(writing(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            // Who has it is good to know, and not needed.
            let _ = file.read_to_string(&mut process);
            return Err(RunFolderError::Busy { folder: folder.to_owned(), process: process.trim().to_owned() });
        }
        Err(TryLockError::Error(source)) => return Err(RunFolderError::Write { path, source }),
    }
    let numbered = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
    numbered.map_err(writing(&path))?;
    Ok(file)
}
