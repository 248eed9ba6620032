//! The processes of a training run, where it was started as several: as torchrun does, or by mpirun.
//!
//! All processes end together. What ends them is said once by the process that it happened to; the first one says as well which other was
//! lost, and what happened to all alike.

use crate::failure::Failure;
use crate::interrupt;
use model::Error;
use model::evaluate::Check;
use model::parallel::launch::{self, Place};
use model::parallel::tcp::TcpGroup;
use model::parallel::{Launch, Lost, Processes};
use std::cell::Cell;
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

static CURRENT: OnceLock<Processes> = OnceLock::new();

/// Joins the other processes, where this one was started as one of several.
///
/// # Errors
/// [`Failure::Usage`] where the environment contradicts itself; [`Failure::Model`] where the processes do not come together.
pub fn join() -> Result<(), Failure> {
    let joined = match Launch::from_environment().map_err(|error| Failure::Usage(error.to_string()))? {
        Launch::Alone => return Ok(()),
        Launch::Ranked(place) => ranked(place)?,
        Launch::Mpi => match by_mpi()? {
            Some(processes) => processes,
            None => return Ok(()),
        },
    };
    CURRENT.get_or_init(|| joined);
    Ok(())
}

fn ranked(place: Place) -> Result<Processes, Failure> {
    if TcpGroup::is_open(&place) {
        let what = "set SLPO_GROUP_SECRET to the same secret text in all processes";
        crate::terminal::say(&format!("warning: whoever can reach {}:{} can join this run: {what}", place.host, place.port));
    }
    Ok(Processes::join(move || TcpGroup::join(&place), end)?)
}

#[cfg(feature = "mpi")]
fn by_mpi() -> Result<Option<Processes>, Failure> {
    Ok(Some(Processes::join(model::parallel::mpi::MpiGroup::join, end)?))
}

#[cfg(not(feature = "mpi"))]
fn by_mpi() -> Result<Option<Processes>, Failure> {
    if ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"].iter().any(|name| std::env::var(name).is_ok_and(|value| value == "1")) {
        return Ok(None);
    }
    let reason = "mpirun started several processes, and this slpo was built without MPI: build it with --features mpi, or start it as torchrun \
                  does, with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT";
    Err(Failure::Usage(reason.to_owned()))
}

/// The processes of this run; `None` for a process by itself.
pub fn current() -> Option<&'static Processes> {
    CURRENT.get()
}

/// True if this process writes and speaks.
pub fn is_first() -> bool {
    current().is_none_or(|processes| processes.rank() == 0)
}

/// The number of processes.
pub fn count() -> usize {
    current().map_or(1, Processes::size)
}

/// The number of this process's GPU.
///
/// # Errors
/// [`Failure::Usage`] where there are several processes and nothing says which GPU is whose.
pub fn gpu() -> Result<usize, Failure> {
    let local = if current().is_some() { launch::local_rank()? } else { Some(0) };
    match local {
        Some(local) => Ok(local),
        None if count() == 1 => Ok(0),
        None => Err(Failure::Usage("LOCAL_RANK is not set: it says which GPU is this process's".to_owned())),
    }
}

/// The threads of each of several processes on this machine, where they are known to be several: a share of its cores.
///
/// # Errors
/// [`Failure::Model`] where the environment does not say it in numbers.
pub fn threads() -> Result<Option<usize>, Failure> {
    let Some(local) = current().map_or(Ok(None), |_| launch::local_size())? else { return Ok(None) };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Some((cores / local.max(1)).max(1)))
}

/// Waits until every process has arrived here.
///
/// # Errors
/// [`Failure::Model`] if a process is lost.
pub fn meet() -> Result<(), Failure> {
    Ok(current().map_or(Ok(()), Processes::meet)?)
}

/// Time between two looks at the others while the first process works alone.
const LOOK: Duration = Duration::from_secs(1);

/// Time that the other processes have to take a farewell.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a process says where all look whether one of them was asked to stop: what the first one is at, and the number of the signal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Work = 0,
    Done = 1,
    Stopped = 2,
}

/// What all processes said at one point, the same to each of them.
struct Seen {
    /// What the first process is at, as a number of [`At`].
    first_at: u8,
    /// True if one was asked to stop.
    stops: bool,
}

