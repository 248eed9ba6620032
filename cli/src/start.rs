//! The start check: what the loss must be before the first step, where policy and reference are the same model.
//!
//! A pairwise loss says so itself ([`Loss::at_start`](losses::Loss::at_start)). The token forms and slpo-exact are computed in f64, with the
//! reference in the policy's place.

use crate::objective::LossObjective;
use engine::{Backend, Cpu};
use losses::Pair;
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
    let LossObjective { loss, hyper } = objective;
    if let Some(start) = loss.start_value(hyper) {
        return Ok(start);
    }
    if !loss.is_pairwise() {
        let reference = reference.to_backend(&Cpu::<f64>::new());
        let seen = || Scored::reference(batch, &reference);
        let (sum, count) = objective.total(&seen(), &seen())?;
        return Ok(sum.item() / count);
    }
    let pairs = pairs_at_start(batch, reference);
    Ok(pairs.iter().filter_map(|pair| loss.at_start(hyper, pair)).sum::<f64>() / pairs.len() as f64)
}

/// The batch's pairs with the reference in the policy's place.
fn pairs_at_start<B: Backend>(batch: &PairBatch, reference: &Decoder<B>) -> Vec<Pair<f64>> {
    let (chosen, rejected) = Scored::reference(batch, reference).sequence_log_probs();
    let log_probs = chosen.to_f64().into_iter().zip(rejected.to_f64());
    let pair = |((chosen, rejected), &(n_w, n_l)): ((f64, f64), &(usize, usize))| Pair {
        chosen,
        rejected,
        reference_chosen: chosen,
        reference_rejected: rejected,
        lengths: (n_w as f64, n_l as f64),
    };
    log_probs.zip(batch.lengths()).map(pair).collect()
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
