//! Tests for files at a path. The system may give no answer (a folder that may not be entered, a disk that fails). That is an error here,
//! never "nothing there": a reader would then continue without a file that exists.

use crate::error::{Error, Result};
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// True if there is a file, a folder or anything else. Links are followed.
///
/// # Errors
/// [`Error::Io`] if the system gives no answer.
pub fn is_there(path: &Path) -> Result<bool> {
    Ok(look(path).map_err(Error::io(path))?.is_some())
}

/// True if there is a folder. Links are followed.
///
/// # Errors
/// As [`is_there`].
pub fn is_folder(path: &Path) -> Result<bool> {
    Ok(look(path).map_err(Error::io(path))?.is_some_and(|about| about.is_dir()))
}

/// Returns the sorted paths of a folder's entries. A missing folder has none.
///
/// # Errors
/// As [`is_there`].
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = match fs::read_dir(folder) {
        Err(error) if is_absence(error.kind()) => return Ok(Vec::new()),
        listed => listed.map_err(Error::io(folder))?,
    };
    let mut paths = listed.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(Error::io(folder))?;
    paths.sort();
    Ok(paths)
}

/// Returns the metadata of the file at a path, or `None` if nothing is there. Links are followed.
///
/// # Errors
/// The system's error, if it gives no answer.
pub fn look(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Err(error) if is_absence(error.kind()) => Ok(None),
        about => about.map(Some),
    }
}

/// Returns the first of these names that exists in a folder.
///
/// # Errors
/// As [`is_there`].
pub fn first_there<'a>(folder: &Path, names: &[&'a str]) -> Result<Option<&'a str>> {
    for name in names {
        if is_there(&folder.join(name))? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// True if a name does not exist, or is below something that is not a folder.
fn is_absence(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absence_is_told_from_what_the_system_does_not_say() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(is_there(&file).unwrap() && !is_folder(&file).unwrap() && is_folder(folder.path()).unwrap());
        for nothing in [folder.path().join("nothing"), file.join("below")] {
            assert!(!is_there(&nothing).unwrap() && !is_folder(&nothing).unwrap() && entries(&nothing).unwrap().is_empty());
        }
        assert_eq!(entries(folder.path()).unwrap(), [file]);
        assert_eq!(first_there(folder.path(), &["nothing", "file", "other"]).unwrap(), Some("file"));
        assert_eq!(first_there(folder.path(), &["nothing"]).unwrap(), None);
        // For a name that is longer than a file's can be, the system gives no answer.
        let too_long = folder.path().join("x".repeat(5000));
        assert!(is_there(&too_long).is_err() && is_folder(&too_long).is_err() && entries(&too_long).is_err());
    }
}
