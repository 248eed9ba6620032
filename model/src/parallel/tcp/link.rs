//! One connection: frames, signs of life, and the errors when they fail.
//!
//! A sign of life is one byte. Any other frame has four parts, with numbers lowest byte first:
//!
//! - its kind (1 byte)
//! - its number (4 bytes)
//! - the length of its contents (8 bytes)
//! - its contents

use crate::error::Lost;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// Time between two checks of the clock while a connection is waited for.
const TICK: Duration = Duration::from_secs(2);
/// A process without a sign of life for this time is lost.
const SILENCE: Duration = Duration::from_secs(60);

/// The contents of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers to add up, or their sums.
    Sum = b'S' as isize,
    /// Bytes to gather, or all gathered bytes.
    Gather = b'G' as isize,
    /// The sender ends. The contents are the rank of the process that is the reason (4 bytes), and why.
    Fail = b'F' as isize,
}

/// The whole frame of a sign of life.
const BEAT: u8 = b'B';
const HEADER: usize = 13;
/// Largest number of bytes of a reason for ending.
const REASON: usize = 4096;
/// Number of bytes by which a buffer grows while a frame arrives. A false length then takes no memory.
const GROWTH: usize = 4 << 20;

/// A connection to another process.
pub struct Link {
    /// The rank of the other process.
    pub rank: usize,
    size: usize,
    stream: TcpStream,
}

/// A callback that runs while a connection is waited for.
pub type Tick<'a> = &'a dyn Fn() -> Result<(), Lost>;

