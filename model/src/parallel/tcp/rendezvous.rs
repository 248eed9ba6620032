//! How processes meet: the first process listens, and the others connect and say who they are. Once all are connected, the first process
//! tells each.
//!
//! The meeting ends within its limit, whoever connects. The first process never waits for a single connection:
//!
//! - Each newcomer has [`PATIENCE`] to say who it is.
//! - Every round checks all newcomers in turn, and the limit.
//!
//! A process that leaves before all are connected is forgotten, and may connect again.

use super::handshake::{
    Beginning, CHALLENGE, HELLO, Hello, NONCE, OTHER_VERSION, PROOF, REFUSED, Side, WELCOME, beginning, is_proof, nonce, proof,
};
use super::link::Link;
use crate::error::{Error, Result};
use crate::parallel::Lost;
use crate::parallel::launch::Place;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Time that a newcomer has to say who it is. Also the time after the limit in which the first process must say how the meeting ended.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(50);
/// Time between two checks for newcomers.
const LOOK: Duration = Duration::from_millis(10);
/// Largest number of newcomers that have not said yet who they are. If more connect, the oldest are dropped, because they had the most
/// time.
const NEWCOMERS: usize = 256;
/// Largest number of bytes of a reason that is read from another process.
const REASON: u64 = 1024;

fn launch(text: String) -> Error {
    Error::Launch(text)
}

/// Looks up the addresses of the first process, within a limit because a resolver may take long.
fn addresses(place: &Place, limit: Duration) -> Result<Vec<SocketAddr>, String> {
    let (sender, found) = channel();
    let (host, port) = (place.host.clone(), place.port);
    std::thread::spawn(move || {
        let _ = sender.send((host.as_str(), port).to_socket_addrs().map(Iterator::collect));
    });
    let found: std::io::Result<Vec<SocketAddr>> =
        found.recv_timeout(limit).map_err(|_| format!("MASTER_ADDR {}: its address is not found in time", place.host))?;
    let found = found.map_err(|error| format!("MASTER_ADDR {}: {error}", place.host))?;
    if found.is_empty() { Err(format!("MASTER_ADDR {} has no address", place.host)) } else { Ok(found) }
}

/// Returns the address where the processes meet.
fn meeting(place: &Place) -> String {
    format!("{}:{}", place.host, place.port)
}

/// True if this is the first process of several, has no secret, and programs outside the run can connect to it.
pub fn is_open(place: &Place) -> bool {
    let is_first = place.rank == 0 && place.size > 1 && place.secret.is_none();
    is_first && addresses(place, PATIENCE).is_ok_and(|found| found.iter().any(|address| !address.ip().is_loopback()))
}

/// Runs the first process's side: waits for all others and returns their connections in the order of ranks.
pub fn listen(place: &Place) -> Result<Vec<Link>> {
    let refused = |error| launch(format!("cannot listen at {} (MASTER_ADDR:MASTER_PORT): {error}", meeting(place)));
    let deadline = Instant::now() + place.join_limit;
    let listener = TcpListener::bind(&*addresses(place, place.join_limit).map_err(launch)?).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let mut gathering = Gathering::new(place);
    loop {
        let accepted = gathering.accept(&listener);
        let heard = gathering.hear()?;
        gathering.forget_gone();
        if gathering.is_complete() {
            return gathering.welcome();
        }
        if Instant::now() >= deadline {
            return Err(gathering.absent());
        }
        if !accepted && !heard {
            sleep(LOOK);
        }
    }
}

/// The processes and newcomers that have connected to the first process so far.
struct Gathering<'a> {
    place: &'a Place,
    newcomers: Vec<Newcomer>,
    /// Processes of the run, by rank.
    found: Vec<Option<TcpStream>>,
    /// Number of newcomers that did not prove to know the secret.
    unproven: usize,
    /// The system's error when the last newcomer could not be accepted.
    trouble: Option<std::io::Error>,
}

impl<'a> Gathering<'a> {
    fn new(place: &'a Place) -> Self {
        let found = (0..place.size).map(|_| None).collect();
        Self { place, newcomers: Vec::new(), found, unproven: 0, trouble: None }
    }

