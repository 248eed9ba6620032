//! The runs of the study, stage by stage. Later stages follow from the outcomes of earlier ones.
//!
//! | stage | runs |
//! |---|---|
//! | tuning | the first trials of every arm, on the tuning seeds |
//! | widening, twice | further trials where a lattice ends at its best trial, as many for every arm |
//! | fresh | the chosen trials of every arm, on fresh seeds |
//! | cells | the trials chosen at the middle divergence, in every other cell |
//! | long | the same trials with ten times the steps |

use super::design::{Design, Key};
use super::record::Record;
use model::study::grid::{Trial, best, beyond_edges, first, further};
use std::collections::{BTreeMap, BTreeSet};

/// The stage of the runs that are reported.
const FRESH: &str = "fresh";
/// The most rounds of widening.
const ROUNDS: usize = 2;
/// The length of long runs, in usual runs.
pub const LONG: u64 = 10;

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
pub fn next(design: &Design, records: &Records) -> Option<Stage> {
    let is_unfinished = |stage: &Stage| stage.keys.iter().any(|key| !records.contains_key(key));
    let mut lattices: Vec<BTreeSet<Trial>> = design.arms.iter().map(|arm| first(arm).into_iter().collect()).collect();
    let tuning = Stage { name: "tuning", keys: keys(design, &lattices, &design.tuning_seeds) };
    if is_unfinished(&tuning) {
        return Some(tuning);
    }
    for _ in 0..ROUNDS {
        let Some(wider) = widened(design, records, &lattices) else { break };
        lattices = wider;
        let widening = Stage { name: "widening", keys: keys(design, &lattices, &design.tuning_seeds) };
        if is_unfinished(&widening) {
            return Some(widening);
        }
    }
    let chosen: Vec<Vec<Trial>> = (0..design.arms.len()).map(|arm| bests(design, records, arm, &lattices[arm])).collect();
    let of_all: Vec<BTreeSet<Trial>> = chosen.iter().map(|trials| trials.iter().copied().collect()).collect();
    let fresh = Stage { name: FRESH, keys: keys(design, &of_all, &design.fresh_seeds) };
    [fresh, cells(design, &chosen), long(design, &chosen)].into_iter().find(is_unfinished)
}

/// Returns the chosen trial of an arm at each divergence. All tuning must be done.
pub fn chosen(design: &Design, records: &Records) -> Vec<Vec<Trial>> {
    let tried = |arm: usize| {
        let of_arm = records.keys().filter(|key| key.arm == arm && key.cell == design.base() && design.tuning_seeds.contains(&key.seed));
        of_arm.map(|key| key.trial).collect::<BTreeSet<Trial>>()
    };
    (0..design.arms.len()).map(|arm| bests(design, records, arm, &tried(arm))).collect()
}

/// Returns the runs of a stage whose paths are drawn: fresh ones with the settings that were chosen for the middle divergence.
pub fn drawn(stage: &Stage, design: &Design, records: &Records) -> BTreeSet<Key> {
    if stage.name != FRESH {
        return BTreeSet::new();
    }
    let chosen = chosen(design, records);
    stage.keys.iter().copied().filter(|key| key.trial == chosen[key.arm][design.middle()]).collect()
}

fn keys(design: &Design, lattices: &[BTreeSet<Trial>], seeds: &[u64]) -> Vec<Key> {
    let of_arm = |(arm, trials): (usize, &BTreeSet<Trial>)| {
        let trials: Vec<Trial> = trials.iter().copied().collect();
        trials.into_iter().flat_map(move |trial| seeds.iter().map(move |&seed| design.key(arm, trial, seed))).collect::<Vec<_>>()
    };
    lattices.iter().enumerate().flat_map(of_arm).collect()
}

/// The best of some trials at each divergence, by the mean reward over the tuning seeds.
fn bests(design: &Design, records: &Records, arm: usize, trials: &BTreeSet<Trial>) -> Vec<Trial> {
    let best_at = |place: usize| {
        let outcome = |trial: Trial| {
            let rewards = design.tuning_seeds.iter().map(|&seed| records[&design.key(arm, trial, seed)].reached[place].values[0]);
            rewards.sum::<f64>() / design.tuning_seeds.len() as f64
        };
        best(&trials.iter().map(|&trial| (trial, outcome(trial))).collect()).expect("every arm has trials")
    };
    (0..design.divergences.len()).map(best_at).collect()
}

