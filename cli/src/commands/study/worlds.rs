//! Runs in small worlds and in the language. What runs of one seed share is prepared once.

use super::design::{Design, Key};
use super::once::Once;
use super::record::Record;
use crate::failure::Failure;
use engine::Device;
use model::language::Language;
use model::study::cells::Cell;
use model::study::in_language::{InLanguage, REPORTED_DRAWS, TUNING_DRAWS};
use model::study::measure::best_reward;
use model::study::path::Moment;
use model::study::prepared::Prepared;
use std::time::Instant;

/// A world with the most reward that each divergence allows in it.
type World = (Prepared<Device>, Vec<f64>);

/// The worlds that were prepared so far, by cell and seed.
pub struct Worlds {
    design: Design,
    device: Device,
    known: Once<(&'static str, u64), World>,
}

impl Worlds {
    /// Prepares nothing yet.
    pub fn new(design: Design, device: Device) -> Self {
        Self { design, device, known: Once::new() }
    }

    /// Makes a run. Returns its record and its moments.
    ///
    /// # Errors
    /// Those of the world's reference and of the run.
    pub fn run(&self, key: Key) -> Result<(Record, Vec<Moment>), Failure> {
        self.known.with(
            (key.cell, key.seed),
            || self.prepare(key),
            |(prepared, best)| {
                let started = Instant::now();
                let Key { arm, trial, steps, .. } = key;
                let (rate, strength) = (self.design.learning_rate(arm, trial), self.design.strength(arm, trial));
                let run = prepared.run(&self.design.arms[arm], rate, strength, steps)?;
                Ok(Record::new(key, run, best.clone(), started.elapsed().as_secs_f64(), &self.design))
            },
        )
    }

    fn prepare(&self, key: Key) -> model::Result<World> {
        let cell = Cell::named(key.cell).expect("a run names its cell");
        let prepared = Prepared::new(&self.device, &cell, key.seed)?;
        let (start, rewards) = (&prepared.start, &prepared.world.rewards);
        let most = |&divergence: &f64| best_reward(start, rewards, divergence) - start.expected_reward(rewards);
        let best = self.design.divergences.iter().map(most).collect();
        Ok((prepared, best))
    }
}

/// The decoders that have learned the language so far, by seed.
pub struct Languages {
    design: Design,
    device: Device,
    /// The most reward above the language's own at each divergence.
    best: Vec<f64>,
    known: Once<u64, InLanguage<Device>>,
}

impl Languages {
    /// Prepares nothing yet.
    pub fn new(design: Design, device: Device) -> Self {
        let language = Language::new();
        let most = |&divergence: &f64| language.most_reward_at(divergence) - language.expected_reward();
        Self { best: design.divergences.iter().map(most).collect(), design, device, known: Once::new() }
    }

    /// Makes a run. Returns its record and its moments.
    ///
    /// # Errors
    /// Those of the reference and of the run.
    pub fn run(&self, key: Key) -> Result<(Record, Vec<Moment>), Failure> {
        let make = || InLanguage::new(&self.device, key.seed);
        self.known.with(key.seed, make, |prepared| {
            let started = Instant::now();
            let Key { arm, trial, steps, seed, .. } = key;
            let (rate, strength) = (self.design.learning_rate(arm, trial), self.design.strength(arm, trial));
            let draws = if self.design.fresh_seeds.contains(&seed) { REPORTED_DRAWS } else { TUNING_DRAWS };
            let run = prepared.run(&self.design.arms[arm], rate, strength, steps, draws)?;
            Ok(Record::new(key, run, self.best.clone(), started.elapsed().as_secs_f64(), &self.design))
        })
    }
}
