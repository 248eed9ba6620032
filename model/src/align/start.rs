//! The start check: what the loss must be before the first step, where policy and reference are the same model.
//!
//! A pairwise loss states this value itself ([`Loss::at_start`](losses::Loss::at_start)). The token forms and slpo-exact are computed in
//! f64, with the reference in the policy's place.

use super::objective::total;
use crate::decoder::Decoder;
use crate::error::Result;
use crate::preference::{PairBatch, Scored};
use engine::{Backend, Cpu};
use losses::{Objective, Pair};

/// Largest distance of a start in f32 from the theory, relative to 1 + |start|. Log-probabilities of a few hundred nats are sums of terms
/// with relative errors of 6e-8, and some dozens of layers round on the way.
const TOLERANCE: f64 = 2e-4;

/// The mean loss of some pairs before the first step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Start {
    /// The loss that was computed.
    pub found: f64,
    /// The loss by theory.
    pub expected: f64,
}

impl Start {
    /// True if the two differ by no more than rounding in f32 explains.
    pub fn agrees(&self) -> bool {
        (self.found - self.expected).abs() <= TOLERANCE * (1.0 + self.expected.abs())
    }
}

/// Computes the mean loss of a batch by theory, with `reference` as both policy and reference.
///
/// # Errors
/// Where the loss is not defined for these pairs.
pub(super) fn expected<B: Backend>(objective: &Objective, batch: &PairBatch, reference: &Decoder<B>) -> Result<f64> {
    if let Some(start) = objective.start_value() {
        return Ok(start);
    }
    if !objective.loss().is_of_sequences() {
        let reference = reference.to_backend(&Cpu::<f64>::new());
        let seen = || Scored::reference(batch, &reference);
        let (sum, count) = total(objective, &seen(), &seen(), None)?;
        return Ok(sum.item() / count);
    }
    let pairs = pairs_at_start(batch, reference);
    Ok(pairs.iter().filter_map(|pair| objective.at_start(pair)).sum::<f64>() / pairs.len() as f64)
}

/// Returns the batch's pairs with the reference's values in the policy's place.
fn pairs_at_start<B: Backend>(batch: &PairBatch, reference: &Decoder<B>) -> Vec<Pair<f64>> {
    let (chosen, rejected) = Scored::reference(batch, reference).sequence_log_probs();
    let mean_chosen_length = batch.lengths().iter().map(|(n_w, _)| *n_w).sum::<usize>() as f64 / batch.pairs() as f64;
    let log_probs = chosen.to_f64().into_iter().zip(rejected.to_f64());
    let pair = |((chosen, rejected), &(n_w, n_l)): ((f64, f64), &(usize, usize))| Pair {
        chosen,
        rejected,
        reference_chosen: chosen,
        reference_rejected: rejected,
        lengths: (n_w as f64, n_l as f64),
        mean_chosen_length,
    };
    log_probs.zip(batch.lengths()).map(pair).collect()
}
