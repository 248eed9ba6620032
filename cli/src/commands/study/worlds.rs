//! Runs in small worlds. Each world is prepared once.

use super::design::{Design, Key};
use super::record::Record;
use crate::failure::Failure;
use engine::Device;
use model::study::cells::Cell;
use model::study::measure::best_reward;
use model::study::path::Moment;
use model::study::prepared::Prepared;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// A world with what is known of it.
struct Known {
    prepared: Prepared<Device>,
    best: Vec<f64>,
}

/// A world that one run prepares while others wait for it.
type Place = Arc<OnceLock<Result<Known, String>>>;

/// The worlds that were prepared so far, by cell and seed.
pub struct Worlds {
    design: Design,
    device: Device,
    known: Mutex<BTreeMap<(&'static str, u64), Place>>,
}

impl Worlds {
    /// Prepares nothing yet.
    pub fn new(design: Design, device: Device) -> Self {
        Self { design, device, known: Mutex::default() }
    }

    /// Makes a run. Returns its record and its moments.
    ///
    /// # Errors
    /// Those of the world's reference and of the run.
    pub fn run(&self, key: Key) -> Result<(Record, Vec<Moment>), Failure> {
        let place = self.known.lock().unwrap_or_else(PoisonError::into_inner).entry((key.cell, key.seed)).or_default().clone();
        let known = place.get_or_init(|| self.prepare(key).map_err(|error| error.to_string()));
        let Known { prepared, best } = known.as_ref().map_err(|error| Failure::Failed(error.clone()))?;
        let started = Instant::now();
        let Key { arm, trial, steps, .. } = key;
        let arm_of_design = &self.design.arms[arm];
        let run = prepared.run(arm_of_design, self.design.learning_rate(arm, trial), self.design.strength(arm, trial), steps)?;
        Ok(Record::new(key, run, best.clone(), started.elapsed().as_secs_f64(), &self.design))
    }

    fn prepare(&self, key: Key) -> model::Result<Known> {
        let cell = Cell::named(key.cell).expect("a run names its cell");
        let prepared = Prepared::new(&self.device, &cell, key.seed)?;
        let (start, rewards) = (&prepared.start, &prepared.world.rewards);
        let most = |&divergence: &f64| best_reward(start, rewards, divergence) - start.expected_reward(rewards);
        let best = self.design.divergences.iter().map(most).collect();
        Ok(Known { prepared, best })
    }
}
