//! What the runs say: outcomes of the chosen settings by seed, and each arm beside dpo.

use super::record::{Key, Record};
use super::stages::{MIDDLE, Records, Scale, chosen};
use engine::Generator;
use model::study::arms::{ARMS, Arm};
use model::study::grid::Trial;
use model::study::path::{DIVERGENCES, NAMES};
use model::study::statistics::{Summary, holm, summary};

/// The stream of the bootstraps.
const RESAMPLING: u64 = 29;

/// The runs with the settings that were chosen.
pub struct Results<'a> {
    /// The amount of work.
    pub scale: Scale,
    /// All runs.
    pub records: &'a Records,
    /// The chosen trial of each arm at each divergence.
    pub chosen: Vec<[Trial; DIVERGENCES.len()]>,
}

/// An arm beside dpo at one divergence.
#[derive(Clone, Copy, Debug)]
pub struct Beside {
    /// The arm.
    pub arm: usize,
    /// The reward less dpo's, seed by seed.
    pub difference: Summary,
    /// p after Holm's correction over all arms.
    pub corrected: f64,
}

/// The arm of a name.
pub fn arm(name: &str) -> usize {
    Arm::named(name).expect("an arm of the table")
}

/// Summarises numbers with the study's own resamples.
pub fn summarise(values: &[f64]) -> Summary {
    summary(values, &Generator::new(RESAMPLING))
}

impl<'a> Results<'a> {
    /// Takes the runs of a whole study.
    pub fn new(scale: Scale, records: &'a Records) -> Self {
        let chosen = chosen(&scale, records);
        Self { scale, records, chosen }
    }

    fn key(&self, arm: usize, place: usize, seed: u64) -> Key {
        Key { cell: self.scale.base(), arm, trial: self.chosen[arm][place], seed, steps: self.scale.steps }
    }

    /// Applies `f` to an arm's runs at a divergence's chosen trial, seed by seed.
    pub fn fresh(&self, arm: usize, place: usize, f: impl Fn(&Record) -> f64) -> Vec<f64> {
        self.scale.fresh_seeds.iter().map(|&seed| f(&self.records[&self.key(arm, place, seed)])).collect()
    }

    /// Applies `f` to an arm's runs in a cell, seed by seed, with the settings chosen for the middle divergence; `None` if the arm is not
    /// run there.
    pub fn in_cell(&self, cell: &str, arm: usize, f: impl Fn(&Record) -> f64) -> Option<Vec<f64>> {
        let cell = self.scale.cells.iter().find(|name| **name == cell)?;
        let key = |seed| Key { cell, ..self.key(arm, MIDDLE, seed) };
        self.scale.fresh_seeds.iter().map(|&seed| self.records.get(&key(seed)).map(&f)).collect()
    }

    /// Applies `f` to an arm's long runs, seed by seed; `None` if the arm has none.
    pub fn long(&self, arm: usize, f: impl Fn(&Record) -> f64) -> Option<Vec<f64>> {
        let is_long = |key: &Key| key.arm == arm && key.steps > self.scale.steps;
        let runs: Vec<f64> = self.records.iter().filter(|(key, _)| is_long(key)).map(|(_, record)| f(record)).collect();
        (runs.len() == self.scale.fresh_seeds.len()).then_some(runs)
    }

    /// Compares every other arm with dpo at a divergence.
    pub fn beside_dpo(&self, place: usize) -> Vec<Beside> {
        let reward = |arm: usize| self.fresh(arm, place, |record| record.reached[place].values[0]);
        let dpo = reward(0);
        let of_arm = |arm: usize| summarise(&differences(&reward(arm), &dpo));
        let all: Vec<(usize, Summary)> = (1..ARMS.len()).map(|arm| (arm, of_arm(arm))).collect();
        let corrected = holm(&all.iter().map(|(_, difference)| difference.p).collect::<Vec<f64>>());
        all.into_iter().zip(corrected).map(|((arm, difference), corrected)| Beside { arm, difference, corrected }).collect()
    }

    /// The share of the best possible reward that an arm reached at a divergence, seed by seed.
    pub fn share(&self, arm: usize, place: usize) -> Vec<f64> {
        self.fresh(arm, place, |record| record.reached[place].values[0] / record.best[place])
    }
}

/// The number of a moment under its name.
pub fn value(values: &[f64; NAMES.len()], name: &str) -> f64 {
    NAMES.iter().position(|other| *other == name).map_or(f64::NAN, |place| values[place])
}

/// a − b, number by number.
pub fn differences(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// The mean of some numbers.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
