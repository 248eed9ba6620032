//! The losses as objectives of alignment: which log-probabilities and logits each loss is given.

use engine::backend::Indices;
use engine::{Backend, Tensor};
use losses::{ExactTargets, Hyperparameters, Kind, Loss, LossError, PairInputs, PairRows};
use model::preference::{Objective, PairBatch, Scored};
use model::{Error, Result};

/// A loss with its hyper-parameters.
#[derive(Clone, Copy, Debug)]
pub struct LossObjective {
    /// Which loss.
    pub loss: Loss,
    /// β, α and the others.
    pub hyper: Hyperparameters,
}

/// A loss' complaint as the model crate's.
fn refused(error: LossError) -> Error {
    Error::bad_config(error.to_string())
}

impl<B: Backend> Objective<B> for LossObjective {
    fn total(&self, policy: &Scored<'_, B>, reference: &Scored<'_, B>) -> Result<(Tensor<B>, f64)> {
        let of_kind = match self.loss.kind() {
            Kind::Pairwise => self.by_pair(policy, reference),
            Kind::Tokenwise => self.by_position(policy, reference),
            Kind::Exact => self.towards_target(policy, reference),
        };
        let (losses, count) = of_kind.map_err(refused)?;
        Ok((losses.sum_all(), count as f64))
    }
}

impl LossObjective {
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
