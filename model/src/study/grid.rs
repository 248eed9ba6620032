//! The settings that are tried, and the rule that chooses one.
//!
//! 1. Every arm gets the same number of first trials, on a lattice of learning rates and strengths.
//! 2. The best trial at each divergence is the one with the largest mean outcome over the tuning seeds.
//! 3. Where an arm's best trial lies at an edge of its lattice, the lattice grows there. Every other arm gets as many further trials, next
//!    to its own best ones.

use super::arms::Arm;
use std::collections::{BTreeMap, BTreeSet};

/// A place on an arm's lattice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trial {
    /// The place of the learning rate; 0 is the middle one.
    pub rate: i32,
    /// The place of the strength; 0 for an arm without one.
    pub strength: i32,
}

/// Returns the learning rate of a trial beside the `middle` one. A step is √10, or the fourth root of 10 for an arm whose learning rate is
/// all that is tuned.
pub fn learning_rate(arm: &Arm, trial: Trial, middle: f64) -> f64 {
    let steps = if arm.strength.is_some() { 2.0 } else { 4.0 };
    10.0_f64.powf(f64::from(trial.rate) / steps + middle.log10())
}

/// Returns the first trials of an arm: 12 of each.
pub fn first(arm: &Arm) -> Vec<Trial> {
    match arm.strength {
        Some(_) => (-1..=1).flat_map(|rate| (0..4).map(move |strength| Trial { rate, strength })).collect(),
        None => (-5..=6).map(|rate| Trial { rate, strength: 0 }).collect(),
    }
}

/// Returns the trial with the largest outcome. Of equal ones, the first on the lattice.
pub fn best(outcomes: &BTreeMap<Trial, f64>) -> Option<Trial> {
    let mut best: Option<(Trial, f64)> = None;
    for (&trial, &outcome) in outcomes {
        if best.is_none_or(|(_, least)| outcome > least) {
            best = Some((trial, outcome));
        }
    }
    best.map(|(trial, _)| trial)
}

/// Returns the trials by which a lattice grows: the neighbours of the best trials beyond an edge.
pub fn beyond_edges(arm: &Arm, tried: &BTreeSet<Trial>, bests: &[Trial]) -> BTreeSet<Trial> {
    let is_last = |of: fn(&Trial) -> i32, best: &Trial, sign: i32| tried.iter().all(|trial| sign * of(trial) <= sign * of(best));
    let mut wanted = BTreeSet::new();
    for best in bests {
        for sign in [-1, 1] {
            if is_last(|trial| trial.rate, best, sign) {
                wanted.insert(Trial { rate: best.rate + sign, ..*best });
            }
            if arm.strength.is_some() && is_last(|trial| trial.strength, best, sign) {
                wanted.insert(Trial { strength: best.strength + sign, ..*best });
            }
        }
    }
    wanted
}

/// Returns `count` further trials: those of `wanted`, then the nearest to the best ones that were not tried.
pub fn further(arm: &Arm, tried: &BTreeSet<Trial>, bests: &[Trial], wanted: &BTreeSet<Trial>, count: usize) -> Vec<Trial> {
    let mut chosen: Vec<Trial> = wanted.iter().copied().take(count).collect();
    let mut reach = 1;
    while chosen.len() < count {
        let strengths = if arm.strength.is_some() { -reach..=reach } else { 0..=0 };
        let around = |best: &Trial| {
            let best = *best;
            let strengths = strengths.clone();
            (-reach..=reach).flat_map(move |rate| {
                strengths.clone().map(move |strength| Trial { rate: best.rate + rate, strength: best.strength + strength })
            })
        };
        let mut near: Vec<Trial> = bests.iter().flat_map(around).filter(|trial| !tried.contains(trial)).collect();
        near.sort_by_key(|trial| (distance(bests, trial), *trial));
        for trial in near {
            if chosen.len() < count && !chosen.contains(&trial) {
                chosen.push(trial);
            }
        }
        reach += 1;
    }
    chosen
}

/// Steps on the lattice to the nearest of some trials.
fn distance(bests: &[Trial], trial: &Trial) -> i32 {
    bests.iter().map(|best| (best.rate - trial.rate).abs() + (best.strength - trial.strength).abs()).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::arms::ARMS;

    #[test]
    fn every_arm_gets_twelve_first_trials() {
        for arm in ARMS {
            assert_eq!(first(&arm).into_iter().collect::<BTreeSet<_>>().len(), 12, "{}", arm.name);
        }
        assert_eq!(learning_rate(&ARMS[0], Trial { rate: 2, strength: 0 }, 1e-3), 1e-2);
        assert_eq!(learning_rate(&ARMS[1], Trial { rate: -4, strength: 0 }, 1e-3), 1e-4);
    }

    #[test]
    fn the_lattice_grows_where_the_best_lies_at_its_edge_and_all_arms_get_as_many_trials() {
        let (dpo, sft) = (ARMS[0], ARMS[1]);
        let trial = |rate, strength| Trial { rate, strength };
        let tried: BTreeSet<Trial> = first(&dpo).into_iter().collect();
        assert!(beyond_edges(&dpo, &tried, &[trial(0, 1)]).is_empty());
        let wanted = beyond_edges(&dpo, &tried, &[trial(0, 1), trial(1, 3)]);
        assert_eq!(wanted, [trial(1, 4), trial(2, 3)].into());
        for (arm, bests) in [(dpo, [trial(0, 1)]), (sft, [trial(2, 0)])] {
            let tried: BTreeSet<Trial> = first(&arm).into_iter().collect();
            let more = further(&arm, &tried, &bests, &BTreeSet::new(), 5);
            let all: BTreeSet<Trial> = more.iter().copied().collect();
            assert!(all.len() == 5 && all.is_disjoint(&tried), "{more:?}");
        }
        assert_eq!(further(&dpo, &tried, &[trial(1, 3)], &wanted, 2), [trial(1, 4), trial(2, 3)]);
    }

    #[test]
    fn the_largest_outcome_wins_and_of_equals_the_first() {
        let trial = |rate| Trial { rate, strength: 0 };
        assert_eq!(best(&[(trial(0), 1.0), (trial(1), 2.0), (trial(2), 2.0)].into()), Some(trial(1)));
        assert_eq!(best(&BTreeMap::new()), None);
    }
}
