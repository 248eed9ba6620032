//! What each loss is given of a batch: log-probabilities, lengths or logits of both models.

use super::token_weights::{divergences, pair_weights, tails};
use crate::error::{Error, Result};
use crate::preference::{PairBatch, Scored};
use engine::backend::Indices;
use engine::{Backend, Tensor};
use losses::{ExactTargets, Kind, LossError, Need, Objective, PairInputs, PairRows};

/// Computes the sum of a batch's losses and their number. The number counts pairs, or positions for the losses that are means over
/// positions. `policy` and `reference` hold both models' outputs for the same pairs. `mean_chosen_length` is that of the whole batch, if
/// these pairs are a part of it.
///
/// # Errors
/// [`Error::BadConfig`] where the loss is not defined for these pairs.
pub fn total<B: Backend>(
    objective: &Objective,
    policy: &Scored<'_, B>,
    reference: &Scored<'_, B>,
    mean_chosen_length: Option<f64>,
) -> Result<(Tensor<B>, f64)> {
    let of_kind = match objective.loss().kind() {
        Kind::Pairwise | Kind::Batchwise => by_pair(objective, policy, reference, mean_chosen_length),
        Kind::Unpaired => Err(LossError::NotPairwise { loss: objective.loss().name() }),
        Kind::Tokenwise => by_position(objective, policy, reference),
        Kind::Exact => towards_target(objective, policy, reference),
    };
    let (losses, count) = of_kind.map_err(|error| Error::bad_config(error.to_string()))?;
    Ok((losses.sum_all(), count as f64))
}

/// Computes the losses of sequence log-probabilities, one per pair.
fn by_pair<B: Backend>(
    objective: &Objective,
    policy: &Scored<'_, B>,
    reference: &Scored<'_, B>,
    mean_chosen_length: Option<f64>,
) -> Result<(Tensor<B>, usize), LossError> {
    let inputs = pair_inputs(objective, policy, reference, mean_chosen_length)?;
    Ok((objective.pairwise(&inputs)?, policy.batch.pairs()))
}

/// Returns what the losses of sequence log-probabilities read: sums and lengths, with tails, weights and divergences
/// where the objective needs them.
///
/// # Errors
/// If a completion is empty.
pub fn pair_inputs<B: Backend>(
    objective: &Objective,
    policy: &Scored<'_, B>,
    reference: &Scored<'_, B>,
    mean_chosen_length: Option<f64>,
) -> Result<PairInputs<B>, LossError> {
    let ((chosen, rejected), (reference_chosen, reference_rejected)) = (policy.sequence_log_probs(), reference.sequence_log_probs());
    let (chosen_lengths, rejected_lengths) = policy.batch.lengths().iter().copied().unzip();
    let mut inputs =
        PairInputs::new(&chosen, &rejected, &reference_chosen, &reference_rejected)?.with_lengths(chosen_lengths, rejected_lengths)?;
    if let Some(tokens) = mean_chosen_length {
        inputs = inputs.with_mean_chosen_length(tokens);
    }
    if objective.needs(Need::Tails) {
        let (chosen, rejected) = tails(policy);
        inputs = inputs.with_tails(&chosen, &rejected)?;
    }
    if objective.needs(Need::ReferenceTails) {
        let (chosen, rejected) = tails(reference);
        inputs = inputs.with_reference_tails(&chosen, &rejected)?;
    }
    if objective.needs(Need::PairWeights) {
        inputs = inputs.with_weights(&pair_weights(policy))?;
    }
    if objective.needs(Need::Divergences) {
        let (chosen, rejected) = divergences(policy, reference)?;
        inputs = inputs.with_divergences(&chosen, &rejected)?;
    }
    Ok(inputs)
}

/// Computes the token forms, one loss per position. Both tokens of a position are scored under the chosen completion's prefix, up to
/// the end of the shorter completion.
fn by_position<B: Backend>(
    objective: &Objective,
    policy: &Scored<'_, B>,
    reference: &Scored<'_, B>,
) -> Result<(Tensor<B>, usize), LossError> {
    let (rows, chosen, rejected) = aligned_positions(policy.batch);
    let (logits, reference) = (policy.logits(&rows), reference.logits(&rows));
    let losses = losses::tokenwise(objective.loss(), objective.hyperparameters(), [&logits, &reference], [&chosen, &rejected])?;
    Ok((losses, rows.len()))
}

/// Computes the full-vocabulary loss towards Q*, one per pair.
fn towards_target<B: Backend>(
    objective: &Objective,
    policy: &Scored<'_, B>,
    reference: &Scored<'_, B>,
) -> Result<(Tensor<B>, usize), LossError> {
    let pairs = policy.batch.pairs();
    let (bounds, targets) = (policy.batch.bounds(), policy.batch.targets());
    let rows = |completion: usize| (bounds[completion], targets[bounds[completion]..bounds[completion + 1]].to_vec());
    let pair_rows: Vec<PairRows> = (0..pairs)
        .map(|pair| {
            let ((chosen_start, chosen), (rejected_start, rejected)) = (rows(pair), rows(pairs + pair));
            PairRows { chosen_start, chosen, rejected_start, rejected }
        })
        .collect();
    let targets = ExactTargets::from_reference(&reference.all_logits(), &pair_rows, objective.hyperparameters().alpha)?;
    Ok((losses::exact::slpo_exact::slpo_exact(&policy.all_logits(), &targets)?, pairs))
}
/// Returns the rows of the chosen completions where the rejected completion has a token too, with both tokens.
fn aligned_positions(batch: &PairBatch) -> (Indices, Indices, Indices) {
    let (bounds, targets) = (batch.bounds(), batch.targets());
    let (mut rows, mut chosen, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
    for (pair, &(chosen_length, rejected_length)) in batch.lengths().iter().enumerate() {
        for place in 0..chosen_length.min(rejected_length) {
            let (row, other) = (bounds[pair] + place, bounds[batch.pairs() + pair] + place);
            rows.push(row as u32);
            chosen.push(targets[row]);
            rejected.push(targets[other]);
        }
    }
    (rows.into(), chosen.into(), rejected.into())
}
