//! The opening of regular files, and nothing else. A pipe, a device or a folder is refused by name before it is opened.

use super::kind::special;
use crate::error::{Error, Result};
use std::fs::{self, File, Metadata};
use std::path::Path;

/// Opens a regular file. Links are followed.
///
/// # Errors
/// [`Error::Io`]. [`Error::BadFile`] naming the other kind of file (a folder, a pipe, a device).
pub fn open(path: &Path) -> Result<File> {
    refuse_special(path, &fs::metadata(path).map_err(Error::io(path))?)?;
    let file = File::open(path).map_err(Error::io(path))?;
    // Another file may have taken its place since the first check.
    refuse_special(path, &file.metadata().map_err(Error::io(path))?)?;
    Ok(file)
}

fn refuse_special(path: &Path, about: &Metadata) -> Result<()> {
    match special(about.file_type()) {
        Some(kind) => Err(Error::bad_file(path, format!("is {kind}, and a regular file is needed"))),
        None => Ok(()),
    }
}
