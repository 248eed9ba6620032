//! What a group of processes does together. One thread does it, in the order in which it is asked; any thread may ask, and go on meanwhile.

use super::numbers::Numbers;
use crate::error::{Error, Lost, Result};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time after which a group that has nothing to do looks after its members.
const BEAT: Duration = Duration::from_secs(2);

/// Time that a process has to notice by itself that another one is lost: it may be waiting for a GPU that waits for the lost one.
const GRACE: Duration = Duration::from_secs(30);

/// The most that a process brings to a gathering whose sizes nobody knows before: settings, and log-probabilities of many pairs.
const GATHERED: usize = 4 << 30;

/// A group of processes as its thread sees it. Every process calls the same methods in the same order.
pub trait Group {
    /// This process's number, from 0.
    fn rank(&self) -> usize;
    /// The number of processes.
    fn size(&self) -> usize;
    /// Adds up what every process brings, element by element in the order of ranks; all get the same bits. All bring as many.
    fn sum(&mut self, numbers: &mut Numbers) -> Result<(), Lost>;
    /// What every process brings, in the order of ranks: at most `largest` bytes each, which must fit what this process brings.
    fn gather(&mut self, own: Vec<u8>, largest: usize) -> Result<Vec<Vec<u8>>, Lost>;
    /// Looks after the group while there is nothing to do.
    fn idle(&mut self) -> Result<(), Lost> {
        Ok(())
    }
    /// Tells the others that this process ends before its work is done, and why. Nothing is called after it.
    fn fail(&mut self, reason: &str);
}

type Answer<T> = Sender<Result<T, Lost>>;

enum Request {
    Sum(Numbers, Answer<Numbers>),
    Gather(Vec<u8>, usize, Answer<Vec<Vec<u8>>>),
    /// The end, and why it is one before the work is done.
    Leave(Option<String>),
}

/// What was asked for, when it is there.
pub struct Pending<T>(Receiver<Result<T, Lost>>);

impl<T> Pending<T> {
    /// Waits for it.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn wait(self) -> Result<T> {
        let answer = self.0.recv().unwrap_or_else(|_| panic!("the thread of the processes ended before its work"));
        Ok(answer?)
    }
}

/// A group of processes, of which this is one. Cloning shares it.
#[derive(Clone)]
pub struct Processes {
    rank: usize,
    size: usize,
    requests: Sender<Request>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Processes {
    /// Joins a group: `join` makes it on the thread on which it then stays. `on_lost` is called where another process is lost and this one
    /// does not come to notice, within half a minute: it should end the process.
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

    /// This process's number, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The number of processes.
    pub fn size(&self) -> usize {
        self.size
    }

    fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Pending<T> {
        let (answer, pending) = channel();
        // Where the thread is gone, waiting says so.
        let _ = self.requests.send(request(answer));
        Pending(pending)
    }

    /// Begins to add up numbers over the processes, element by element in the order of ranks. Every process brings as many.
    pub fn begin_sum(&self, numbers: Numbers) -> Pending<Numbers> {
        self.ask(|answer| Request::Sum(numbers, answer))
    }

    /// The sums of numbers over the processes, in the order of ranks. Every process brings as many.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn sum(&self, numbers: &[f64]) -> Result<Vec<f64>> {
        Ok(self.begin_sum(Numbers::F64(numbers.to_vec())).wait()?.into_elements())
    }

    /// What every process brings, in the order of ranks.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn gather(&self, own: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        self.gather_at_most(own, GATHERED)
    }

    /// As [`Processes::gather`], where no process has more than `largest` bytes to bring: whatever claims to be longer is refused unread.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn gather_at_most(&self, own: Vec<u8>, largest: usize) -> Result<Vec<Vec<u8>>> {
        self.ask(|answer| Request::Gather(own, largest, answer)).wait()
    }

    /// What every process says, in the order of ranks.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn gather_text(&self, own: &str) -> Result<Vec<String>> {
        let all = self.gather(own.as_bytes().to_vec())?;
        Ok(all.into_iter().map(|text| String::from_utf8_lossy(&text).into_owned()).collect())
    }

    /// True if any process says yes.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn any(&self, own: bool) -> Result<bool> {
        Ok(self.gather(vec![u8::from(own)])?.iter().any(|answer| answer == &[1]))
    }

    /// Waits until every process has come here.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn meet(&self) -> Result<()> {
        self.gather(Vec::new()).map(drop)
    }

    /// Leaves the group; where that is before the work is done, the others are told the reason, and end. Nothing can be asked for after it.
    pub fn leave(&self, reason: Option<&str>) {
        let _ = self.requests.send(Request::Leave(reason.map(str::to_owned)));
        let thread = self.thread.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(thread) = thread {
            // Where it panicked, that has been said.
            let _ = thread.join();
        }
    }
}

/// Answers requests until the end. Once another process is lost, every answer says so.
fn serve(mut group: impl Group, requests: &Receiver<Request>, on_lost: impl FnOnce(&Lost)) {
    let mut lost: Option<Lost> = None;
    loop {
        match requests.recv_timeout(if lost.is_some() { GRACE } else { BEAT }) {
            Ok(Request::Sum(mut numbers, answer)) => {
                let outcome = lost.clone().map_or_else(|| group.sum(&mut numbers), Err);
                lost = outcome.as_ref().err().cloned();
                // Nobody waits any more where the asking thread has failed.
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
