//! Files that are either wholly written or not there.
//!
//! The bytes go to a temporary name in the same folder, are forced to the disk, and only then take the file's name; the
//! folder is forced to the disk too. A reader, or a machine that lost power, sees the old file or the new one.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Replaces the file at `path` by `bytes` in one step.
///
/// # Errors
/// [`Error::Io`] where the folder is missing, read-only or full; the old file is then untouched.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> Result<()> {
    atomic_write_with(path, |writer| writer.write_all(bytes))
}

/// Replaces the file at `path`, in one step, by whatever `fill` writes.
///
/// # Errors
/// [`Error::Io`] where `fill` fails or the folder is missing, read-only or full; the old file is then untouched.
pub fn atomic_write_with(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
    let temporary = temporary_name(path);
    let written = write_and_sync(&temporary, fill).and_then(|()| fs::rename(&temporary, path));
    if let Err(source) = written {
        // The first failure is the one to report; a temporary file that is not there needs no removing.
        let _ = fs::remove_file(&temporary);
        return Err(Error::io(path)(source));
    }
    sync_folder(folder_of(path)).map_err(Error::io(path))
}

/// Makes the folder `path`, and its parents, where it is missing.
///
/// # Errors
/// [`Error::Io`] where it cannot be made or is a file.
pub fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::io(path))
}

fn write_and_sync(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 20, File::create(path)?);
    fill(&mut writer)?;
    writer.flush()?;
    writer.get_ref().sync_all()
}

fn temporary_name(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.{count}.tmp", std::process::id()))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Forces a folder's entries to the disk. Only Unix lets a program open a folder for that; elsewhere it does nothing.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        atomic_write(&path, b"old").unwrap();
        let failed = atomic_write_with(&path, |writer| {
            writer.write_all(b"half")?;
            Err(io::Error::other("disk full"))
        });
        assert!(failed.unwrap_err().to_string().contains("disk full"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("file");
        let message = atomic_write(&path, b"x").unwrap_err().to_string();
        assert!(message.contains("missing"), "{message}");
    }
}
