//! The losses as objectives of alignment: which log-probabilities and logits each loss is given.

use crate::error::{Error, Result};
use crate::preference::{PairBatch, Scored};
use engine::backend::Indices;
use engine::{Backend, Tensor};
use losses::{ExactTargets, Hyperparameters, Kind, Loss, LossError, PairInputs, PairRows};

/// A loss with hyper-parameters in their valid ranges.
#[derive(Clone, Copy, Debug)]
pub struct Objective {
    loss: Loss,
    hyper: Hyperparameters,
}

impl Objective {
    /// Pairs the loss with these hyper-parameters and checks those that it uses ([`Loss::uses`]). The others may be anything.
    ///
    /// # Errors
    /// [`LossError::Hyperparameter`] for the first that is out of its range.
    pub fn new(loss: Loss, hyper: Hyperparameters) -> Result<Self, LossError> {
        loss.validate(&hyper)?;
        Ok(Self { loss, hyper })
    }

    /// Returns the loss.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// Returns the hyper-parameters: β, α and the others.
    pub fn hyperparameters(&self) -> &Hyperparameters {
        &self.hyper
    }

    /// Computes the sum of a batch's losses and their number. The number counts pairs, or positions for the losses that are means over
    /// positions. `policy` and `reference` hold both models' outputs for the same pairs.
    ///
    /// # Errors
    /// [`Error::BadConfig`] where the loss is not defined for these pairs.
    pub fn total<B: Backend>(&self, policy: &Scored<'_, B>, reference: &Scored<'_, B>) -> Result<(Tensor<B>, f64)> {
        let of_kind = match self.loss.kind() {
            Kind::Pairwise => self.by_pair(policy, reference),
            Kind::Tokenwise => self.by_position(policy, reference),
            Kind::Exact => self.towards_target(policy, reference),
        };
        let (losses, count) = of_kind.map_err(|error| Error::bad_config(error.to_string()))?;
        Ok((losses.sum_all(), count as f64))
    }

    /// Computes the losses of sequence log-probabilities, one per pair.
    fn by_pair<B: Backend>(&self, policy: &Scored<'_, B>, reference: &Scored<'_, B>) -> Result<(Tensor<B>, usize), LossError> {
        let ((chosen, rejected), (reference_chosen, reference_rejected)) = (policy.sequence_log_probs(), reference.sequence_log_probs());
        let (chosen_lengths, rejected_lengths) = policy.batch.lengths().iter().copied().unzip();
        let inputs =
            PairInputs::new(&chosen, &rejected, &reference_chosen, &reference_rejected)?.with_lengths(chosen_lengths, rejected_lengths)?;
        Ok((losses::pairwise(self.loss, &self.hyper, &inputs)?, policy.batch.pairs()))
    }

    /// Computes the token forms, one loss per position. Both tokens of a position are scored under the chosen completion's prefix, up to
    /// the end of the shorter completion.
    fn by_position<B: Backend>(&self, policy: &Scored<'_, B>, reference: &Scored<'_, B>) -> Result<(Tensor<B>, usize), LossError> {
        let (rows, chosen, rejected) = aligned_positions(policy.batch);
        let (logits, reference) = (policy.logits(&rows), reference.logits(&rows));
        let losses = losses::tokenwise(self.loss, &self.hyper, [&logits, &reference], [&chosen, &rejected])?;
        Ok((losses, rows.len()))
    }

    /// Computes the full-vocabulary loss towards Q*, one per pair.
    fn towards_target<B: Backend>(&self, policy: &Scored<'_, B>, reference: &Scored<'_, B>) -> Result<(Tensor<B>, usize), LossError> {
        let pairs = policy.batch.pairs();
        let (bounds, targets) = (policy.batch.bounds(), policy.batch.targets());
        let rows = |completion: usize| (bounds[completion], targets[bounds[completion]..bounds[completion + 1]].to_vec());
        let pair_rows: Vec<PairRows> = (0..pairs)
            .map(|pair| {
                let ((chosen_start, chosen), (rejected_start, rejected)) = (rows(pair), rows(pairs + pair));
                PairRows { chosen_start, chosen, rejected_start, rejected }
            })
            .collect();
        let targets = ExactTargets::from_reference(&reference.all_logits(), &pair_rows, self.hyper.alpha)?;
        Ok((losses::exact::slpo_exact::slpo_exact(&policy.all_logits(), &targets)?, pairs))
    }
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
