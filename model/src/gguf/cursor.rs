//! A position in a file's first bytes. It only moves forward and never past the end.

/// The reason why a file cannot be read.
#[derive(Debug)]
pub enum Damage {
    /// The file is wrong, for this reason.
    Wrong(String),
    /// The value ends after the part of the file that has been read.
    NotYetRead,
}

impl Damage {
    /// Adds the name of the thing that could not be read to the reason.
    pub fn within(self, name: &str) -> Self {
        match self {
            Self::Wrong(reason) => Self::Wrong(format!("{name}: {reason}")),
            Self::NotYetRead => Self::NotYetRead,
        }
    }
}

pub struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
    file_length: u64,
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte of a file of `file_length` bytes. `bytes` are its first bytes.
    pub fn new(bytes: &'a [u8], file_length: u64) -> Self {
        Self { bytes, position: 0, file_length }
    }

    /// Makes another cursor at the same position.
    pub fn fork(&self) -> Self {
        Self { ..*self }
    }

    pub fn position(&self) -> usize {
        self.position
    }

    pub fn file_length(&self) -> u64 {
        self.file_length
    }

    /// Returns the number of bytes of the file after this position.
    fn left(&self) -> u64 {
        self.file_length - self.position as u64
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Damage> {
        let (position, left) = (self.position, self.left());
        if count as u64 > left {
            return Err(Damage::Wrong(format!("truncated or damaged: {count} bytes should follow byte {position}, {left} are left")));
        }
        let taken = self.bytes[position..].get(..count).ok_or(Damage::NotYetRead)?;
        self.position += count;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let mut number = [0; N];
        number.copy_from_slice(self.take(N)?);
        Ok(number)
    }

    pub fn u32(&mut self) -> Result<u32, Damage> {
        self.number().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Damage> {
        self.number().map(u64::from_le_bytes)
    }

    pub fn string(&mut self) -> Result<&'a str, Damage> {
        let at = self.position;
        let length = self.u64()?;
        let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        str::from_utf8(bytes).map_err(|_| Damage::Wrong(format!("the string at byte {at} is not UTF-8")))
    }

    /// Refuses a count of things of at least `smallest` bytes each if the rest of the file cannot hold them.
    pub fn check_count(&self, what: &str, count: u64, smallest: u64) -> Result<(), Damage> {
        let left = self.left();
        if count > left / smallest {
            return Err(Damage::Wrong(format!("truncated or damaged: {count} {what} are announced, and only {left} bytes are left")));
        }
        Ok(())
    }
}