impl Link {
    /// Makes a connection to process `rank` of `size`.
    ///
    /// # Errors
    /// The system's error, if the settings cannot be made.
    pub fn new(stream: TcpStream, rank: usize, size: usize) -> std::io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(TICK))?;
        Ok(Self { rank, size, stream })
    }

    /// Makes the error that the other process is lost.
    pub fn lost(&self, what: impl Into<String>) -> Lost {
        Lost { rank: self.rank, size: self.size, what: what.into(), told_by_first: false }
    }

    fn gone(&self, error: Option<&std::io::Error>) -> Lost {
        let how = match error {
            Some(error) if error.kind() != ErrorKind::ConnectionReset && error.kind() != ErrorKind::BrokenPipe => format!(" ({error})"),
            _ => String::new(),
        };
        self.lost(format!("is gone without a word{how}: it was killed, or says itself what happened"))
    }

    fn silent(&self) -> Lost {
        self.lost(format!("has shown no sign of life for {} s: it was stopped, or the network is down", SILENCE.as_secs()))
    }

    /// Sends a frame.
    pub fn send(&self, kind: Kind, number: u32, bytes: &[u8], tick: Tick<'_>) -> Result<(), Lost> {
        let mut header = [0; HEADER];
        header[0] = kind as u8;
        header[1..5].copy_from_slice(&number.to_le_bytes());
        header[5..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.write(&header, tick)?;
        self.write(bytes, tick)
    }

    fn write(&self, bytes: &[u8], tick: Tick<'_>) -> Result<(), Lost> {
        let (mut written, mut clock) = (0, Clock::start());
        while written < bytes.len() {
            let end = bytes.len().min(written + GROWTH);
            match (&self.stream).write(&bytes[written..end]) {
                Ok(count) => {
                    written += count;
                    clock.heard();
                }
                Err(error) if is_pause(&error) => {
                    if self.listen()? {
                        clock.heard();
                    }
                }
                Err(error) => return Err(self.why(&error)),
            }
            self.pass(&mut clock, tick)?;
        }
        Ok(())
    }

    /// Explains why nothing can be written: the reason that the other process sent before it ended, if it sent one.
    fn why(&self, error: &std::io::Error) -> Lost {
        self.listen().err().unwrap_or_else(|| self.gone(Some(error)))
    }

    /// Waits for a frame of this kind and number, whose length is one of `lengths`.
    pub fn receive(&self, kind: Kind, number: u32, lengths: RangeInclusive<usize>, tick: Tick<'_>) -> Result<Vec<u8>, Lost> {
        loop {
            let mut found = [0];
            self.read(&mut found, tick)?;
            if found[0] == BEAT {
                continue;
            }
            let is_awaited = |found_number| found[0] == kind as u8 && found_number == number;
            return self.rest(found[0], is_awaited, lengths, tick);
        }
    }

    fn out_of_step(&self) -> Lost {
        self.lost("does something else than this process: both must be the same version of slpo with the same settings")
    }

    fn wrong_length(&self, length: u64, awaited: &RangeInclusive<usize>) -> Lost {
        let (least, most) = (awaited.start(), awaited.end());
        let expected = if least == most { format!("{most}") } else { format!("at most {most}") };
        self.lost(format!(
            "sends {length} bytes where {expected} are expected: both must be the same version of slpo with the same settings"
        ))
    }

    /// Reads the rest of a frame after its kind. The length is checked before memory is allocated for the contents.
    fn rest(&self, kind: u8, is_awaited: impl Fn(u32) -> bool, lengths: RangeInclusive<usize>, tick: Tick<'_>) -> Result<Vec<u8>, Lost> {
        let mut header = [0; HEADER - 1];
        self.read(&mut header, tick)?;
        let (number, length) = header.split_at(4);
        let number = u32::from_le_bytes(number.try_into().expect("four bytes"));
        let length = u64::from_le_bytes(length.try_into().expect("eight bytes"));
        let is_fail = kind == Kind::Fail as u8;
        if !is_fail && !is_awaited(number) {
            return Err(self.out_of_step());
        }
        let lengths = if is_fail { 0..=REASON } else { lengths };
        let length =
            usize::try_from(length).ok().filter(|length| lengths.contains(length)).ok_or_else(|| self.wrong_length(length, &lengths))?;
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let start = bytes.len();
            bytes.resize(length.min(start + GROWTH), 0);
            self.read(&mut bytes[start..], tick)?;
        }
        if is_fail { Err(self.told(&bytes)) } else { Ok(bytes) }
    }

    fn told(&self, bytes: &[u8]) -> Lost {
        let (rank, what) = bytes.split_at_checked(4).unwrap_or((&[0; 4], b"stopped"));
        let rank = u32::from_le_bytes(rank.try_into().expect("four bytes")) as usize;
        Lost { rank, size: self.size, what: String::from_utf8_lossy(what).into_owned(), told_by_first: self.rank == 0 }
    }

    fn read(&self, bytes: &mut [u8], tick: Tick<'_>) -> Result<(), Lost> {
        let (mut filled, mut clock) = (0, Clock::start());
        while filled < bytes.len() {
            match (&self.stream).read(&mut bytes[filled..]) {
                Ok(0) => return Err(self.gone(None)),
                Ok(count) => {
                    filled += count;
                    clock.heard();
                }
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(self.gone(Some(&error))),
            }
            self.pass(&mut clock, tick)?;
        }
        Ok(())
    }

    /// Checks the clock: calls `tick` when it is due, and ends the wait after too long a silence.
    fn pass(&self, clock: &mut Clock, tick: Tick<'_>) -> Result<(), Lost> {
        if clock.ticked.elapsed() >= TICK {
            tick()?;
            clock.ticked = Instant::now();
        }
        if clock.heard.elapsed() > SILENCE { Err(self.silent()) } else { Ok(()) }
    }

    /// Sends a sign of life to the other process. A failure to send is ignored.
    pub fn beat(&self) {
        let _ = (&self.stream).write(&[BEAT]);
    }

    /// Tells the other process which process is the reason that this one ends, and why.
    pub fn fail(&self, reason: &Lost) {
        let mut bytes = [&(reason.rank as u32).to_le_bytes(), reason.what.as_bytes()].concat();
        bytes.truncate(REASON);
        let _ = self.send(Kind::Fail, 0, &bytes, &|| Ok(()));
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Reads the signs of life and the failure that have arrived, without waiting, up to the first other frame, which is left unread. True
    /// if anything has arrived.
    ///
    /// # Errors
    /// If the other process is gone, or announced its end.
    pub fn listen(&self) -> Result<bool, Lost> {
        let (mut heard, mut kind) = (false, [0]);
        loop {
            let peeked = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut kind));
            let back = self.stream.set_nonblocking(false);
            match (peeked, back) {
                (Ok(0), _) => return Err(self.gone(None)),
                (Ok(_), Ok(())) if kind[0] == BEAT => self.read(&mut kind, &|| Ok(()))?,
                (Ok(_), Ok(())) if kind[0] == Kind::Fail as u8 => {
                    self.read(&mut kind, &|| Ok(()))?;
                    return self.rest(kind[0], |_| false, 0..=0, &|| Ok(())).map(|_| true);
                }
                (Ok(_), Ok(())) => return Ok(true),
                (Err(error), Ok(())) if is_pause(&error) => return Ok(heard),
                (Err(error), _) | (_, Err(error)) => return Err(self.gone(Some(&error))),
            }
            heard = true;
        }
    }
}

/// The times of a wait for a connection.
struct Clock {
    /// The last sign of life.
    heard: Instant,
    /// The last tick.
    ticked: Instant,
}

impl Clock {
    fn start() -> Self {
        Self { heard: Instant::now(), ticked: Instant::now() }
    }
    fn heard(&mut self) {
        self.heard = Instant::now();
    }
}

/// True if the error only means that nothing arrived for a while.
fn is_pause(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
