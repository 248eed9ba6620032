//! Paths that stand for the open files of this process: `/dev/stdin`, `/dev/stdout`, `/dev/fd/63`, and links to them.

use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};

/// The most links that are followed one after another, as on Linux.
const MOST_LINKS: usize = 40;

/// Returns the number of the descriptor that a path stands for. Links are followed.
pub(crate) fn of(path: &Path) -> Option<u32> {
    follow(path).ok().and_then(|path| number(&path))
}

/// Follows the links of a path to its end. The file at the end may be missing. A path that stands for a descriptor stays unchanged.
pub(crate) fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        if number(&path).is_some() {
            return Ok(path);
        }
        match fs::symlink_metadata(&path) {
            Ok(about) if about.is_symlink() => {
                let link = fs::read_link(&path)?;
                path = path.parent().unwrap_or(Path::new("")).join(link);
            }
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("is a link to a link to a link, without an end"))
}

/// Returns the number at the end of a path in a folder of descriptors.
fn number(path: &Path) -> Option<u32> {
    let own = format!("/proc/{}/fd", std::process::id());
    let folder = path.parent()?.to_str()?;
    let known = ["/dev/fd", "/proc/self/fd", "/proc/thread-self/fd", &own].contains(&folder);
    if known { path.file_name()?.to_str()?.parse().ok() } else { None }
}

/// True if the file is a pipe, or a socket used as a pipe.
#[cfg(unix)]
pub(crate) fn is_pipe(kind: FileType) -> bool {
    use std::os::unix::fs::FileTypeExt;
    kind.is_fifo() || kind.is_socket()
}

/// True if the file is a pipe, or a socket used as a pipe.
#[cfg(not(unix))]
pub(crate) fn is_pipe(_: FileType) -> bool {
    false
}
