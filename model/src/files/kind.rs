//! The kind of a file, in words.

use std::fs::FileType;

/// Returns the kind of a file that is not a regular file.
pub(crate) fn special(kind: FileType) -> Option<&'static str> {
    if kind.is_file() {
        return None;
    }
    Some(if kind.is_dir() { "a folder" } else { of_system(kind) })
}

#[cfg(unix)]
fn of_system(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() {
        "a disk (a block device)"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn of_system(_: FileType) -> &'static str {
    "a device"
}
