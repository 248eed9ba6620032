//! A group over TCP. Every process is connected to the first, which relays all messages. It forms the sums in the order of ranks, so they
//! have the same bits on every network. Its connection carries the gradients of all others; MPI and NCCL spread this load better.
//!
//! A process can end in three ways. The first process notices each, tells the others, and all end:
//!
//! - A process that ends closes its connection.
//! - A process that fails says why first.
//! - A process that hangs shows no signs of life.

mod handshake;
mod link;
mod rendezvous;
#[cfg(test)]
mod tests;

use super::launch::Place;
use super::numbers::Numbers;
use super::processes::Group;
use crate::error::Lost;
use crate::error::Result;
use link::{Kind, Link};
use std::ops::RangeInclusive;

/// A group over TCP.
pub struct TcpGroup {
    rank: usize,
    size: usize,
    /// The first process's connections to all others, by rank. In any other process, its connection to the first.
    links: Vec<Link>,
    /// Number of the next sum or gathering.
    number: u32,
}

impl TcpGroup {
    /// Connects to the other processes.
    ///
    /// # Errors
    /// [`crate::Error::Launch`] where they do not connect within the limit, or another version of slpo or a stranger does;
    /// [`crate::Error::Lost`].
    pub fn join(place: &Place) -> Result<Self> {
        let links = match place {
            Place { size: 1, .. } => Vec::new(),
            Place { rank: 0, .. } => rendezvous::listen(place)?,
            _ => vec![rendezvous::connect(place)?],
        };
        Ok(Self { rank: place.rank, size: place.size, links, number: 0 })
    }

    /// True if the process at this place listens where programs outside the run can connect, and has no secret to tell them apart.
    pub fn is_open(place: &Place) -> bool {
        rendezvous::is_open(place)
    }

    /// Checks some connections, and sends a sign of life on each.
    fn look<'a>(links: impl IntoIterator<Item = &'a Link>) -> Result<(), Lost> {
        links.into_iter().try_for_each(|link| {
            link.beat();
            link.listen().map(drop)
        })
    }

    /// Checks all connections but the one in use.
    fn look_beside(&self, used: &Link) -> Result<(), Lost> {
        Self::look(self.links.iter().filter(|link| link.rank != used.rank))
    }

    /// Receives a frame from each other process, in the order of ranks.
    fn receive_all(
        &self,
        kind: Kind,
        lengths: RangeInclusive<usize>,
        mut take: impl FnMut(&Link, Vec<u8>) -> Result<(), Lost>,
    ) -> Result<(), Lost> {
        self.links.iter().try_for_each(|link| {
            let tick = || {
                link.beat();
                self.look_beside(link)
            };
            take(link, link.receive(kind, self.number, lengths.clone(), &tick)?)
        })
    }

    fn send_all(&self, kind: Kind, bytes: &[u8]) -> Result<(), Lost> {
        self.links.iter().try_for_each(|link| link.send(kind, self.number, bytes, &|| self.look_beside(link)))
    }

    fn sum_once(&self, numbers: &mut Numbers) -> Result<(), Lost> {
        let length = numbers.byte_len();
        if self.rank == 0 {
            self.receive_all(Kind::Sum, length..=length, |link, bytes| match numbers.add(&bytes) {
                true => Ok(()),
                false => Err(link.lost(format!("brings {} bytes to a sum of {} numbers", bytes.len(), numbers.len()))),
            })?;
            return self.send_all(Kind::Sum, &numbers.to_bytes());
        }
        self.send_all(Kind::Sum, &numbers.to_bytes())?;
        let first = &self.links[0];
        match numbers.read(&first.receive(Kind::Sum, self.number, length..=length, &|| Ok(()))?) {
            true => Ok(()),
            false => Err(first.lost("sends sums of another length")),
        }
    }

    fn gather_once(&self, own: Vec<u8>, largest: usize) -> Result<Vec<Vec<u8>>, Lost> {
        if self.rank == 0 {
            let mut all = vec![own];
            self.receive_all(Kind::Gather, 0..=largest, |_, bytes| {
                all.push(bytes);
                Ok(())
            })?;
            if !self.links.is_empty() {
                self.send_all(Kind::Gather, &joined(&all))?;
            }
            return Ok(all);
        }
        self.send_all(Kind::Gather, &own)?;
        let first = &self.links[0];
        let bytes = first.receive(Kind::Gather, self.number, 0..=largest.saturating_add(8).saturating_mul(self.size), &|| Ok(()))?;
        parted(&bytes, self.size).ok_or_else(|| first.lost("sends what is no gathering"))
    }

    /// Counts a sum or gathering. If it failed, the first process tells the others why.
    fn done<T>(&mut self, outcome: Result<T, Lost>) -> Result<T, Lost> {
        self.number = self.number.wrapping_add(1);
        if let (0, Err(lost)) = (self.rank, &outcome) {
            self.links.iter().filter(|link| link.rank != lost.rank).for_each(|link| link.fail(lost));
        }
        outcome
    }
}

impl Group for TcpGroup {
    fn rank(&self) -> usize {
        self.rank
    }
    fn size(&self) -> usize {
        self.size
    }
    fn sum(&mut self, numbers: &mut Numbers) -> Result<(), Lost> {
        let outcome = self.sum_once(numbers);
        self.done(outcome)
    }
    fn gather(&mut self, own: Vec<u8>, largest: usize) -> Result<Vec<Vec<u8>>, Lost> {
        let outcome = self.gather_once(own, largest);
        self.done(outcome)
    }
    fn idle(&mut self) -> Result<(), Lost> {
        let outcome = Self::look(&self.links);
        if let (0, Err(lost)) = (self.rank, &outcome) {
            self.links.iter().filter(|link| link.rank != lost.rank).for_each(|link| link.fail(lost));
        }
        outcome
    }
    fn fail(&mut self, reason: &str) {
        let own = Lost { rank: self.rank, size: self.size, what: format!("stopped: {reason}"), told_by_first: false };
        self.links.iter().for_each(|link| link.fail(&own));
    }
}

/// Joins several lists of bytes into one: the length of each (8 bytes), then each.
fn joined(parts: &[Vec<u8>]) -> Vec<u8> {
    let lengths = parts.iter().flat_map(|part| (part.len() as u64).to_le_bytes());
    lengths.chain(parts.iter().flatten().copied()).collect()
}

/// Splits the bytes of [`joined`] into its parts.
fn parted(bytes: &[u8], count: usize) -> Option<Vec<Vec<u8>>> {
    let (lengths, mut rest) = bytes.split_at_checked(8 * count)?;
    let (lengths, _) = lengths.as_chunks::<8>();
    let parts = lengths.iter().map(|length| {
        let (part, more) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        rest = more;
        Some(part.to_vec())
    });
    let parts: Vec<Vec<u8>> = parts.collect::<Option<_>>()?;
    rest.is_empty().then_some(parts)
}
