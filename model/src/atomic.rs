//! Files that are either wholly written or not there.
//!
//! The bytes go to a temporary name in the same folder, are forced to the disk, and only then take the file's name. The folder is forced to
//! the disk too. A reader, or a machine that lost power, sees the old file or the new one.
//!
//! The action depends on the kind of file at the path:
//!
//! | at the path | what happens |
//! |---|---|
//! | nothing | a new file, with the permissions that the umask leaves |
//! | a regular file | it is replaced in one step and keeps its mode and, where the system allows it, its owner; another hard link keeps the old bytes |
//! | a symbolic link | the link stays, and the file that it leads to is replaced or made |
//! | a pipe, a terminal or another device, `/dev/stdout` | [`write_output`] writes into it, [`atomic_write`] refuses it |
//! | a folder, a socket, a disk | refused |

use crate::error::{Error, Result};
use crate::files::{descriptor, special};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Replaces the file at `path` by `bytes` in one step.
///
/// # Errors
/// [`Error::Io`] where the folder is missing, read-only or full, or where something else than a regular file is there; the old file is then
/// untouched.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> Result<()> {
    atomic_write_with(path, |writer| writer.write_all(bytes))
}

/// Replaces the file at `path`, in one step, by whatever `fill` writes.
///
/// # Errors
/// As [`atomic_write`], and where `fill` fails.
pub fn atomic_write_with(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
    let replaced = match target(path) {
        Ok(Target::File { path, old }) => replace(&path, old.as_ref(), fill),
        Ok(Target::Stream { kind, .. }) => Err(refused(kind, "and a regular file is needed: it is replaced as a whole")),
        Err(error) => Err(error),
    };
    replaced.map_err(Error::io(path))
}

/// Writes an output that this program never reads again. A regular file is replaced in one step; a pipe or a device is written into.
///
/// # Errors
/// As [`atomic_write`], with the system's own error.
pub fn write_output(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match target(path)? {
        Target::File { path, old } => replace(&path, old.as_ref(), |writer| writer.write_all(bytes)),
        Target::Stream { descriptor: Some(1), .. } => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(bytes).and_then(|()| stdout.flush())
        }
        Target::Stream { descriptor: Some(2), .. } => io::stderr().lock().write_all(bytes),
        // Appends: if the shell has opened a regular file here, its contents stay.
        Target::Stream { path, .. } => OpenOptions::new().append(true).open(path)?.write_all(bytes),
    }
}

/// Makes the folder `path`, and its parents, where it is missing.
///
/// # Errors
/// [`Error::Io`] where it cannot be made or is a file.
pub fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::io(path))
}

/// The target of the bytes for a path.
enum Target {
    /// A file that exists (`old`) or is to be made.
    File { path: PathBuf, old: Option<Metadata> },
    /// A target that cannot be replaced, only written into.
    Stream { path: PathBuf, descriptor: Option<u32>, kind: &'static str },
}

fn target(path: &Path) -> io::Result<Target> {
    let descriptor = descriptor::of(path);
    let path = descriptor::follow(path)?;
    if path.file_name().is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    }
    let old = match fs::metadata(&path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Target::File { path, old: None }),
        Err(error) => return Err(error),
    };
    match special(old.file_type()) {
        None if descriptor.is_none() => Ok(Target::File { path, old: Some(old) }),
        None => Ok(Target::Stream { path, descriptor, kind: "a file that the shell has opened" }),
        Some(kind) if can_be_written(&old) => Ok(Target::Stream { path, descriptor, kind }),
        Some(kind) => Err(refused(kind, "and a file is needed")),
    }
}

/// True for pipes, terminals and devices that take bytes as they come.
#[cfg(unix)]
fn can_be_written(about: &Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    about.file_type().is_fifo() || about.file_type().is_char_device()
}

#[cfg(not(unix))]
fn can_be_written(_: &Metadata) -> bool {
    false
}

fn refused(kind: &str, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("is {kind}, {what}"))
}

/// Puts a new file in the place of `old`, in one step.
fn replace(path: &Path, old: Option<&Metadata>, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let (temporary, file) = create_beside(path, old)?;
    let written = write_and_sync(file, old, fill).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The first failure is the one to report.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_folder(folder_of(path))
}

/// Makes a temporary file in the same folder. While it is written, no one but its owner may read it if it replaces another file.
fn create_beside(path: &Path, old: Option<&Metadata>) -> io::Result<(PathBuf, File)> {
    loop {
        let temporary = temporary_name(path);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if let Some(old) = old {
            use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
            options.mode(old.permissions().mode() & 0o700);
        }
        match options.open(&temporary) {
            // The name belongs to an unfinished file of a dead process with the same number: try the next name.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (temporary, file)),
        }
    }
}

fn write_and_sync(file: File, old: Option<&Metadata>, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    fill(&mut writer)?;
    writer.flush()?;
    if let Some(old) = old {
        keep_permissions(writer.get_ref(), old)?;
    }
    writer.get_ref().sync_all()
}

/// Gives `file` the mode of `old` and, where the system allows it, its owner and group.
#[cfg(unix)]
pub(crate) fn keep_permissions(file: &File, old: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let about = file.metadata()?;
    let is_same = (about.uid(), about.gid()) == (old.uid(), old.gid());
    let owned = is_same || fchown(file, Some(old.uid()), Some(old.gid())).is_ok();
    // Only root may change the owner of a file. Members of the group may still set its group.
    let _ = owned || fchown(file, None, Some(old.gid())).is_ok();
    // Drops set-user-id and set-group-id if the owner could not be kept, so that a program does not run as another user.
    let mode = old.permissions().mode() & if owned { 0o7777 } else { 0o777 };
    if file.metadata()?.permissions().mode() & 0o7777 == mode {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// Gives `file` the permissions of `old`.
#[cfg(not(unix))]
pub(crate) fn keep_permissions(file: &File, old: &Metadata) -> io::Result<()> {
    file.set_permissions(old.permissions())
}

/// Returns `.NAME.PROCESS.COUNT.tmp` in the same folder.
pub(crate) fn temporary_name(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.{count}.tmp", std::process::id()))
}

/// Returns the folder of a path's last name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Forces a folder's entries to the disk. Does nothing except on Unix, because no other system lets a program open a folder for that.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
