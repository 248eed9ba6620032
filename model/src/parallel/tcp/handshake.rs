//! The identity of a newcomer, and the proofs that both sides know the run's secret.
//!
//! 1. The newcomer sends its [`Hello`], with a random nonce.
//! 2. If there is a secret, the first process answers with [`CHALLENGE`], a nonce of its own and its proof.
//! 3. The newcomer checks that proof and sends its own.
//! 4. The first process answers with [`WELCOME`] once all processes are connected, or with [`REFUSED`] and the reason.
//!
//! A proof is an HMAC-SHA-256, keyed by the secret, of three values: the side's name, the hello and the first process's nonce. So it is of
//! no use in another meeting or to the other side. The secret itself is never sent. Messages after the meeting are neither encrypted nor
//! signed.

use crate::error::{Error, Result};
use crate::parallel::launch::{Place, Secret};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub const MAGIC: [u8; 4] = *b"slpo";
pub const PROTOCOL: u32 = 2;
pub const HELLO: usize = 68;
pub const WELCOME: u8 = b'W';
pub const REFUSED: u8 = b'R';
pub const CHALLENGE: u8 = b'C';
pub const NONCE: usize = 32;
pub const PROOF: usize = 32;

/// A side of the meeting, as proofs name it.
#[derive(Clone, Copy)]
pub enum Side {
    First,
    Newcomer,
}

/// The first message of a newcomer, 68 bytes. Numbers have 4 bytes, lowest first:
///
/// - `slpo` (4 bytes)
/// - the number of the protocol
/// - the number of processes that it was started with
/// - its rank
/// - its version of slpo (16 bytes, padded with zeros)
/// - 1 if it has a secret, else 0
/// - a nonce (32 bytes)
#[derive(Clone, Copy)]
pub struct Hello(pub [u8; HELLO]);

impl Hello {
    /// Makes this process's hello.
    ///
    /// # Errors
    /// [`Error::Launch`] where the system has no random numbers.
    pub fn new(place: &Place) -> Result<Self> {
        let mut bytes = [0; HELLO];
        bytes[..4].copy_from_slice(&MAGIC);
        for (index, number) in [PROTOCOL, place.size as u32, place.rank as u32].into_iter().enumerate() {
            bytes[4 * index + 4..4 * index + 8].copy_from_slice(&number.to_le_bytes());
        }
        bytes[16..32].copy_from_slice(&version());
        bytes[32] = u8::from(place.secret.is_some());
        bytes[36..].copy_from_slice(&nonce()?);
        Ok(Self(bytes))
    }

    fn number(&self, index: usize) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|byte| self.0[4 * index + byte]))
    }

    /// True if the newcomer has a secret.
    pub fn has_secret(&self) -> bool {
        self.number(8) == 1
    }

    /// Returns the newcomer's rank, or why it cannot take part in the first process's run. `place` is that of the first process.
    pub fn rank(&self, place: &Place) -> Result<usize, String> {
        let (size, rank) = (self.number(2) as usize, self.number(3) as usize);
        if self.0[16..32] != version() {
            Err(OTHER_VERSION.to_owned())
        } else if size != place.size {
            Err(format!("was started with WORLD_SIZE {size}, the first with {}", place.size))
        } else if rank == 0 || rank >= size {
            Err(format!("has the rank {rank}, which is not its own"))
        } else {
            Ok(rank)
        }
    }
}

pub const OTHER_VERSION: &str = "is another version of slpo";

/// The verdict on the first bytes of a newcomer.
#[derive(Debug, PartialEq, Eq)]
pub enum Beginning {
    /// The bytes are right so far.
    Good,
    /// It speaks another protocol.
    OtherVersion,
    /// It is no slpo.
    Stranger,
}

/// Judges the bytes that a newcomer has sent so far.
pub fn beginning(bytes: &[u8]) -> Beginning {
    let known = bytes.len().min(4);
    if bytes[..known] != MAGIC[..known] {
        return Beginning::Stranger;
    }
    match bytes.get(4..8) {
        Some(protocol) if protocol != PROTOCOL.to_le_bytes() => Beginning::OtherVersion,
        _ => Beginning::Good,
    }
}

fn version() -> [u8; 16] {
    let (mut bytes, version) = ([0; 16], env!("CARGO_PKG_VERSION").as_bytes());
    let length = version.len().min(16);
    bytes[..length].copy_from_slice(&version[..length]);
    bytes
}

/// Returns random bytes from the system.
///
/// # Errors
/// [`Error::Launch`].
pub fn nonce() -> Result<[u8; NONCE]> {
    let mut bytes = [0; NONCE];
    getrandom::fill(&mut bytes).map_err(|error| Error::Launch(format!("the system gives no random numbers: {error}")))?;
    Ok(bytes)
}

fn keyed(secret: &Secret, side: Side, hello: &Hello, nonce: &[u8; NONCE]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("HMAC takes a key of any length");
    mac.update(match side {
        Side::First => b"slpo first process\0",
        Side::Newcomer => b"slpo newcomer\0\0\0\0\0\0",
    });
    mac.update(&hello.0);
    mac.update(nonce);
    mac
}

/// Computes a side's proof that it knows the secret.
pub fn proof(secret: &Secret, side: Side, hello: &Hello, nonce: &[u8; NONCE]) -> [u8; PROOF] {
    keyed(secret, side, hello, nonce).finalize().into_bytes().into()
}

/// True if a proof is the side's. The comparison takes constant time.
pub fn is_proof(secret: &Secret, side: Side, hello: &Hello, nonce: &[u8; NONCE], proof: &[u8]) -> bool {
    keyed(secret, side, hello, nonce).verify_slice(proof).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn place(secret: &str) -> Place {
        let secret = Some(Secret::new(secret).unwrap());
        Place { rank: 1, size: 2, host: "127.0.0.1".to_owned(), port: 1, join_limit: Duration::from_secs(1), secret }
    }

    #[test]
    fn a_proof_holds_for_one_secret_side_hello_and_nonce() {
        let (ours, others) = (place("the secret of one run"), place("the secret of another"));
        let [secret, other] = [&ours, &others].map(|place| place.secret.clone().unwrap());
        let (hello, again, nonce) = (Hello::new(&ours).unwrap(), Hello::new(&ours).unwrap(), nonce().unwrap());
        let given = proof(&secret, Side::Newcomer, &hello, &nonce);
        assert!(is_proof(&secret, Side::Newcomer, &hello, &nonce, &given));
        let mut flipped = nonce;
        flipped[31] ^= 1;
        for wrong in [
            is_proof(&other, Side::Newcomer, &hello, &nonce, &given),
            is_proof(&secret, Side::First, &hello, &nonce, &given),
            is_proof(&secret, Side::Newcomer, &again, &nonce, &given),
            is_proof(&secret, Side::Newcomer, &hello, &flipped, &given),
            is_proof(&secret, Side::Newcomer, &hello, &nonce, &given[..31]),
            is_proof(&secret, Side::Newcomer, &hello, &nonce, &[]),
        ] {
            assert!(!wrong);
        }
    }

    #[test]
    fn the_first_bytes_tell_a_stranger_and_another_protocol() {
        let hello = Hello::new(&place("0123456789abcdef")).unwrap().0;
        assert!((0..=HELLO).all(|length| beginning(&hello[..length]) == Beginning::Good));
        assert_eq!(beginning(b"GET / HTTP/1.1"), Beginning::Stranger);
        assert_eq!(beginning(b"sl\0"), Beginning::Stranger);
        assert_eq!(beginning(b"slpo\x01\0\0\0"), Beginning::OtherVersion);
    }
}
