//! What the losses of a batch share: the batch decides which completions stand beside each other, and with which settings; then a pairwise
//! loss is computed.
//!
//! The pairs of a step see each other, so a step cannot be split into micro-batches: all its pairs are run at once, by one process.

use crate::hyperparameters::Hyperparameters;
use crate::pairwise::arrangement::Arrangement;
use crate::pairwise::pair::{Pair, PairLoss};
use crate::preference_loss::PreferenceLoss;

/// A loss of a whole batch of pairs.
pub trait BatchLoss: PreferenceLoss + Copy + Send + Sync + 'static {
    /// The loss of each arranged pair.
    type Pairwise: PairLoss;

    /// The pairwise loss, with settings that may follow from the batch. They are constants of the gradient.
    fn pairwise(self, pairs: &[Pair<f64>]) -> Self::Pairwise;

    /// The pairs that the loss compares, and their weights. Both are constants of the gradient: the order of values is piecewise constant.
    fn arrange(self, pairs: &[Pair<f64>]) -> Arrangement {
        Arrangement::identity(pairs.len())
    }
}

/// What a run remembers of the batches before, for the losses whose settings follow from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Running {
    /// Steps that were remembered.
    pub steps: u64,
    /// The mean of the log-ratios a and r of all completions so far.
    pub log_ratio: f64,
    /// The moving mean M of the margins a − r.
    pub margin: f64,
}

impl Running {
    /// Takes in a step: the means over its pairs of a and of a − r.
    pub fn remember(&mut self, chosen_log_ratio: f64, margin: f64, hyper: &Hyperparameters) {
        self.remember_rows(chosen_log_ratio - 0.5 * margin);
        self.margin = hyper.margin_momentum * self.margin + (1.0 - hyper.margin_momentum) * margin;
    }

    /// Takes in a step on labelled rows: the mean over its rows of the log-ratio. Rows have no margin.
    pub fn remember_rows(&mut self, log_ratio: f64) {
        self.steps += 1;
        self.log_ratio += (log_ratio - self.log_ratio) / self.steps as f64;
    }

    /// The settings of the next step.
    pub fn apply(&self, hyper: &Hyperparameters) -> Hyperparameters {
        Hyperparameters { delta: hyper.delta.or(Some(hyper.beta * self.log_ratio)), running_margin: self.margin, ..*hyper }
    }
}

/// The indices that sort the values, ties in the order of the indices.
pub(super) fn sorted(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    order
}

/// For each value of `own`, the index of the value of `other` with the same rank.
pub(super) fn of_same_rank(own: &[f64], other: &[f64]) -> Vec<usize> {
    let mut partners = vec![0; own.len()];
    sorted(own).into_iter().zip(sorted(other)).for_each(|(i, j)| partners[i] = j);
    partners
}
