//! What the revision's claims share: its targets, its tempered probabilities and the divergence of two coins.

use super::instance::sigmoid;
use crate::hyperparameters::Hyperparameters;
use crate::weights::WeightRule;

/// Returns the hyper-parameters of the revision.
pub fn revised(alpha: f64, temperature: f64) -> Hyperparameters {
    Hyperparameters { alpha, temperature, weights: WeightRule::Shift, ..Hyperparameters::default() }
}

/// Computes (ln q_w, ln q_l) from the reference's (ln π_w, ln π_l).
pub fn log_targets(reference: (f64, f64), alpha: f64) -> (f64, f64) {
    let gain = (alpha * (reference.1 - reference.0).exp()).ln_1p();
    (reference.0 + gain, reference.1 + (-alpha).ln_1p())
}

/// σ(ln(p/(1 − p))/T), from ln p.
pub fn tempered(log_p: f64, temperature: f64) -> f64 {
    sigmoid((log_p - (-log_p.exp()).ln_1p()) / temperature)
}

/// KL(Q ‖ P) of two coins by its definition.
pub fn coin_divergence(q: f64, p: f64) -> f64 {
    q * (q / p).ln() + (1.0 - q) * ((1.0 - q) / (1.0 - p)).ln()
}
