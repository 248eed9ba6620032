//! Runs side by side, each on one thread. Their records come in the order of the runs, whichever ends first.

use super::design::Key;
use super::record::Record;
use crate::failure::Failure;
use model::study::path::Moment;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

/// The stack of a thread, equal to that of a main thread.
const STACK_BYTES: usize = 8 << 20;

/// Makes the runs with `run` on `threads` threads and passes each record with its path to `done`, in the order of the runs. Begins no
/// further run once `stop` says so. Returns true if all runs were made.
///
/// # Errors
/// Those of the runs and of `done`; [`Failure::Failed`] if threads cannot be started.
pub fn run_all(
    run: &(impl Fn(Key) -> Result<(Record, Vec<Moment>), Failure> + Sync),
    keys: &[Key],
    threads: usize,
    stop: impl Fn() -> bool,
    mut done: impl FnMut(Record, Vec<Moment>) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel();
    let work = |sender: mpsc::Sender<_>| {
        while !is_over.load(Ordering::Relaxed) {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(&key) = keys.get(place) else { return };
            if sender.send((place, run(key))).is_err() {
                return;
            }
        }
    };
    let pool = || rayon::ThreadPoolBuilder::new().num_threads(1).stack_size(STACK_BYTES).build();
    let pools: Vec<_> = (0..threads)
        .map(|_| pool())
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::Failed(format!("cannot start threads: {error}")))?;
    std::thread::scope(|scope| {
        for pool in &pools {
            let (sender, work) = (sender.clone(), &work);
            scope.spawn(move || pool.install(|| work(sender)));
        }
        drop(sender);
        let (mut waiting, mut written) = (BTreeMap::new(), 0);
        let mut result = Ok(());
        for (place, outcome) in receiver {
            waiting.insert(place, outcome);
            while let Some(outcome) = waiting.remove(&written).filter(|_| result.is_ok()) {
                result = outcome.and_then(|(record, path)| done(record, path));
                written += 1;
            }
            if result.is_err() || stop() {
                is_over.store(true, Ordering::Relaxed);
            }
        }
        result.map(|()| written == keys.len())
    })
}
