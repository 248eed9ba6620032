//! The runs of the study, stage by stage. Later stages follow from the outcomes of earlier ones.
//!
//! | stage | runs |
//! |---|---|
//! | tuning | the first trials of every arm, on the tuning seeds |
//! | widening, twice | further trials where a lattice ends at its best trial, as many for every arm |
//! | fresh | the chosen trials of every arm, on fresh seeds |
//! | cells | the trials chosen at the middle divergence, in every other cell |
//! | long | the same trials with ten times the steps |

use super::record::{Key, Record};
use model::study::arms::ARMS;
use model::study::cells::CELLS;
use model::study::grid::{Trial, best, beyond_edges, first, further};
use model::study::path::DIVERGENCES;
use std::collections::{BTreeMap, BTreeSet};

/// The place of the divergence whose chosen trials are used in other cells and long runs.
pub const MIDDLE: usize = 2;
/// The stage of the runs that are reported.
const FRESH: &str = "fresh";
/// The most rounds of widening.
const ROUNDS: usize = 2;
/// The length of long runs, in usual runs.
const LONG: u64 = 10;
/// Arms that are run in the largest world: those about which a hypothesis speaks there. All arms would take hours.
const IN_LARGE_WORLDS: [&str; 7] = ["dpo", "sft", "slpo eq6", "slpo eq7", "slpo shift", "slpo-gkl .9", "slpo-halves"];
/// Arms that are run for long: those about which a hypothesis speaks.
const FOR_LONG: [&str; 7] = ["dpo", "slpo-gkl 1", "slpo-gkl .9", "slpo-gkl .7", "slpo-token", "slpo-literal", "slpo-exact"];

/// The amount of work.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// The name in the file of runs.
    pub name: &'static str,
    /// Optimiser steps of a run.
    pub steps: u64,
    /// The seeds on which settings are chosen.
    pub tuning_seeds: Vec<u64>,
    /// The seeds on which they are reported.
    pub fresh_seeds: Vec<u64>,
    /// The cells, the first of which is the one in which settings are chosen.
    pub cells: Vec<&'static str>,
}

impl Scale {
    /// The whole study.
    pub fn full() -> Self {
        let cells = CELLS.iter().map(|cell| cell.name).collect();
        Self { name: "full", steps: 240, tuning_seeds: vec![100, 101, 102], fresh_seeds: (0..10).collect(), cells }
    }

    /// A study of a minute or two, which shows the form of the results.
    pub fn quick() -> Self {
        Self { name: "quick", steps: 24, tuning_seeds: vec![100], fresh_seeds: vec![0, 1, 2], cells: vec!["length 2", "length 4"] }
    }

    /// Returns the cell in which settings are chosen.
    pub fn base(&self) -> &'static str {
        self.cells[0]
    }

    /// Returns the scale of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::full(), Self::quick()].into_iter().find(|scale| scale.name == name)
    }
}

/// A stage with its runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// The name.
    pub name: &'static str,
    /// The runs, in order.
    pub keys: Vec<Key>,
}

/// Finished runs, by what they are.
pub type Records = BTreeMap<Key, Record>;

/// Returns the first stage that has unfinished runs, or `None` if the study is whole.
pub fn next(scale: &Scale, records: &Records) -> Option<Stage> {
    let is_unfinished = |stage: &Stage| stage.keys.iter().any(|key| !records.contains_key(key));
    let mut lattices: Vec<BTreeSet<Trial>> = ARMS.iter().map(|arm| first(arm).into_iter().collect()).collect();
    let tuning = Stage { name: "tuning", keys: keys(scale, &lattices, &scale.tuning_seeds) };
    if is_unfinished(&tuning) {
        return Some(tuning);
    }
    for _ in 0..ROUNDS {
        let Some(wider) = widened(scale, records, &lattices) else { break };
        lattices = wider;
        let widening = Stage { name: "widening", keys: keys(scale, &lattices, &scale.tuning_seeds) };
        if is_unfinished(&widening) {
            return Some(widening);
        }
    }
    let chosen: Vec<[Trial; DIVERGENCES.len()]> = (0..ARMS.len()).map(|arm| bests(scale, records, arm, &lattices[arm])).collect();
    let of_all: Vec<BTreeSet<Trial>> = chosen.iter().map(|trials| trials.iter().copied().collect()).collect();
    let fresh = Stage { name: FRESH, keys: keys(scale, &of_all, &scale.fresh_seeds) };
    [fresh, cells(scale, &chosen), long(scale, &chosen)].into_iter().find(is_unfinished)
}

