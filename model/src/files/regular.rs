//! Opening a regular file, and nothing else: a pipe, a device or a folder is named before it is opened.

use super::kind::special;
use crate::error::{Error, Result};
use std::fs::{self, File, Metadata};
use std::path::Path;

/// Opens a regular file; links are followed.
///
/// # Errors
/// [`Error::Io`]; [`Error::BadFile`] naming what it is instead (a folder, a pipe, a device).
pub fn open(path: &Path) -> Result<File> {
    refuse_special(path, &fs::metadata(path).map_err(Error::io(path))?)?;
    let file = File::open(path).map_err(Error::io(path))?;
    // Another one may have taken its place since.
    refuse_special(path, &file.metadata().map_err(Error::io(path))?)?;
    Ok(file)
}

fn refuse_special(path: &Path, about: &Metadata) -> Result<()> {
    match special(about.file_type()) {
        Some(kind) => Err(Error::bad_file(path, format!("is {kind}, and a regular file is needed"))),
        None => Ok(()),
    }
}