/// The lattices with their further trials, or `None` if no best trial lies at an edge.
fn widened(design: &Design, records: &Records, lattices: &[BTreeSet<Trial>]) -> Option<Vec<BTreeSet<Trial>>> {
    let bests: Vec<_> = lattices.iter().enumerate().map(|(arm, trials)| bests(design, records, arm, trials)).collect();
    let wanted: Vec<_> =
        design.arms.iter().zip(lattices).zip(&bests).map(|((arm, tried), bests)| beyond_edges(arm, tried, bests)).collect();
    let count = wanted.iter().map(BTreeSet::len).max().filter(|&count| count > 0)?;
    let wider = |arm: usize| {
        let more = further(&design.arms[arm], &lattices[arm], &bests[arm], &wanted[arm], count);
        lattices[arm].iter().copied().chain(more).collect()
    };
    Some((0..design.arms.len()).map(wider).collect())
}

fn cells(design: &Design, chosen: &[Vec<Trial>]) -> Stage {
    let others = design.cells.iter().skip(1);
    let of_cell = |&cell: &&'static str| {
        design.arms_in(cell).into_iter().flat_map(move |arm| {
            design.fresh_seeds.iter().map(move |&seed| Key { cell, ..design.key(arm, chosen[arm][design.middle()], seed) })
        })
    };
    Stage { name: "cells", keys: others.flat_map(of_cell).collect() }
}

fn long(design: &Design, chosen: &[Vec<Trial>]) -> Stage {
    let of_arm = |arm: usize| {
        design
            .fresh_seeds
            .iter()
            .map(move |&seed| Key { steps: LONG * design.steps, ..design.key(arm, chosen[arm][design.middle()], seed) })
    };
    Stage { name: "long", keys: design.long_arms().into_iter().flat_map(of_arm).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::study::path::{Moment, Reached};

    /// A record whose reward is largest at one learning rate and strength.
    fn record(key: Key, [rate, strength]: [i32; 2]) -> Record {
        let reward = -f64::from((key.trial.rate - rate).pow(2) + (key.trial.strength - strength).pow(2));
        let values = vec![reward, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let end = Moment { step: key.steps, divergence: 1.0, values: values.clone() };
        let reached = vec![Reached { is_reached: true, values }; 5];
        Record { key, reached, best: vec![0.0; 5], end, broken_at: None, facts: vec![None; 2], seconds: 0.0 }
    }

    /// Makes all runs. Returns the names of the stages with the numbers of new runs.
    fn whole(design: &Design, best: [i32; 2]) -> (Records, Vec<(&'static str, usize)>) {
        let (mut records, mut stages) = (Records::new(), Vec::new());
        while let Some(stage) = next(design, &records) {
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
        let design = Design::full();
        for (best, rounds) in [([0, 1], 0), ([9, 9], 2)] {
            let (records, stages) = whole(&design, best);
            let widenings = stages.iter().filter(|(name, _)| *name == "widening").count();
            assert!(widenings >= rounds && widenings <= 2, "{stages:?}");
            let trials = |arm: usize| records.keys().filter(|key| key.arm == arm && key.seed == 100).count();
            assert!((0..design.arms.len()).all(|arm| trials(arm) == trials(0)), "{stages:?}");
            assert_eq!(stages.first(), Some(&("tuning", 12 * 3 * design.arms.len())));
            assert_eq!(stages.last().map(|(name, _)| *name), Some("long"));
        }
    }

    #[test]
    fn fresh_seeds_never_choose() {
        let design = Design::quick();
        let (mut records, _) = whole(&design, [0, 1]);
        let before = chosen(&design, &records);
        for (key, record) in &mut records {
            if design.fresh_seeds.contains(&key.seed) {
                record.reached[0].values[0] = f64::from(key.trial.rate);
            }
        }
        assert_eq!(chosen(&design, &records), before);
        assert_eq!(next(&design, &records), None);
    }
}
