//! What the loss must be before the first step, where policy and reference are the same model.
//!
//! | loss | start |
//! |---|---|
//! | dpo, cdpo, robust | ln 2, for σ(0) = 1/2 and the smoothed forms are affine in ln σ(±0) |
//! | hinge | 1 |
//! | ipo | 1/(4β²) |
//! | slpo | −w_w ln π_w − w_l ln π_l − (1 − w_w − w_l) ln(1 − π_w − π_l) |
//! | slpo-gkl | 1 − ω_w ln(π_w/m) − ω_l ln(π_l/m), ω = w/m |
//! | token forms, slpo-exact | the same loss in f64, with the reference in the policy's place |

use crate::objective::LossObjective;
use engine::{Backend, Cpu};
use losses::{Loss, WeightRule};
use model::Result;
use model::decoder::Decoder;
use model::preference::{Objective, PairBatch, Scored};

/// How far from the theory a start in f32 may be, relative to 1 + |start|: log-probabilities of a few hundred nats are sums of terms with
/// relative errors of 6e-8 through some dozens of layers' roundings.
const TOLERANCE: f64 = 2e-4;

/// The mean loss of a batch by theory, policy and reference being `reference`.
///
/// # Errors
/// Where the loss is not defined for these pairs.
pub fn expected<B: Backend>(objective: &LossObjective, batch: &PairBatch, reference: &Decoder<B>) -> Result<f64> {
    Ok(match objective.loss {
        Loss::Dpo | Loss::Cdpo | Loss::Robust => std::f64::consts::LN_2,
        Loss::Hinge => 1.0,
        Loss::Ipo => 1.0 / (4.0 * objective.hyper.beta * objective.hyper.beta),
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
fn shares(objective: &LossObjective, rho_w: f64, rho_l: f64) -> (f64, f64) {
    let alpha = objective.hyper.alpha;
    match objective.hyper.weights {
        WeightRule::Eq7 => (alpha, 1.0 - alpha),
        WeightRule::Shift => (rho_w + alpha * rho_l, (1.0 - alpha) * rho_l),
    }
}

/// ln m = ln(π_w + π_l).
pub fn log_mass(l_w: f64, l_l: f64) -> f64 {
    let (high, low) = if l_w > l_l { (l_w, l_l) } else { (l_l, l_w) };
    high + (low - high).exp().ln_1p()
}

fn slpo(objective: &LossObjective, l_w: f64, l_l: f64) -> f64 {
    let log_m = log_mass(l_w, l_l);
    let (omega_w, omega_l) = shares(objective, (l_w - log_m).exp(), (l_l - log_m).exp());
    let m = log_m.exp();
    -m * (omega_w * l_w + omega_l * l_l) - (1.0 - m) * (-m).ln_1p()
}

fn gkl(objective: &LossObjective, l_w: f64, l_l: f64) -> f64 {
    let log_m = log_mass(l_w, l_l);
    let (omega_w, omega_l) = shares(objective, (l_w - log_m).exp(), (l_l - log_m).exp());
    1.0 - omega_w * (l_w - log_m) - omega_l * (l_l - log_m)
}

/// What to tell the user where a start is not what theory says; `cached` is the file that the reference's log-probabilities came from.
pub fn remark(objective: &LossObjective, found: f64, expected: f64, cached: Option<&str>) -> Option<String> {
    if (found - expected).abs() <= TOLERANCE * (1.0 + expected.abs()) {
        return None;
    }
    let cause = match cached {
        Some(path) => {
            format!("likely cause: {path} holds log-probabilities that are not this reference's; delete it, or --reference-cache off")
        }
        None => "likely cause: the pairs' log-probabilities are at the edge of f32 (very long completions); \
                 otherwise a defect in this program, please report it"
            .to_owned(),
    };
    Some(format!(
        "before the first step the loss of {} is {found:.6}, and with the policy equal to its reference it must be {expected:.6}: {cause}",
        objective.loss
    ))
}
