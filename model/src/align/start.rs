//! The start check: what the loss must be before the first step, where policy and reference are the same model.
//!
//! A pairwise loss states this value itself ([`Loss::at_start`](losses::Loss::at_start)). The token forms and slpo-exact are computed in
//! f64, with the reference in the policy's place.

use super::objective::{pair_inputs, total};
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::preference::{PairBatch, Scored};
use engine::{Backend, Cpu};
use losses::Objective;

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
        return of_equal_models(objective, batch, &reference.to_backend(&Cpu::new()));
    }
    let seen = Scored::reference(batch, reference);
    let inputs = pair_inputs(objective, &seen, &seen, None).map_err(|error| Error::bad_config(error.to_string()))?;
    let pairs = inputs.pairs();
    Ok(pairs.iter().filter_map(|pair| objective.at_start(pair)).sum::<f64>() / pairs.len() as f64)
}

/// The mean loss in f64, with one model as policy and reference. It is of no type of its caller's, so this crate compiles it once.
fn of_equal_models(objective: &Objective, batch: &PairBatch, model: &Decoder<Cpu<f64>>) -> Result<f64> {
    let seen = || Scored::reference(batch, model);
    let (sum, count) = total(objective, &seen(), &seen(), None)?;
    Ok(sum.item() / count)
}