/// Asks all processes whether one was asked to stop, which then stops all with its signal.
fn look_round(processes: &Processes, at: At) -> model::Result<Seen> {
    let own = interrupt::signal().and_then(|signal| u8::try_from(signal).ok()).unwrap_or(0);
    let all = processes.gather(vec![at as u8, own])?;
    let signal = all.iter().filter_map(|said| said.get(1)).find(|signal| **signal > 0);
    if let Some(signal) = signal {
        interrupt::take_over(i32::from(*signal));
    }
    let first_at = all.first().and_then(|first| first.first()).copied().unwrap_or(At::Done as u8);
    Ok(Seen { first_at, stops: signal.is_some() })
}

/// Whether this process, or any other of the run, was asked to stop. All processes ask at the same point and get the same answer: a signal
/// that comes while they ask is for the next time.
///
/// # Errors
/// [`Error::Lost`].
pub fn stop_requested() -> model::Result<bool> {
    match current() {
        Some(processes) => Ok(look_round(processes, At::Work)?.stops),
        None => Ok(interrupt::requested()),
    }
}

/// What the first process does while the others [`wait_for_first`]. `work` calls its check between its parts, and ends early where the
/// check says so: where any process was asked to stop. `None` where it ended early.
///
/// # Errors
/// Those of `work`; [`Failure::Model`] where another process is lost.
pub fn alone<T>(work: impl FnOnce(Check<'_>) -> Result<T, Failure>) -> Result<Option<T>, Failure> {
    let looked = Cell::new(Instant::now());
    let check = || {
        if let Some(processes) = current()
            && (interrupt::requested() || looked.get().elapsed() >= LOOK)
        {
            look_round(processes, At::Work)?;
            looked.set(Instant::now());
        }
        if interrupt::requested() { Err(Error::Stopped) } else { Ok(()) }
    };
    let outcome = match work(&check) {
        Err(Failure::Model(Error::Stopped)) => None,
        outcome => Some(outcome?),
    };
    if let Some(processes) = current() {
        look_round(processes, if outcome.is_some() { At::Done } else { At::Stopped })?;
    }
    Ok(outcome)
}

/// Waits for what the first process does [`alone`]; false where it ended early.
///
/// # Errors
/// [`Failure::Model`] where another process is lost.
pub fn wait_for_first() -> Result<bool, Failure> {
    let Some(processes) = current() else { return Ok(true) };
    loop {
        let at = look_round(processes, At::Work)?.first_at;
        if at != At::Work as u8 {
            return Ok(at == At::Done as u8);
        }
    }
}

/// Whether a failure happens to all processes alike, or the first one was lost for it: then it is the first one's to say.
fn is_of_all(failure: &Failure) -> bool {
    match failure {
        Failure::Interrupted(_) | Failure::Usage(_) => true,
        Failure::Model(Error::NotFinite { .. } | Error::Launch(_)) => true,
        Failure::Model(Error::Lost(lost)) => lost.told_by_first,
        _ => false,
    }
}

/// The line about a failure for standard error, where it is this process's to say.
pub fn line(failure: &Failure) -> Option<String> {
    let Some(processes) = current().filter(|processes| processes.rank() > 0) else { return failure.line() };
    if is_of_all(failure) {
        return None;
    }
    let line = failure.line()?;
    if matches!(failure, Failure::Model(Error::Lost(_))) {
        return Some(line);
    }
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    Some(format!("error: process {} of {}: {line}", processes.rank(), processes.size()))
}

/// Leaves the other processes; they are told of a failure that is this process's own.
pub fn leave(failure: Option<&Failure>) {
    let Some(processes) = current() else { return };
    let own = failure.filter(|failure| !is_of_all(failure) && !matches!(failure, Failure::Model(Error::Lost(_))));
    processes.leave(own.map(|failure| failure.to_string()).as_deref());
}

/// Tells the other processes why this one ends, where they can be told within [`FAREWELL`]: this one may be at work with them.
pub fn leave_soon(reason: &str) {
    let Some(processes) = current() else { return };
    let (told, telling) = mpsc::channel();
    let reason = reason.to_owned();
    std::thread::spawn(move || {
        processes.leave(Some(&reason));
        let _ = told.send(());
    });
    let _ = telling.recv_timeout(FAREWELL);
}

/// Ends a process that waits for a lost one.
fn end(lost: &Lost) {
    if !lost.told_by_first {
        crate::terminal::say(&crate::terminal::line(&format!("error: {lost}")));
    }
    std::process::exit(1);
}
