//! Runs side by side, each on one thread. Their records come in the order of the runs, whichever ends first.

use super::record::{Key, Record};
use crate::failure::Failure;
use engine::Device;
use model::study::cells::Cell;
use model::study::measure::best_reward;
use model::study::path::{DIVERGENCES, Moment};
use model::study::prepared::Prepared;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::Instant;

/// The stack of a thread, equal to that of a main thread.
const STACK_BYTES: usize = 8 << 20;

/// A world with what is known of it.
struct Known {
    prepared: Prepared<Device>,
    best: [f64; DIVERGENCES.len()],
}

/// The worlds that were prepared so far, by cell and seed.
#[derive(Default)]
pub struct Worlds {
    known: Mutex<BTreeMap<(&'static str, u64), Arc<OnceLock<Result<Known, String>>>>>,
}

impl Worlds {
    /// Makes a run. Returns its record and its moments.
    ///
    /// # Errors
    /// Those of the world's reference and of the run.
    pub fn run(&self, device: &Device, key: Key) -> Result<(Record, Vec<Moment>), Failure> {
        let place = self.known.lock().unwrap_or_else(PoisonError::into_inner).entry((key.cell, key.seed)).or_default().clone();
        let known = place.get_or_init(|| Known::new(device, key).map_err(|error| error.to_string()));
        let Known { prepared, best } = known.as_ref().map_err(|error| Failure::Failed(error.clone()))?;
        let started = Instant::now();
        let run = prepared.run(key.arm(), key.learning_rate(), key.strength(), key.steps)?;
        let record = Record::new(key, &run, *best, prepared.exact_gain(), started.elapsed().as_secs_f64());
        Ok((record, run.path))
    }
}

impl Known {
    fn new(device: &Device, key: Key) -> model::Result<Self> {
        let cell = Cell::named(key.cell).expect("a run names its cell");
        let prepared = Prepared::new(device, &cell, key.seed)?;
        let (start, rewards) = (&prepared.start, &prepared.world.rewards);
        let best = DIVERGENCES.map(|divergence| best_reward(start, rewards, divergence) - start.expected_reward(rewards));
        Ok(Self { prepared, best })
    }
}

/// Makes the runs on `threads` threads and passes each record with its path to `done`, in the order of the runs. Begins no further run once
/// `stop` says so. Returns true if all runs were made.
///
/// # Errors
/// Those of the runs and of `done`; [`Failure::Failed`] if threads cannot be started.
pub fn run_all(
    worlds: &Worlds,
    device: &Device,
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
            if sender.send((place, worlds.run(device, key))).is_err() {
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
