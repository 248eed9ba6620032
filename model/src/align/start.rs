//! What the loss must be before the first step, where policy and reference are the same model.
//!
//! | loss | start |
//! |---|---|
//! | dpo, cdpo, robust, hinge, ipo | a constant: [`losses::Loss::start_value`] |
//! | slpo | −w_w ln π_w − w_l ln π_l − (1 − w_w − w_l) ln(1 − π_w − π_l) |
//! | slpo-gkl | 1 − ω_w ln(π_w/m) − ω_l ln(π_l/m), ω = w/m |
//! | token forms, slpo-exact | the same loss in f64, with the reference in the policy's place |

use super::objective::Objective;
use crate::decoder::Decoder;
use crate::error::Result;
use crate::preference::{PairBatch, Scored};
use engine::{Backend, Cpu};
use losses::{Loss, WeightRule};

/// How far from the theory a start in f32 may be, relative to 1 + |start|: log-probabilities of a few hundred nats are sums of terms with
/// relative errors of 6e-8 through some dozens of layers' roundings.
const TOLERANCE: f64 = 2e-4;

/// The mean loss of some pairs before the first step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Start {
    /// What it is.
    pub found: f64,
    /// What it is by theory.
    pub expected: f64,
}

impl Start {
    /// True if the two differ by no more than f32 explains.
    pub fn agrees(&self) -> bool {
        (self.found - self.expected).abs() <= TOLERANCE * (1.0 + self.expected.abs())
    }
}

/// The mean loss of a batch by theory, policy and reference being `reference`.
///
/// # Errors
/// Where the loss is not defined for these pairs.
pub(super) fn expected<B: Backend>(objective: &Objective, batch: &PairBatch, reference: &Decoder<B>) -> Result<f64> {
    if let Some(constant) = objective.loss().start_value(objective.hyperparameters()) {
        return Ok(constant);
    }
    Ok(match objective.loss() {
        Loss::Slpo => mean_over_pairs(batch, reference, |l_w, l_l| slpo(objective, l_w, l_l)),
        Loss::SlpoGkl => mean_over_pairs(batch, reference, |l_w, l_l| gkl(objective, l_w, l_l)),
        _ => {
            let reference = reference.to_backend(&Cpu::<f64>::new());
            let seen = || Scored::reference(batch, &reference);
            let (sum, count) = objective.total(&seen(), &seen())?;
            sum.item() / count
        }
    })
}

fn mean_over_pairs<B: Backend>(batch: &PairBatch, reference: &Decoder<B>, loss: impl Fn(f64, f64) -> f64) -> f64 {
    let (chosen, rejected) = Scored::reference(batch, reference).sequence_log_probs();
    let (chosen, rejected) = (chosen.to_f64(), rejected.to_f64());
    chosen.iter().zip(&rejected).map(|(&l_w, &l_l)| loss(l_w, l_l)).sum::<f64>() / chosen.len() as f64
}

/// (ω_w, ω_l) of the pair's mass, from ρ_w = π_w/m and ρ_l = π_l/m.
fn shares(objective: &Objective, rho_w: f64, rho_l: f64) -> (f64, f64) {
    let alpha = objective.hyperparameters().alpha;
    match objective.hyperparameters().weights {
        WeightRule::Eq7 => (alpha, 1.0 - alpha),
        WeightRule::Shift => (rho_w + alpha * rho_l, (1.0 - alpha) * rho_l),
    }
}

/// ln m = ln(π_w + π_l).
pub(super) fn log_mass(l_w: f64, l_l: f64) -> f64 {
    let (high, low) = if l_w > l_l { (l_w, l_l) } else { (l_l, l_w) };
    high + (low - high).exp().ln_1p()
}

fn slpo(objective: &Objective, l_w: f64, l_l: f64) -> f64 {
    let log_m = log_mass(l_w, l_l);
    let (omega_w, omega_l) = shares(objective, (l_w - log_m).exp(), (l_l - log_m).exp());
    let m = log_m.exp();
    -m * (omega_w * l_w + omega_l * l_l) - (1.0 - m) * (-m).ln_1p()
}

fn gkl(objective: &Objective, l_w: f64, l_l: f64) -> f64 {
    let log_m = log_mass(l_w, l_l);
    let (omega_w, omega_l) = shares(objective, (l_w - log_m).exp(), (l_l - log_m).exp());
    1.0 - omega_w * (l_w - log_m) - omega_l * (l_l - log_m)
}
