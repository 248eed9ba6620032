//! The losses as objectives of alignment: which log-probabilities and logits each loss is given.

use crate::error::{Error, Result};
use crate::preference::{PairBatch, Scored};
use engine::backend::Indices;
use engine::{Backend, Tensor};
use losses::{ExactTargets, Hyperparameters, Kind, Loss, LossError, PairInputs, PairRows};

/// A loss with hyper-parameters that it can have.
#[derive(Clone, Copy, Debug)]
pub struct Objective {
    loss: Loss,
    hyper: Hyperparameters,
}

impl Objective {
    /// The loss with these hyper-parameters. Those that it does not use ([`Loss::uses`]) may be anything.
    ///
    /// # Errors
    /// [`LossError::Hyperparameter`] for the first that is out of its range.
    pub fn new(loss: Loss, hyper: Hyperparameters) -> Result<Self, LossError> {
        loss.validate(&hyper)?;
        Ok(Self { loss, hyper })
    }

    /// Which loss.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// β, α and the others.
    pub fn hyperparameters(&self) -> &Hyperparameters {
        &self.hyper
    }

    /// The sum of the losses of a batch and their number (pairs, or positions for the losses that are means over positions), from the pairs
    /// as the policy and as the reference see them.
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

    /// The losses of sequence log-probabilities, one a pair.
    fn by_pair<B: Backend>(&self, policy: &Scored<'_, B>, reference: &Scored<'_, B>) -> Result<(Tensor<B>, usize), LossError> {
        let ((chosen, rejected), (reference_chosen, reference_rejected)) = (policy.sequence_log_probs(), reference.sequence_log_probs());
        let (chosen_lengths, rejected_lengths) = policy.batch.lengths().iter().copied().unzip();
        let inputs =
            PairInputs::new(&chosen, &rejected, &reference_chosen, &reference_rejected)?.with_lengths(chosen_lengths, rejected_lengths)?;
        Ok((losses::pairwise(self.loss, &self.hyper, &inputs)?, policy.batch.pairs()))
    }

    /// The token forms, one loss a position: both completions under the chosen one's prefix, up to the shorter one's end.
    fn by_position<B: Backend>(&self, policy: &Scored<'_, B>, reference: &Scored<'_, B>) -> Result<(Tensor<B>, usize), LossError> {
        let (rows, chosen, rejected) = aligned_positions(policy.batch);
        let (logits, reference) = (policy.logits(&rows), reference.logits(&rows));
        let losses = losses::tokenwise(self.loss, &self.hyper, [&logits, &reference], [&chosen, &rejected])?;
        Ok((losses, rows.len()))
    }

    /// The full-vocabulary loss towards Q*, one a pair.
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

/// The rows of the chosen completions that have a rejected token at the same place, with the two tokens there.
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
