//! A place in a file's bytes that only moves forward and never past the end.

/// Why a file cannot be read.
#[derive(Debug)]
pub struct Damage(pub String);

pub struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Another cursor at the same place.
    pub fn fork(&self) -> Self {
        Self { ..*self }
    }

    pub fn position(&self) -> usize {
        self.position
    }

    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Damage> {
        let rest = &self.bytes[self.position..];
        let taken = rest.get(..count).ok_or_else(|| {
            Damage(format!("truncated or damaged: {count} bytes should follow byte {}, {} are left", self.position, rest.len()))
        })?;
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
        str::from_utf8(bytes).map_err(|_| Damage(format!("the string at byte {at} is not UTF-8")))
    }

    /// Refuses a count of things of at least `smallest` bytes each that the rest of the file cannot hold.
    pub fn check_count(&self, what: &str, count: u64, smallest: u64) -> Result<(), Damage> {
        let left = (self.bytes.len() - self.position) as u64;
        if count > left / smallest {
            return Err(Damage(format!("truncated or damaged: {count} {what} are announced, and only {left} bytes are left")));
        }
        Ok(())
    }
}