    /// Accepts some of the waiting connections, few enough that each newcomer is heard at least once. True if any was waiting.
    fn accept(&mut self, listener: &TcpListener) -> bool {
        for count in 0..NEWCOMERS / 4 {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // The error may be too many open files, for example. Drops the oldest newcomer: the next attempt may succeed.
                    if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted) {
                        self.newcomers.drain(..self.newcomers.len().min(1));
                        self.trouble = Some(error);
                    }
                    return count > 0;
                }
            };
            if stream.set_nonblocking(true).is_ok() {
                self.newcomers.drain(..(self.newcomers.len() + 1).saturating_sub(NEWCOMERS));
                self.newcomers.push(Newcomer::new(stream));
            }
        }
        true
    }

    /// Reads what newcomers have sent, without waiting. True if the fate of any is settled.
    ///
    /// # Errors
    /// If one is a process of another run.
    fn hear(&mut self) -> Result<bool> {
        let before = self.newcomers.len();
        let mut waiting = Vec::with_capacity(before);
        for mut newcomer in std::mem::take(&mut self.newcomers) {
            match newcomer.hear(self.place)? {
                Heard::Waiting if newcomer.since.elapsed() < PATIENCE => waiting.push(newcomer),
                Heard::Waiting | Heard::Stranger => {}
                Heard::Unproven(why) => {
                    self.unproven += 1;
                    refuse(&newcomer.stream, &why);
                }
                Heard::Process(Ok(rank)) => self.found(rank, newcomer.stream)?,
                Heard::Process(Err(why)) => {
                    let why = format!("a process that came to {} {why}", meeting(self.place));
                    refuse(&newcomer.stream, &why);
                    return Err(self.refuse_all(why));
                }
            }
        }
        self.newcomers = waiting;
        Ok(self.newcomers.len() < before)
    }

    fn found(&mut self, rank: usize, stream: TcpStream) -> Result<()> {
        if self.found[rank].as_ref().is_some_and(is_there) {
            let why = format!("two processes have the rank {rank}");
            refuse(&stream, &why);
            return Err(self.refuse_all(why));
        }
        self.found[rank] = Some(stream);
        Ok(())
    }

    /// Forgets processes that have disconnected: they may connect again.
    fn forget_gone(&mut self) {
        self.found.iter_mut().for_each(|found| *found = found.take().filter(is_there));
    }

    fn is_complete(&self) -> bool {
        self.found[1..].iter().all(Option::is_some)
    }

    /// Makes the error that processes are missing, and sends it to those that have connected.
    fn absent(&mut self) -> Error {
        let missing = (1..self.place.size).filter(|&rank| self.found[rank].is_none()).map(|rank| rank.to_string());
        let (missing, seconds) = (missing.collect::<Vec<_>>().join(", "), self.place.join_limit.as_secs());
        let unproven = match self.unproven {
            0 => String::new(),
            count => format!("; {count} connections did not prove that they have the same SLPO_GROUP_SECRET"),
        };
        let trouble = self.trouble.as_ref().map_or(String::new(), |error| format!("; connections could not be accepted: {error}"));
        self.refuse_all(format!(
            "of {} processes, those of rank {missing} did not come to {} within {seconds} s (SLPO_JOIN_SECONDS){unproven}{trouble}",
            self.place.size,
            meeting(self.place)
        ))
    }

    /// Tells every connected process why the meeting failed.
    fn refuse_all(&mut self, why: String) -> Error {
        self.found.iter().flatten().for_each(|stream| refuse(stream, &why));
        launch(why)
    }

    fn welcome(self) -> Result<Vec<Link>> {
        let (place, mut links) = (self.place, Vec::<Link>::new());
        for (rank, stream) in self.found.into_iter().enumerate() {
            let Some(stream) = stream else { continue };
            let welcomed = (&stream).write_all(&[WELCOME]).and_then(|()| Link::new(stream, rank, place.size));
            match welcomed {
                Ok(link) => links.push(link),
                Err(error) => {
                    let why = format!("process {rank} of {} came to {} and went: {error}", place.size, meeting(place));
                    let own = Lost { rank: 0, size: place.size, what: format!("stopped: {why}"), told_by_first: true };
                    links.iter().for_each(|link| link.fail(&own));
                    return Err(launch(why));
                }
            }
        }
        Ok(links)
    }
}

