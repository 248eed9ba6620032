//! Alignment by optimal transport on paired preferences (Melnyk et al. 2024): the batch's margins of the policy are compared with the
//! reference's by rank, not pair by pair.
//!
//! value     L = mean over ranks of (1 − ε) ℓ(β(u₍ᵢ₎ − v₍ᵢ₎)) + ε ℓ(−β(u₍ᵢ₎ − v₍ᵢ₎)), ℓ(z) = −ln σ(z)
//!           u = l_w − l_l of the policy, v = ln π_w − ln π_l of the reference, each sorted over the batch
//! gradient  that of cdpo for each pair, with the reference of the pair whose v has the rank of its u
#![doc = include_str!("aot.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::batch::{BatchLoss, of_same_rank};
use super::samples::{batch_example, batch_sample, with_gaps};
use crate::pairwise::arrangement::Arrangement;
use crate::pairwise::cdpo::Cdpo;
use crate::pairwise::samples::prelude::*;

/// cdpo with the references of pairs of the same rank; ln 2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aot {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// Probability ε in [0, 0.5) that a label is flipped.
    pub label_smoothing: f64,
}

impl BatchLoss for Aot {
    type Pairwise = Cdpo;

    fn pairwise(self, _: &[Pair<f64>]) -> Cdpo {
        Cdpo { beta: self.beta, label_smoothing: self.label_smoothing }
    }
    fn arrange(self, pairs: &[Pair<f64>]) -> Arrangement {
        let policy: Vec<f64> = pairs.iter().map(|pair| pair.chosen - pair.rejected).collect();
        let reference: Vec<f64> = pairs.iter().map(|pair| pair.reference_chosen - pair.reference_rejected).collect();
        Arrangement { references: of_same_rank(&policy, &reference), ..Arrangement::identity(pairs.len()) }
    }
}

impl PreferenceLoss for Aot {
    const NAME: &'static str = "aot";
    const ALIASES: &'static [&'static str] = &["aot-pair", "aot-paired"];
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