/// Returns the chosen trial of an arm at each divergence. All tuning must be done.
pub fn chosen(scale: &Scale, records: &Records) -> Vec<[Trial; DIVERGENCES.len()]> {
    let tried = |arm: usize| {
        let of_arm = records.keys().filter(|key| key.arm == arm && key.cell == scale.base() && scale.tuning_seeds.contains(&key.seed));
        of_arm.map(|key| key.trial).collect::<BTreeSet<Trial>>()
    };
    (0..ARMS.len()).map(|arm| bests(scale, records, arm, &tried(arm))).collect()
}

/// Returns the runs of a stage whose paths are drawn: fresh ones with the settings that were chosen for the middle divergence.
pub fn drawn(stage: &Stage, scale: &Scale, records: &Records) -> BTreeSet<Key> {
    if stage.name != FRESH {
        return BTreeSet::new();
    }
    let chosen = chosen(scale, records);
    stage.keys.iter().copied().filter(|key| key.trial == chosen[key.arm][MIDDLE]).collect()
}

/// Returns the first run of a study.
pub fn first_key(scale: &Scale) -> Key {
    key(scale, 0, first(&ARMS[0])[0], scale.tuning_seeds[0])
}

fn key(scale: &Scale, arm: usize, trial: Trial, seed: u64) -> Key {
    Key { cell: scale.base(), arm, trial, seed, steps: scale.steps }
}

fn keys(scale: &Scale, lattices: &[BTreeSet<Trial>], seeds: &[u64]) -> Vec<Key> {
    let of_arm = |(arm, trials): (usize, &BTreeSet<Trial>)| {
        let trials: Vec<Trial> = trials.iter().copied().collect();
        trials.into_iter().flat_map(move |trial| seeds.iter().map(move |&seed| key(scale, arm, trial, seed))).collect::<Vec<_>>()
    };
    lattices.iter().enumerate().flat_map(of_arm).collect()
}

/// The best of some trials at each divergence, by the mean reward over the tuning seeds.
fn bests(scale: &Scale, records: &Records, arm: usize, trials: &BTreeSet<Trial>) -> [Trial; DIVERGENCES.len()] {
    std::array::from_fn(|place| {
        let outcome = |trial: Trial| {
            let rewards = scale.tuning_seeds.iter().map(|&seed| records[&key(scale, arm, trial, seed)].reached[place].values[0]);
            rewards.sum::<f64>() / scale.tuning_seeds.len() as f64
        };
        best(&trials.iter().map(|&trial| (trial, outcome(trial))).collect()).expect("every arm has trials")
    })
}

/// The lattices with their further trials, or `None` if no best trial lies at an edge.
fn widened(scale: &Scale, records: &Records, lattices: &[BTreeSet<Trial>]) -> Option<Vec<BTreeSet<Trial>>> {
    let bests: Vec<_> = lattices.iter().enumerate().map(|(arm, trials)| bests(scale, records, arm, trials)).collect();
    let wanted: Vec<_> = ARMS.iter().zip(lattices).zip(&bests).map(|((arm, tried), bests)| beyond_edges(arm, tried, bests)).collect();
    let count = wanted.iter().map(BTreeSet::len).max().filter(|&count| count > 0)?;
    let wider = |arm: usize| {
        let more = further(&ARMS[arm], &lattices[arm], &bests[arm], &wanted[arm], count);
        lattices[arm].iter().copied().chain(more).collect()
    };
    Some((0..ARMS.len()).map(wider).collect())
}

