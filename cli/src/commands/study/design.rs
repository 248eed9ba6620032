//! The design of a study: what is compared and where, on which seeds, and what is measured. It is fixed before the first run.

use model::study::arms::{ARMS, Arm};
use model::study::cells::CELLS;
use model::study::grid::{Trial, learning_rate};
use model::study::in_language;
use model::study::prepared::{DIVERGENCES, FACTS, NAMES};

/// The middle learning rate in the small worlds, and in the language.
const MIDDLE_RATE: f64 = 1e-3;
const IN_LANGUAGE: f64 = 5e-4;
/// Arms that are run in the largest world: those about which a hypothesis speaks there. All arms would take hours.
const IN_LARGE_WORLDS: [&str; 7] = ["dpo", "sft", "slpo eq6", "slpo eq7", "slpo shift", "slpo-gkl .9", "slpo-halves"];
/// Arms that are run for long: those about which a hypothesis speaks.
const FOR_LONG: [&str; 7] = ["dpo", "slpo-gkl 1", "slpo-gkl .9", "slpo-gkl .7", "slpo-token", "slpo-literal", "slpo-exact"];

/// What a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The name of the cell.
    pub cell: &'static str,
    /// The place of the arm in the design.
    pub arm: usize,
    /// The place of its settings on the arm's lattice.
    pub trial: Trial,
    /// The seed of the world, the pairs and their order.
    pub seed: u64,
    /// Optimiser steps.
    pub steps: u64,
}

/// What a study compares, and how.
#[derive(Clone, Debug)]
pub struct Design {
    /// The name in the file of runs.
    pub name: &'static str,
    /// 1 in small worlds, 2 in the language, 3 on real pairs.
    pub tier: u8,
    /// Where the losses are compared, in words.
    pub place: &'static str,
    /// The losses. The others are compared with the first.
    pub arms: Vec<Arm>,
    /// The divergences κ at which runs are compared, ascending.
    pub divergences: Vec<f64>,
    /// The names of what is measured. The first is the outcome by which settings are chosen.
    pub values: &'static [&'static str],
    /// The names of the facts of a run.
    pub facts: &'static [&'static str],
    /// True if the most of the outcome that a divergence allows is known.
    pub has_best: bool,
    /// The outcome in words.
    pub outcome: &'static str,
    /// The divergence in words.
    pub divergence: &'static str,
    /// The learning rate in the middle of the first trials.
    pub middle_rate: f64,
    /// Optimiser steps of a run.
    pub steps: u64,
    /// The seeds on which settings are chosen.
    pub tuning_seeds: Vec<u64>,
    /// The seeds on which they are reported.
    pub fresh_seeds: Vec<u64>,
    /// The cells, the first of which is the one in which settings are chosen.
    pub cells: Vec<&'static str>,
    /// The arms that are run for long, by name.
    pub for_long: &'static [&'static str],
}

impl Design {
    /// The whole study.
    pub fn full() -> Self {
        Self {
            name: "full",
            tier: 1,
            place: "in small worlds, whose rewards and probabilities are known exactly",
            arms: ARMS.to_vec(),
            divergences: DIVERGENCES.to_vec(),
            values: &NAMES,
            facts: &FACTS,
            has_best: true,
            outcome: "reward above the reference (standard deviations)",
            divergence: "KL(π‖ref) (nats)",
            middle_rate: MIDDLE_RATE,
            steps: 240,
            tuning_seeds: vec![100, 101, 102],
            fresh_seeds: (0..10).collect(),
            cells: CELLS.iter().map(|cell| cell.name).collect(),
            for_long: &FOR_LONG,
        }
    }

    /// A study of a minute or two, which shows the form of the results.
    pub fn quick() -> Self {
        let cells = vec!["length 2", "length 4"];
        Self { name: "quick", steps: 24, tuning_seeds: vec![100], fresh_seeds: vec![0, 1, 2], cells, ..Self::full() }
    }

    /// The study in the language that a decoder learned, measured by draws.
    pub fn language() -> Self {
        Self {
            name: "language",
            tier: 2,
            place: "in the small language of slpo demo, measured by draws",
            divergences: in_language::DIVERGENCES.to_vec(),
            values: &in_language::NAMES,
            facts: &[],
            outcome: "reward above the reference (draws)",
            middle_rate: IN_LANGUAGE,
            steps: 160,
            fresh_seeds: (0..5).collect(),
            cells: vec!["language"],
            for_long: &[],
            ..Self::full()
        }
    }

    /// The study in the language, short enough to show the form of its results.
    pub fn quick_language() -> Self {
        Self { name: "quick language", steps: 4, tuning_seeds: vec![100], fresh_seeds: vec![0, 1], ..Self::language() }
    }

    /// All studies, each with what chooses it on the command line.
    pub fn all() -> [(Self, &'static str); 4] {
        [
            (Self::full(), "neither --tier nor --quick"),
            (Self::quick(), "--quick"),
            (Self::language(), "--tier 2"),
            (Self::quick_language(), "--tier 2 --quick"),
        ]
    }

    /// Returns the study of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().map(|(design, _)| design).find(|design| design.name == name)
    }

    /// Returns the cell in which settings are chosen.
    pub fn base(&self) -> &'static str {
        self.cells[0]
    }

    /// Returns the place of the divergence whose chosen trials are used in other cells and long runs.
    pub fn middle(&self) -> usize {
        self.divergences.len() / 2
    }

    /// Returns the places of the arms that are run in a cell.
    pub fn arms_in(&self, cell: &str) -> Vec<usize> {
        let is_run = |arm: &usize| cell != "length 6" || IN_LARGE_WORLDS.contains(&self.arms[*arm].name);
        (0..self.arms.len()).filter(is_run).collect()
    }

    /// Returns the places of the arms that are run for long.
    pub fn long_arms(&self) -> Vec<usize> {
        (0..self.arms.len()).filter(|&arm| self.for_long.contains(&self.arms[arm].name)).collect()
    }

    /// Returns the learning rate of an arm's trial.
    pub fn learning_rate(&self, arm: usize, trial: Trial) -> f64 {
        learning_rate(&self.arms[arm], trial, self.middle_rate)
    }

    /// Returns the strength of an arm's trial, if the arm has one.
    pub fn strength(&self, arm: usize, trial: Trial) -> Option<f64> {
        self.arms[arm].strength_at(trial.strength)
    }

    /// Returns a run of usual length in the first cell.
    pub fn key(&self, arm: usize, trial: Trial, seed: u64) -> Key {
        Key { cell: self.base(), arm, trial, seed, steps: self.steps }
    }
}
