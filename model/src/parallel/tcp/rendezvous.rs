//! How processes meet: the first listens, the others come and say who they are, and once all are there each is told so.
//!
//! A newcomer says `slpo`, the protocol's number, how many processes it knows of and which it is (each 4 bytes, lowest first) and its version of
//! slpo (16 bytes, padded with zeros). It is answered with one byte, [`WELCOME`], or with [`REFUSED`] and why.

use super::link::Link;
use crate::error::{Error, Result};
use crate::parallel::launch::Place;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::thread::sleep;
use std::time::{Duration, Instant};

const MAGIC: [u8; 4] = *b"slpo";
const PROTOCOL: u32 = 1;
const HELLO: usize = 32;
const WELCOME: u8 = b'W';
const REFUSED: u8 = b'R';

/// Time that a newcomer has to say who it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two tries to connect, and between two looks for newcomers.
const PAUSE: Duration = Duration::from_millis(50);

fn launch(text: String) -> Error {
    Error::Launch(text)
}

fn hello(place: &Place) -> [u8; HELLO] {
    let mut bytes = [0; HELLO];
    bytes[..4].copy_from_slice(&MAGIC);
    for (index, number) in [PROTOCOL, place.size as u32, place.rank as u32].into_iter().enumerate() {
        bytes[4 * index + 4..4 * index + 8].copy_from_slice(&number.to_le_bytes());
    }
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    let length = version.len().min(16);
    bytes[16..16 + length].copy_from_slice(&version[..length]);
    bytes
}

/// Who a newcomer is; `None` for a stranger, and why it cannot take part where it is of another run.
fn recognise(bytes: &[u8; HELLO], place: &Place) -> Option<Result<usize, String>> {
    if bytes[..4] != MAGIC {
        return None;
    }
    let number = |index: usize| u32::from_le_bytes(bytes[4 * index + 4..4 * index + 8].try_into().expect("four bytes")) as usize;
    let (size, rank) = (number(1), number(2));
    let own = hello(place);
    Some(if (number(0), &bytes[16..]) != (PROTOCOL as usize, &own[16..]) {
        Err("is another version of slpo".to_owned())
    } else if size != place.size {
        Err(format!("was started with WORLD_SIZE {size}, the first with {}", place.size))
    } else if rank == 0 || rank >= size {
        Err(format!("has the rank {rank}, which is not its own"))
    } else {
        Ok(rank)
    })
}

fn addresses(place: &Place) -> Result<Vec<SocketAddr>, String> {
    let found = (place.host.as_str(), place.port).to_socket_addrs();
    let found: Vec<SocketAddr> = found.map_err(|error| format!("MASTER_ADDR {}: {error}", place.host))?.collect();
    if found.is_empty() { Err(format!("MASTER_ADDR {} has no address", place.host)) } else { Ok(found) }
}

/// Where the processes meet.
fn meeting(place: &Place) -> String {
    format!("{}:{}", place.host, place.port)
}

/// The first process: waits for all others; their connections in the order of ranks.
pub fn listen(place: &Place) -> Result<Vec<Link>> {
    let refused = |error| launch(format!("cannot listen at {} (MASTER_ADDR:MASTER_PORT): {error}", meeting(place)));
    let listener = TcpListener::bind(&*addresses(place).map_err(launch)?).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let started = Instant::now();
    let mut found: Vec<Option<TcpStream>> = (0..place.size).map(|_| None).collect();
    while found[1..].iter().any(Option::is_none) {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {
                if started.elapsed() > place.join_limit {
                    let why = absent(place, &found);
                    return Err(refuse_all(found, why));
                }
                sleep(PAUSE);
                continue;
            }
            Err(error) => return Err(refused(error)),
        };
        match greet(&mut stream, place) {
            None => {}
            Some(Ok(rank)) if found[rank].is_some() => {
                found.push(Some(stream));
                return Err(refuse_all(found, format!("two processes have the rank {rank}")));
            }
            Some(Ok(rank)) => found[rank] = Some(stream),
            Some(Err(why)) => {
                found.push(Some(stream));
                return Err(refuse_all(found, format!("a process that came to {} {why}", meeting(place))));
            }
        }
    }
    welcome(place, found)
}

/// Who is not there, in words.
fn absent(place: &Place, found: &[Option<TcpStream>]) -> String {
    let missing = (1..place.size).filter(|&rank| found[rank].is_none()).map(|rank| rank.to_string());
    let (missing, seconds) = (missing.collect::<Vec<_>>().join(", "), place.join_limit.as_secs());
    format!(
        "of {} processes, those of rank {missing} did not come to {} within {seconds} s (SLPO_JOIN_SECONDS)",
        place.size,
        meeting(place)
    )
}

fn greet(stream: &mut TcpStream, place: &Place) -> Option<Result<usize, String>> {
    let mut bytes = [0; HELLO];
    stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(PATIENCE))).ok()?;
    stream.read_exact(&mut bytes).ok()?;
    recognise(&bytes, place)
}

/// Tells everyone who came why nothing comes of it.
fn refuse_all(found: Vec<Option<TcpStream>>, why: String) -> Error {
    for mut stream in found.into_iter().flatten() {
        // One that is gone need not be told.
        let _ = stream.write_all(&[&[REFUSED], why.as_bytes()].concat());
    }
    launch(why)
}

fn welcome(place: &Place, found: Vec<Option<TcpStream>>) -> Result<Vec<Link>> {
    let mut links = Vec::new();
    for (rank, stream) in found.into_iter().enumerate() {
        let Some(mut stream) = stream else { continue };
        let failed = |error| launch(format!("process {rank} of {} came to {} and went: {error}", place.size, meeting(place)));
        stream.write_all(&[WELCOME]).map_err(failed)?;
        links.push(Link::new(stream, rank, place.size).map_err(failed)?);
    }
    Ok(links)
}

/// Any other process: comes to the first, and waits until all are there.
pub fn connect(place: &Place) -> Result<Link> {
    let started = Instant::now();
    let left = || place.join_limit.saturating_sub(started.elapsed());
    let failed = |what: String| launch(format!("process 0 at {} (MASTER_ADDR:MASTER_PORT) {what}", meeting(place)));
    let mut stream = loop {
        let last = match try_connect(place, left().max(PAUSE)) {
            Ok(stream) => break stream,
            Err(error) => error,
        };
        if left().is_zero() {
            let seconds = place.join_limit.as_secs();
            return Err(failed(format!("cannot be reached within {seconds} s (SLPO_JOIN_SECONDS): {last}")));
        }
        sleep(PAUSE);
    };
    // The first process waits for the others as long, and then says what came of it.
    let patience = left() + PATIENCE + PATIENCE;
    let mut answer = [0];
    let mut meet = || {
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(&hello(place))?;
        stream.read_exact(&mut answer)
    };
    meet().map_err(|error| failed(format!("does not say that all processes are there: {error}")))?;
    match answer[0] {
        WELCOME => Link::new(stream, 0, place.size).map_err(|error| failed(error.to_string())),
        REFUSED => {
            let mut why = String::new();
            let _ = stream.take(1024).read_to_string(&mut why);
            Err(failed(format!("says: {why}")))
        }
        _ => Err(failed("is no slpo".to_owned())),
    }
}

/// Tries every address once; the error says why the last of them did not do.
fn try_connect(place: &Place, limit: Duration) -> Result<TcpStream, String> {
    let mut last = String::new();
    for address in addresses(place)? {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}
