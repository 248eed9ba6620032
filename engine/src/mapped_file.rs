//! A file's bytes, mapped into memory: read when they are looked at, and never copied as a whole.
//!
//! This is here, and not beside the readers of models, because this crate is the only one that may hold unsafe code.

use memmap2::Mmap;
use std::fs::{self, File, Metadata};
use std::io;
use std::ops::Deref;
use std::path::Path;

/// The bytes of a file that is open for reading.
///
/// The file must stay as it is while it is mapped. Files that this program writes are replaced by renaming, which leaves a mapped one as
/// it was; another program that cuts the file short in place ends this one with a bus error.
#[derive(Debug)]
pub struct MappedFile(Option<Mmap>);

impl MappedFile {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// The operating system's, where the file cannot be opened or is nothing that can be mapped (a folder, a pipe, a device).
    pub fn open(path: &Path) -> io::Result<Self> {
        // Before it is opened: a pipe that nobody writes into would be waited for.
        refuse_other_than_files(&fs::metadata(path)?)?;
        let file = File::open(path)?;
        let about = file.metadata()?;
        refuse_other_than_files(&about)?;
        if about.len() == 0 {
            return Ok(Self(None));
        }
        // SAFETY: the map is private and only read. That nobody writes into the file meanwhile is the documented condition above, as for
        // every program that maps a file.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self(Some(map)))
    }
}

fn refuse_other_than_files(about: &Metadata) -> io::Result<()> {
    if about.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a folder, not a file"));
    }
    if !about.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is a pipe, a socket or a device, and a regular file is needed"));
    }
    Ok(())
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_file() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert_eq!(&*MappedFile::open(&source).unwrap(), fs::read(&source).unwrap());
    }

    #[test]
    fn an_empty_file_has_no_bytes_and_a_folder_or_nothing_is_refused() {
        let empty = std::env::temp_dir().join(format!("slpo-empty-{}", std::process::id()));
        fs::write(&empty, "").unwrap();
        assert!(MappedFile::open(&empty).unwrap().is_empty());
        fs::remove_file(&empty).unwrap();
        assert!(MappedFile::open(&empty).is_err());
        assert!(MappedFile::open(&std::env::temp_dir()).is_err());
        if cfg!(unix) {
            let message = MappedFile::open(Path::new("/dev/zero")).unwrap_err().to_string();
            assert!(message.contains("a regular file is needed"), "{message}");
        }
    }
}
