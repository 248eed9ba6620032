//! Whether something is at a path. The system may also not say (a folder that may not be entered, a disk that fails): that is an error
//! here, and never "nothing there", which would make a reader go on without a file that exists.

use crate::error::{Error, Result};
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Whether there is a file, a folder or anything else; links are followed.
///
/// # Errors
/// [`Error::Io`] where the system does not say.
pub fn is_there(path: &Path) -> Result<bool> {
    Ok(look(path).map_err(Error::io(path))?.is_some())
}

/// Whether there is a folder; links are followed.
///
/// # Errors
/// As [`is_there`].
pub fn is_folder(path: &Path) -> Result<bool> {
    Ok(look(path).map_err(Error::io(path))?.is_some_and(|about| about.is_dir()))
}

/// The paths of what a folder holds, sorted; none where there is no folder.
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

/// What the system says of the thing at a path, `None` where there is none; links are followed.
///
/// # Errors
/// The system's, where it does not say.
pub fn look(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Err(error) if is_absence(error.kind()) => Ok(None),
        about => about.map(Some),
    }
}

/// The first of these names that is in a folder.
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

/// A name that is not there, or below something that is no folder.
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
        // A name longer than any that a file can have is no answer about a file.
        let too_long = folder.path().join("x".repeat(5000));
        assert!(is_there(&too_long).is_err() && is_folder(&too_long).is_err() && entries(&too_long).is_err());
    }
}
