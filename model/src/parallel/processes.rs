//! Sums and gatherings of a group of processes. Any thread requests them and continues; one thread runs them, in the order of the requests.

use super::numbers::Numbers;
use crate::error::{Error, Lost, Result};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time without requests after which a group checks its members.
const BEAT: Duration = Duration::from_secs(2);

/// Time in which a process should notice by itself that another one is lost. After this time it may be stuck, waiting for a GPU that waits
/// for the lost process.
const GRACE: Duration = Duration::from_secs(30);

/// Largest number of bytes per process in a gathering whose sizes are not known in advance: settings, or log-probabilities of many pairs.
const GATHERED: usize = 4 << 30;

/// A group of processes as seen by its thread. Every process calls the same methods in the same order.
pub trait Group {
    /// Returns this process's number, from 0.
    fn rank(&self) -> usize;
    /// Returns the number of processes.
    fn size(&self) -> usize;
    /// Adds up the numbers of every process, element by element in the order of ranks. All get the same bits. All must pass the same number
    /// of elements.
    fn sum(&mut self, numbers: &mut Numbers) -> Result<(), Lost>;
    /// Collects the bytes of every process, in the order of ranks. Each process, this one too, may pass at most `largest` bytes.
    fn gather(&mut self, own: Vec<u8>, largest: usize) -> Result<Vec<Vec<u8>>, Lost>;
    /// Checks the members while there is nothing to do.
    fn idle(&mut self) -> Result<(), Lost> {
        Ok(())
    }
    /// Tells the others that this process ends before its work is done, and why. It is the last call.
    fn fail(&mut self, reason: &str);
}

type Answer<T> = Sender<Result<T, Lost>>;

enum Request {
    Sum(Numbers, Answer<Numbers>),
    Gather(Vec<u8>, usize, Answer<Vec<Vec<u8>>>),
    /// The end, with a reason if it comes before the work is done.
    Leave(Option<String>),
}

/// The future result of a request.
pub struct Pending<T>(Receiver<Result<T, Lost>>);

impl<T> Pending<T> {
    /// Waits for the result.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn wait(self) -> Result<T> {
        let answer = self.0.recv().unwrap_or_else(|_| panic!("the thread of the processes ended before its work"));
        Ok(answer?)
    }
}

/// A handle to the group of processes that this process belongs to. Clones share the group.
#[derive(Clone)]
pub struct Processes {
    rank: usize,
    size: usize,
    requests: Sender<Request>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Processes {
    /// Joins a group. `join` makes the group on the thread that then runs it. `on_lost` is called if another process is lost and this
    /// process makes no request for half a minute afterwards. It should end this process.
    ///
    /// # Errors
    /// Those of `join`; [`Error::Lost`].
    pub fn join<G: Group>(join: impl FnOnce() -> Result<G> + Send + 'static, on_lost: impl FnOnce(&Lost) + Send + 'static) -> Result<Self> {
        let (requests, asked) = channel();
        let (joined, outcome) = channel();
        let run = move || match join() {
            Ok(group) => {
                let _ = joined.send(Ok((group.rank(), group.size())));
                serve(group, &asked, on_lost);
            }
            Err(error) => drop(joined.send(Err(error))),
        };
        let failed = |source| Error::Launch(format!("cannot start a thread for the other processes: {source}"));
        let thread = std::thread::Builder::new().name("processes".to_owned()).spawn(run).map_err(failed)?;
        let (rank, size) = outcome.recv().unwrap_or_else(|_| panic!("the thread of the processes ended while it joined"))?;
        Ok(Self { rank, size, requests, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Returns this process's number, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Returns the number of processes.
    pub fn size(&self) -> usize {
        self.size
    }

    fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Pending<T> {
        let (answer, pending) = channel();
        // If the thread is gone, `wait` reports it.
        let _ = self.requests.send(request(answer));
        Pending(pending)
    }

    /// Begins to add up numbers over the processes, element by element in the order of ranks. All must pass the same number of elements.
    pub fn begin_sum(&self, numbers: Numbers) -> Pending<Numbers> {
        self.ask(|answer| Request::Sum(numbers, answer))
    }

    /// Adds up numbers over the processes, in the order of ranks, and waits. All must pass the same number of elements.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn sum(&self, numbers: &[f64]) -> Result<Vec<f64>> {
        Ok(self.begin_sum(Numbers::F64(numbers.to_vec())).wait()?.into_elements())
    }

    /// Collects the bytes of every process, in the order of ranks.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn gather(&self, own: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        self.gather_at_most(own, GATHERED)
    }

    /// Like [`Processes::gather`], for at most `largest` bytes per process. A longer message is refused without being read.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn gather_at_most(&self, own: Vec<u8>, largest: usize) -> Result<Vec<Vec<u8>>> {
        self.ask(|answer| Request::Gather(own, largest, answer)).wait()
    }

    /// Collects a text from every process, in the order of ranks.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn gather_text(&self, own: &str) -> Result<Vec<String>> {
        let all = self.gather(own.as_bytes().to_vec())?;
        Ok(all.into_iter().map(|text| String::from_utf8_lossy(&text).into_owned()).collect())
    }

    /// True if `own` is true in any process.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn any(&self, own: bool) -> Result<bool> {
        Ok(self.gather(vec![u8::from(own)])?.iter().any(|answer| answer == &[1]))
    }

    /// Waits until every process has made this call.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn meet(&self) -> Result<()> {
        self.gather(Vec::new()).map(drop)
    }

    /// Leaves the group. A `reason` means that the work is not done: the others are told the reason and end. No request is allowed
    /// afterwards.
    pub fn leave(&self, reason: Option<&str>) {
        let _ = self.requests.send(Request::Leave(reason.map(str::to_owned)));
        let thread = self.thread.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(thread) = thread {
            // If the thread panicked, the panic message has been shown.
            let _ = thread.join();
        }
    }
}

/// Answers requests until the end. Once another process is lost, every answer is that error.
fn serve(mut group: impl Group, requests: &Receiver<Request>, on_lost: impl FnOnce(&Lost)) {
    let mut lost: Option<Lost> = None;
    loop {
        match requests.recv_timeout(if lost.is_some() { GRACE } else { BEAT }) {
            Ok(Request::Sum(mut numbers, answer)) => {
                let outcome = lost.clone().map_or_else(|| group.sum(&mut numbers), Err);
                lost = outcome.as_ref().err().cloned();
                // If the requesting thread has failed, nobody waits for the answer.
                let _ = answer.send(outcome.map(|()| numbers));
            }
            Ok(Request::Gather(own, largest, answer)) => {
                let outcome = lost.clone().map_or_else(|| group.gather(own, largest), Err);
                lost = outcome.as_ref().err().cloned();
                let _ = answer.send(outcome);
            }
            Ok(Request::Leave(reason)) => {
                if let Some(reason) = reason {
                    group.fail(&reason);
                }
                return;
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => match lost {
                Some(lost) => return on_lost(&lost),
                None => lost = group.idle().err(),
            },
        }
    }
}
