//! What the runs say: outcomes of the chosen settings by seed, and each arm beside the first.

use super::design::{Design, Key};
use super::record::Record;
use super::stages::{Records, chosen};
use engine::Generator;
use model::study::grid::Trial;
use model::study::statistics::{Summary, differences, holm, summary};

/// The level of significance.
pub const LEVEL: f64 = 0.05;
/// The stream of the bootstraps.
const RESAMPLING: u64 = 29;

/// The runs with the settings that were chosen.
pub struct Results<'a> {
    /// The study.
    pub design: Design,
    /// All runs.
    pub records: &'a Records,
    /// The chosen trial of each arm at each divergence.
    pub chosen: Vec<Vec<Trial>>,
}

/// An arm beside the first at one divergence.
#[derive(Clone, Copy, Debug)]
pub struct Beside {
    /// The arm.
    pub arm: usize,
    /// The outcome less that of the first arm, seed by seed.
    pub difference: Summary,
    /// p after Holm's correction over all arms.
    pub corrected: f64,
}

/// Summarises numbers with the study's own resamples.
pub fn summarise(values: &[f64]) -> Summary {
    summary(values, &Generator::new(RESAMPLING))
}

impl Beside {
    /// True if the comparison tells a difference after correction.
    pub fn is_told(&self) -> bool {
        self.corrected < LEVEL
    }

    /// True if the difference is the same in every seed and not 0. Then p is the least that the resamples can show, however small it is.
    pub fn is_same_in_every_seed(&self) -> bool {
        let (low, high) = self.difference.interval;
        low == high && self.difference.mean != 0.0
    }
}

impl<'a> Results<'a> {
    /// Takes the runs of a whole study.
    pub fn new(design: Design, records: &'a Records) -> Self {
        let chosen = chosen(&design, records);
        Self { design, records, chosen }
    }

    fn key(&self, arm: usize, place: usize, seed: u64) -> Key {
        self.design.key(arm, self.chosen[arm][place], seed)
    }

    /// Applies `f` to an arm's runs at a divergence's chosen trial, seed by seed.
    pub fn fresh(&self, arm: usize, place: usize, f: impl Fn(&Record) -> f64) -> Vec<f64> {
        self.design.fresh_seeds.iter().map(|&seed| f(&self.records[&self.key(arm, place, seed)])).collect()
    }

    /// Applies `f` to an arm's runs in a cell, seed by seed, with the settings chosen for the middle divergence; `None` if the arm is not
    /// run there.
    pub fn in_cell(&self, cell: &str, arm: usize, f: impl Fn(&Record) -> f64) -> Option<Vec<f64>> {
        let cell = self.design.cells.iter().find(|name| **name == cell)?;
        let key = |seed| Key { cell, ..self.key(arm, self.design.middle(), seed) };
        self.design.fresh_seeds.iter().map(|&seed| self.records.get(&key(seed)).map(&f)).collect()
    }

    /// Applies `f` to an arm's long runs, seed by seed; `None` if the arm has none.
    pub fn long(&self, arm: usize, f: impl Fn(&Record) -> f64) -> Option<Vec<f64>> {
        let is_long = |key: &Key| key.arm == arm && key.steps > self.design.steps;
        let runs: Vec<f64> = self.records.iter().filter(|(key, _)| is_long(key)).map(|(_, record)| f(record)).collect();
        (runs.len() == self.design.fresh_seeds.len()).then_some(runs)
    }

    /// Compares every other arm with the first at a divergence.
    pub fn beside_first(&self, place: usize) -> Vec<Beside> {
        let outcome = |arm: usize| self.fresh(arm, place, |record| record.reached[place].values[0]);
        let first = outcome(0);
        let of_arm = |arm: usize| summarise(&differences(&outcome(arm), &first));
        let all: Vec<(usize, Summary)> = (1..self.design.arms.len()).map(|arm| (arm, of_arm(arm))).collect();
        let corrected = holm(&all.iter().map(|(_, difference)| difference.p).collect::<Vec<f64>>());
        all.into_iter().zip(corrected).map(|((arm, difference), corrected)| Beside { arm, difference, corrected }).collect()
    }

    /// Returns a value under its name where runs reached a divergence, seed by seed.
    pub fn values(&self, arm: usize, place: usize, name: &str) -> Vec<f64> {
        let of = self.design.values.iter().position(|known| *known == name);
        self.fresh(arm, place, |record| of.map_or(f64::NAN, |of| record.reached[place].values[of]))
    }

    /// The share of the best possible outcome that an arm reached at a divergence, seed by seed.
    pub fn share(&self, arm: usize, place: usize) -> Vec<f64> {
        self.fresh(arm, place, |record| record.reached[place].values[0] / record.best[place])
    }
}

/// The mean of some numbers.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