/// Tells a process why it is refused. A failure to send is ignored.
fn refuse(mut stream: &TcpStream, why: &str) {
    let _ = stream.write_all(&[&[REFUSED], why.as_bytes()].concat());
}

/// True if a process that waits for the others is still connected. It sends nothing while it waits.
fn is_there(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Ok(_) => false,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

/// A connection whose process is not known yet.
struct Newcomer {
    stream: TcpStream,
    since: Instant,
    bytes: Vec<u8>,
    /// The hello and this process's nonce, once the challenge has been sent.
    challenged: Option<(Hello, [u8; NONCE])>,
}

/// The verdict on a newcomer.
enum Heard {
    /// It has not sent enough yet.
    Waiting,
    /// It is not slpo, or it has disconnected.
    Stranger,
    /// It does not know the secret.
    Unproven(String),
    /// Its rank, or why it belongs to another run.
    Process(Result<usize, String>),
}

impl Newcomer {
    fn new(stream: TcpStream) -> Self {
        Self { stream, since: Instant::now(), bytes: Vec::with_capacity(HELLO), challenged: None }
    }

    /// Reads the bytes that have arrived, until there are `length` in total; `None` while there are fewer.
    fn read(&mut self, length: usize) -> Result<Option<()>, ErrorKind> {
        while self.bytes.len() < length {
            let mut buffer = [0; HELLO];
            match self.stream.read(&mut buffer[..length - self.bytes.len()]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof),
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error.kind()),
            }
        }
        Ok(Some(()))
    }

    fn hear(&mut self, place: &Place) -> Result<Heard> {
        let Some((hello, nonce)) = self.challenged else { return self.hear_hello(place) };
        let secret = place.secret.as_ref().expect("only a secret is asked for");
        Ok(match self.read(PROOF) {
            Err(_) => Heard::Stranger,
            Ok(None) => Heard::Waiting,
            Ok(Some(())) if is_proof(secret, Side::Newcomer, &hello, &nonce, &self.bytes) => Heard::Process(hello.rank(place)),
            Ok(Some(())) => Heard::Unproven("this process has another SLPO_GROUP_SECRET than the first".to_owned()),
        })
    }

    fn hear_hello(&mut self, place: &Place) -> Result<Heard> {
        let read = self.read(HELLO);
        match (beginning(&self.bytes), read) {
            (Beginning::Stranger, _) | (_, Err(_)) => return Ok(Heard::Stranger),
            (Beginning::OtherVersion, _) if place.secret.is_some() => return Ok(Heard::Unproven(OTHER_VERSION.to_owned())),
            (Beginning::OtherVersion, _) => return Ok(Heard::Process(Err(OTHER_VERSION.to_owned()))),
            (Beginning::Good, Ok(None)) => return Ok(Heard::Waiting),
            (Beginning::Good, Ok(Some(()))) => {}
        }
        let hello = Hello(std::array::from_fn(|index| self.bytes[index]));
        let Some(secret) = &place.secret else {
            let has_none =
                || if hello.has_secret() { Err("has a SLPO_GROUP_SECRET, and the first process has none".to_owned()) } else { Ok(()) };
            return Ok(Heard::Process(has_none().and_then(|()| hello.rank(place))));
        };
        if !hello.has_secret() {
            return Ok(Heard::Unproven("the first process has a SLPO_GROUP_SECRET, and this one has none".to_owned()));
        }
        let own = nonce()?;
        let challenge = [&[CHALLENGE], own.as_slice(), &proof(secret, Side::First, &hello, &own)].concat();
        if (&self.stream).write_all(&challenge).is_err() {
            return Ok(Heard::Stranger);
        }
        self.bytes.clear();
        self.challenged = Some((hello, own));
        self.hear(place)
    }
}