fn cells(scale: &Scale, chosen: &[[Trial; DIVERGENCES.len()]]) -> Stage {
    let others = scale.cells.iter().skip(1);
    let of_cell = |cell: &&'static str| {
        let cell = *cell;
        let is_run = move |arm: &usize| cell != "length 6" || IN_LARGE_WORLDS.contains(&ARMS[*arm].name);
        let arms = (0..ARMS.len()).filter(is_run);
        arms.flat_map(move |arm| scale.fresh_seeds.iter().map(move |&seed| Key { cell, ..key(scale, arm, chosen[arm][MIDDLE], seed) }))
    };
    Stage { name: "cells", keys: others.flat_map(of_cell).collect() }
}

fn long(scale: &Scale, chosen: &[[Trial; DIVERGENCES.len()]]) -> Stage {
    let arms = (0..ARMS.len()).filter(|&arm| FOR_LONG.contains(&ARMS[arm].name));
    let of_arm = |arm: usize| {
        scale.fresh_seeds.iter().map(move |&seed| Key { steps: LONG * scale.steps, ..key(scale, arm, chosen[arm][MIDDLE], seed) })
    };
    Stage { name: "long", keys: arms.flat_map(of_arm).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::study::path::{Moment, Reached};

    /// A record whose reward is largest at one learning rate and strength.
    fn record(key: Key, [rate, strength]: [i32; 2]) -> Record {
        let reward = -f64::from((key.trial.rate - rate).pow(2) + (key.trial.strength - strength).pow(2));
        let values = [reward, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let end = Moment { step: key.steps, divergence: 1.0, values };
        let reached = [Reached { is_reached: true, values }; DIVERGENCES.len()];
        Record { key, reached, best: [0.0; DIVERGENCES.len()], end, broken_at: None, ches_auc: None, exact_gain: 0.0, seconds: 0.0 }
    }

    /// Makes all runs. Returns the names of the stages with the numbers of new runs.
    fn whole(scale: &Scale, best: [i32; 2]) -> (Records, Vec<(&'static str, usize)>) {
        let (mut records, mut stages) = (Records::new(), Vec::new());
        while let Some(stage) = next(scale, &records) {
            let before = records.len();
            for key in stage.keys {
                records.entry(key).or_insert_with(|| record(key, best));
            }
            stages.push((stage.name, records.len() - before));
        }
        (records, stages)
    }

    #[test]
    fn every_arm_gets_as_many_trials_and_lattices_grow_twice_at_most() {
        let scale = Scale::full();
        for (best, rounds) in [([0, 1], 0), ([9, 9], 2)] {
            let (records, stages) = whole(&scale, best);
            let widenings = stages.iter().filter(|(name, _)| *name == "widening").count();
            assert!(widenings >= rounds && widenings <= 2, "{stages:?}");
            let trials = |arm: usize| records.keys().filter(|key| key.arm == arm && key.seed == 100).count();
            assert!((0..ARMS.len()).all(|arm| trials(arm) == trials(0)), "{stages:?}");
            assert_eq!(stages.first(), Some(&("tuning", 12 * 3 * ARMS.len())));
            assert_eq!(stages.last().map(|(name, _)| *name), Some("long"));
        }
    }

    #[test]
    fn fresh_seeds_never_choose() {
        let scale = Scale::quick();
        let (mut records, _) = whole(&scale, [0, 1]);
        let before = chosen(&scale, &records);
        for (key, record) in &mut records {
            if scale.fresh_seeds.contains(&key.seed) {
                record.reached[0].values[0] = f64::from(key.trial.rate);
            }
        }
        assert_eq!(chosen(&scale, &records), before);
        assert_eq!(next(&scale, &records), None);
    }
}
