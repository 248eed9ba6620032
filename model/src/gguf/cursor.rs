//! A place in a file's first bytes that only moves forward and never past the end.

/// Why a file cannot be read.
#[derive(Debug)]
pub enum Damage {
    /// What is wrong with it.
    Wrong(String),
    /// Nothing yet: the part of the file that was read ends before the value does.
    NotYetRead,
}

impl Damage {
    /// The same, with the name of what could not be read before it.
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
    /// At the start of a file of `file_length` bytes, of which `bytes` are the first.
    pub fn new(bytes: &'a [u8], file_length: u64) -> Self {
        Self { bytes, position: 0, file_length }
    }

    /// Another cursor at the same place.
    pub fn fork(&self) -> Self {
        Self { ..*self }
    }

    pub fn position(&self) -> usize {
        self.position
    }

    pub fn file_length(&self) -> u64 {
        self.file_length
    }

    /// Bytes of the file after this place.
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

    /// Refuses a count of things of at least `smallest` bytes each that the rest of the file cannot hold.
    pub fn check_count(&self, what: &str, count: u64, smallest: u64) -> Result<(), Damage> {
        let left = self.left();
        if count > left / smallest {
            return Err(Damage::Wrong(format!("truncated or damaged: {count} {what} are announced, and only {left} bytes are left")));
        }
        Ok(())
    }
}
