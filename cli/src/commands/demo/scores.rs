//! Log-probabilities of sequences and pairs under the demo's models, and means with their standard errors.

use engine::{Device, Tensor};
use model::align::PairMetrics;
use model::preference::Scored;

/// A mean and its standard error.
pub type Estimate = (f64, f64);

/// One step of an alignment.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// The number of the step.
    pub step: u64,
    /// The metrics of its batch, before the step.
    pub pairs: PairMetrics,
}

/// The changes by alignment on held-out pairs.
pub struct Changes {
    /// Mean ln π(y_w) − ln π_ref(y_w).
    pub chosen: f64,
    /// Mean ln π(y_l) − ln π_ref(y_l).
    pub rejected: f64,
    /// The fraction of pairs whose margin is above 0.
    pub accuracy: f64,
}

impl Changes {
    /// Computes the changes from the log-probabilities of two models.
    pub fn of(policy: &Scored<'_, Device>, reference: &Scored<'_, Device>) -> Self {
        let (chosen, rejected) = policy.sequence_log_probs();
        let (reference_chosen, reference_rejected) = reference.sequence_log_probs();
        let (chosen, rejected) = (chosen.sub(&reference_chosen), rejected.sub(&reference_rejected));
        let margins = chosen.sub(&rejected).to_f64();
        let accuracy = margins.iter().filter(|&&m| m > 0.0).count() as f64 / margins.len() as f64;
        Self { chosen: mean(&chosen), rejected: mean(&rejected), accuracy }
    }
}

/// Computes the mean of a vector.
fn mean(x: &Tensor<Device>) -> f64 {
    let values = x.to_f64();
    values.iter().sum::<f64>() / values.len() as f64
}