/// The result of an attempt to meet the first process.
enum Tried {
    Met(Link),
    /// The first process could not be reached, or disconnected. Another attempt may succeed.
    Again(String),
    /// The first process answered, and this process cannot take part.
    Never(String),
}

/// Runs the side of any other process: connects to the first, and waits until all are connected.
pub fn connect(place: &Place) -> Result<Link> {
    let deadline = Instant::now() + place.join_limit;
    let failed = |what: String| launch(format!("process 0 at {} (MASTER_ADDR:MASTER_PORT) {what}", meeting(place)));
    loop {
        let last = match try_to_meet(place, deadline)? {
            Tried::Met(link) => return Ok(link),
            Tried::Never(why) => return Err(failed(why)),
            Tried::Again(why) => why,
        };
        if Instant::now() >= deadline {
            let seconds = place.join_limit.as_secs();
            return Err(failed(format!("cannot be reached within {seconds} s (SLPO_JOIN_SECONDS): {last}")));
        }
        sleep(PAUSE);
    }
}

fn try_to_meet(place: &Place, deadline: Instant) -> Result<Tried> {
    let mut stream = match try_connect(place, deadline.saturating_duration_since(Instant::now()).max(PAUSE)) {
        Ok(stream) => stream,
        Err(why) => return Ok(Tried::Again(why)),
    };
    let hello = Hello::new(place)?;
    // The first process waits until the same limit, and then says how the meeting ended.
    let outcome = meet(&mut stream, place, &hello, deadline + PATIENCE);
    Ok(match outcome {
        Ok(Ok(())) => match Link::new(stream, 0, place.size) {
            Ok(link) => Tried::Met(link),
            Err(error) => Tried::Again(error.to_string()),
        },
        Ok(Err(why)) => Tried::Never(why),
        Err(error) => Tried::Again(format!("it does not say that all processes are there: {error}")),
    })
}

/// Runs the newcomer's side of the meeting. The inner error says why it cannot take part.
fn meet(stream: &mut TcpStream, place: &Place, hello: &Hello, deadline: Instant) -> std::io::Result<Result<(), String>> {
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&hello.0)?;
    let mut answer = [0];
    let mut is_proven = place.secret.is_none();
    loop {
        read_until(stream, &mut answer, deadline)?;
        match (answer[0], &place.secret) {
            (WELCOME, _) if is_proven => return Ok(Ok(())),
            (CHALLENGE, Some(secret)) if !is_proven => {
                let mut bytes = [0; NONCE + PROOF];
                read_until(stream, &mut bytes, deadline)?;
                let (nonce, given) = bytes.split_first_chunk::<NONCE>().expect("a nonce and a proof");
                if !is_proof(secret, Side::First, hello, nonce, given) {
                    return Ok(Err("does not prove that it has the same SLPO_GROUP_SECRET".to_owned()));
                }
                stream.write_all(&proof(secret, Side::Newcomer, hello, nonce))?;
                is_proven = true;
            }
            (REFUSED, _) => return Ok(Err(format!("says: {}", reason(stream)))),
            _ => return Ok(Err("is no slpo, or one that lets in anyone".to_owned())),
        }
    }
}

/// Fills a buffer by the deadline, even if the bytes arrive one by one.
fn read_until(stream: &mut TcpStream, bytes: &mut [u8], deadline: Instant) -> std::io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut bytes[filled..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads the reason that another process gives, up to the end of the stream.
fn reason(stream: &mut TcpStream) -> String {
    let (deadline, mut bytes, mut byte) = (Instant::now() + PATIENCE, Vec::new(), [0]);
    while (bytes.len() as u64) < REASON && read_until(stream, &mut byte, deadline).is_ok() {
        bytes.push(byte[0]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Tries every address once. The error is that of the last address.
fn try_connect(place: &Place, limit: Duration) -> Result<TcpStream, String> {
    let mut last = String::new();
    for address in addresses(place, limit)? {
        match TcpStream::connect_timeout(&address, limit.min(PATIENCE)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}
