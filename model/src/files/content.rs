//! A large file whose bytes are read on demand, by position. It serves files of weights, whose tensors are read one at a time.
//!
//! Weights are read, not mapped, for two reasons:
//!
//! - A file that another program shortens while it is mapped ends this process with a signal (SIGBUS). A read that finds the file too short
//!   is an error with a message.
//! - A mapped file counts as memory of this process, in addition to the numbers that are made of it.

use super::regular::open;
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

/// The bytes of a file, or of a buffer that stands for one.
#[derive(Debug)]
pub struct Content<'a> {
    path: &'a Path,
    length: u64,
    source: Source<'a>,
}

#[derive(Debug)]
enum Source<'a> {
    File(File),
    Bytes(&'a [u8]),
}

/// Bytes of a piece, when a range is read in pieces.
const PIECE: usize = 1 << 20;

impl<'a> Content<'a> {
    /// Opens a regular file. Links are followed.
    ///
    /// # Errors
    /// The errors of [`open`].
    pub fn open(path: &'a Path) -> Result<Self> {
        let file = open(path)?;
        let length = file.metadata().map_err(Error::io(path))?.len();
        Ok(Self { path, length, source: Source::File(file) })
    }

    /// Wraps the contents of a file that is in memory. `path` is its name for messages.
    pub fn of_bytes(path: &'a Path, bytes: &'a [u8]) -> Self {
        Self { path, length: bytes.len() as u64, source: Source::Bytes(bytes) }
    }

    /// Returns the file's name for messages.
    pub fn path(&self) -> &'a Path {
        self.path
    }

    /// Returns the number of bytes of the file when it was opened.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Reads the bytes of a range.
    ///
    /// # Errors
    /// [`Error::BadFile`] if the file ends before the range does, or became shorter after it was opened. [`Error::Io`].
    pub fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        self.check(&range)?;
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.fill(range.start, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads a range as blocks of N bytes, each converted into M elements, in order, on all threads. Bytes after the last whole block are
    /// left out.
    ///
    /// Only the result and a piece of 1 MiB for each thread are in memory at a time.
    ///
    /// # Errors
    /// As [`Content::read`].
    pub fn elements<const N: usize, const M: usize, T: Copy + Default + Send>(
        &self,
        range: Range<u64>,
        convert: impl Fn([u8; N]) -> [T; M] + Sync,
    ) -> Result<Vec<T>> {
        self.check(&range)?;
        let blocks_of_piece = PIECE / N;
        let mut elements = vec![T::default(); (range.end - range.start) as usize / N * M];
        let read = |(number, piece): (usize, &mut [T])| {
            let mut bytes = vec![0; piece.len() / M * N];
            self.fill(range.start + (number * blocks_of_piece * N) as u64, &mut bytes)?;
            let blocks = bytes.as_chunks::<N>().0.iter();
            piece.as_chunks_mut::<M>().0.iter_mut().zip(blocks).for_each(|(elements, &block)| *elements = convert(block));
            Ok(())
        };
        let pieces: Vec<Result<()>> = elements.par_chunks_mut(blocks_of_piece * M).enumerate().map(read).collect();
        pieces.into_iter().collect::<Result<()>>()?;
        Ok(elements)
    }

    fn check(&self, range: &Range<u64>) -> Result<()> {
        if range.start <= range.end && range.end <= self.length {
            return Ok(());
        }
        let (end, length) = (range.end, self.length);
        Err(Error::bad_file(self.path, format!("truncated or damaged: it has {length} bytes, and {end} are described")))
    }

    fn fill(&self, start: u64, bytes: &mut [u8]) -> Result<()> {
        match &self.source {
            Source::Bytes(source) => bytes.copy_from_slice(&source[start as usize..][..bytes.len()]),
            Source::File(file) => {
                read_at(file, start, bytes).map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => {
                        let reason =
                            format!("became shorter than its {} bytes while it was read: another program writes to it", self.length);
                        Error::bad_file(self.path, reason)
                    }
                    _ => Error::io(self.path)(error),
                })?;
            }
        }
        Ok(())
    }
}

/// Reads bytes at a position, whatever other threads read.
#[cfg(unix)]
fn read_at(file: &File, start: u64, bytes: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, start)
}

/// Reads bytes at a position, one thread at a time: they share the file's own position.
#[cfg(not(unix))]
fn read_at(mut file: &File, start: u64, bytes: &mut [u8]) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_those_of_the_range_whatever_the_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers");
        let numbers: Vec<u32> = (0..700_001).collect();
        std::fs::write(&path, numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
        let content = Content::open(&path).unwrap();
        let one = |bytes| [u32::from_le_bytes(bytes)];
        assert_eq!(content.elements(0..content.length(), one).unwrap(), numbers);
        assert_eq!(content.elements(12..22, one).unwrap(), [3, 4]);
        assert!(content.elements(8..8, one).unwrap().is_empty());
        assert_eq!(content.read(4..6).unwrap(), [1, 0]);
        let twice = |bytes: [u8; 3]| [bytes[0], bytes[2]];
        assert_eq!(content.elements(0..7, twice).unwrap(), [0, 0, 0, 0]);
    }

    #[test]
    fn a_file_that_became_shorter_is_named_and_no_range_reaches_past_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, [7; 3000]).unwrap();
        let content = Content::open(&path).unwrap();
        let message = content.read(2999..3001).unwrap_err().to_string();
        assert!(message.contains("weights: truncated or damaged: it has 3000 bytes, and 3001 are described"), "{message}");
        File::options().write(true).open(&path).unwrap().set_len(1000).unwrap();
        let message = content.read(0..3000).unwrap_err().to_string();
        assert!(message.contains("weights: became shorter than its 3000 bytes while it was read"), "{message}");
        let bytes = Content::of_bytes(&path, &[1, 2, 3]);
        assert_eq!(bytes.read(1..3).unwrap(), [2, 3]);
        assert!(bytes.read(1..4).is_err());
    }
}
