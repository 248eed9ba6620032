//! The exact target of a batch of pairs formed on the host, pair by pair: [`exact_target`](mod@super::exact_target) along each.

use super::exact_target::{Branch, exact_target};
use super::pair_rows::PairRows;
use crate::error::LossError;
use engine::{Backend, Scalar, Tensor};
use std::ops::Range;

/// ln q for each row, [N, V], and the rows' weights, `[N]` from the reference's logits.
pub(crate) fn target_on_host<B: Backend>(logits: &Tensor<B>, pairs: &[PairRows], moved: f64) -> Result<(Tensor<B>, Tensor<B>), LossError> {
    let (backend, n, vocabulary) = (logits.backend(), logits.shape()[0], logits.shape()[1]);
    let mut log_target = backend.to_vec(&backend.log_softmax(logits.array()));
    let mut weights = vec![B::Scalar::zero(); n];
    for pair in pairs {
        let (w, l) = (pair.chosen_rows(), pair.rejected_rows());
        let branch = |rows: &Range<usize>| log_target[rows.start * vocabulary..rows.end * vocabulary].to_vec();
        let (chosen, rejected) = (branch(&w), branch(&l));
        let chosen = Branch { tokens: &pair.chosen, log_probs: &chosen };
        let target = exact_target(chosen, Branch { tokens: &pair.rejected, log_probs: &rejected }, vocabulary, moved)?;
        log_target[w.start * vocabulary..w.end * vocabulary].copy_from_slice(&target.chosen);
        log_target[l.start * vocabulary..l.end * vocabulary].copy_from_slice(&target.rejected);
        weights[w].fill(B::Scalar::one());
        for (t, row) in l.enumerate().skip(target.fork + 1) {
            weights[row] = target.rejected_share[t];
        }
    }
    Ok((Tensor::from_vec(backend, log_target, &[n, vocabulary]), Tensor::from_vec(backend, weights, &[n])))
}
