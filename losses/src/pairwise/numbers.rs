//! The numbers of one pair, and what the formulas of the pairwise losses form of them.

use crate::hyperparameters::Reduction;
use engine::Scalar;

/// One pair's numbers.
#[derive(Clone, Copy, Debug)]
pub struct Pair<T> {
    /// l_w: the policy's log-probability of the chosen completion.
    pub chosen: T,
    /// l_l: the policy's log-probability of the rejected completion.
    pub rejected: T,
    /// ln π_w: the reference's log-probability of the chosen completion.
    pub reference_chosen: T,
    /// ln π_l: the reference's log-probability of the rejected completion.
    pub reference_rejected: T,
    /// (n_w, n_l): tokens in each completion; 1 where they are not known.
    pub lengths: (T, T),
    /// n̄_w: the mean of n_w over the batch.
    pub mean_chosen_length: T,
    /// The parts of the four log-probabilities past the length of the shorter completion, in their order; 0 where they are not known.
    pub tails: [T; 4],
    /// W: the weight of the pair, a constant; 1 where it is not known.
    pub weight: T,
    /// (K_w, K_l): the divergences of the policy from the reference along both completions; 0 where they are not known.
    pub divergences: (T, T),
}

/// A pair without tails and divergences, of weight 1.
impl<T: Scalar> From<[T; 7]> for Pair<T> {
    fn from([chosen, rejected, reference_chosen, reference_rejected, n_w, n_l, mean_chosen_length]: [T; 7]) -> Self {
        let (lengths, tails, weight, divergences) = ((n_w, n_l), [T::zero(); 4], T::one(), (T::zero(), T::zero()));
        Self { chosen, rejected, reference_chosen, reference_rejected, lengths, mean_chosen_length, tails, weight, divergences }
    }
}

impl<T: Scalar> Pair<T> {
    /// a = l_w − ln π_w.
    #[inline]
    pub fn chosen_log_ratio(&self) -> T {
        self.chosen - self.reference_chosen
    }
    /// r = l_l − ln π_l.
    #[inline]
    pub fn rejected_log_ratio(&self) -> T {
        self.rejected - self.reference_rejected
    }
    /// h = a − r.
    #[inline]
    pub fn margin(&self) -> T {
        self.chosen_log_ratio() - self.rejected_log_ratio()
    }
    /// a/n_w − r/n_l.
    #[inline]
    pub fn margin_of_means(&self) -> T {
        let (n_w, n_l) = self.lengths;
        self.chosen_log_ratio() / n_w - self.rejected_log_ratio() / n_l
    }
    /// l_w/n_w, the mean log-probability of the chosen completion's tokens.
    #[inline]
    pub fn chosen_mean(&self) -> T {
        self.chosen / self.lengths.0
    }
    /// l_l/n_l, the mean log-probability of the rejected completion's tokens.
    #[inline]
    pub fn rejected_mean(&self) -> T {
        self.rejected / self.lengths.1
    }
    /// What l_w is divided by in a negative log-likelihood: n_w, or n̄_w for the mean over the tokens of the batch.
    #[inline]
    pub fn nll_length(&self, reduction: Reduction) -> T {
        match reduction {
            Reduction::Pair => self.lengths.0,
            Reduction::Token => self.mean_chosen_length,
        }
    }
    /// The pair with `weight` times the divergences added to the policy's log-probabilities.
    #[inline]
    pub fn with_divergences_added(self, weight: f64) -> Self {
        let (weight, (chosen, rejected)) = (T::from_f64(weight), self.divergences);
        Self { chosen: self.chosen + weight * chosen, rejected: self.rejected + weight * rejected, ..self }
    }
    /// |l_w| + |l_l| + |ln π_w| + |ln π_l|: what the rounding error of a margin is relative to.
    pub fn size(&self) -> T {
        self.chosen.abs() + self.rejected.abs() + self.reference_chosen.abs() + self.reference_rejected.abs()
    }
}
