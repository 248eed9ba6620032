//! Alignment by optimal transport on unpaired preferences (Melnyk et al. 2024): the batch's log-ratios of chosen completions are compared
//! with those of rejected completions by rank.
//!
//! value     L = mean over ranks of (1 − ε) ℓ(β(a₍ᵢ₎ − r₍ᵢ₎)) + ε ℓ(−β(a₍ᵢ₎ − r₍ᵢ₎)), ℓ(z) = −ln σ(z), a and r each sorted over the batch
//! gradient  that of cdpo for each chosen completion with the rejected one whose r has the rank of its a
#![doc = include_str!("aot_unpaired.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::batch::{BatchLoss, of_same_rank};
use super::samples::{batch_example, batch_sample, with_gaps};
use crate::pairwise::arrangement::Arrangement;
use crate::pairwise::cdpo::Cdpo;
use crate::pairwise::samples::prelude::*;

/// cdpo of a chosen and a rejected completion of the same rank; ln 2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AotUnpaired {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// Probability ε in [0, 0.5) that a label is flipped.
    pub label_smoothing: f64,
}

impl BatchLoss for AotUnpaired {
    type Pairwise = Cdpo;

    fn pairwise(self, _: &[Pair<f64>]) -> Cdpo {
        Cdpo { beta: self.beta, label_smoothing: self.label_smoothing }
    }
    fn arrange(self, pairs: &[Pair<f64>]) -> Arrangement {
        let chosen: Vec<f64> = pairs.iter().map(Pair::chosen_log_ratio).collect();
        let rejected: Vec<f64> = pairs.iter().map(Pair::rejected_log_ratio).collect();
        Arrangement { rejected: of_same_rank(&chosen, &rejected), ..Arrangement::identity(pairs.len()) }
    }
}

impl PreferenceLoss for AotUnpaired {
    const NAME: &'static str = "aot-unpaired";
    const USES: &'static [Setting] = &[Setting::Beta, Setting::LabelSmoothing];
    fn defaults() -> Hyperparameters {
        Hyperparameters { label_smoothing: 0.0, ..Hyperparameters::default() }
    }
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, label_smoothing: hyper.label_smoothing }
    }
    fn sample(draw: &mut Draw) -> Sample {
        batch_sample(Self { beta: 0.1, label_smoothing: 0.1 }, with_gaps(draw))
    }
    fn example() -> Example {
        batch_example(Self { beta: 0.1, label_smoothing: 0.0 }, "β = 0.1, ε = 0")
    }
}
