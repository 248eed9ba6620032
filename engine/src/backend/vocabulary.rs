//! The vocabulary projection: log-probabilities of tokens, cross-entropy, and the choice of tokens.

use super::core::Indices;
use super::products::Products;
use super::rows::Rows;
use crate::formula::{Mul, Sub};
use crate::functions::Exp;
use crate::sampling::SamplingRule;

/// Kernels whose formulas would hold all logits at once.
pub trait Vocabulary: Products + Rows {
    /// Log-probabilities of given tokens under the vocabulary projection: hidden [N, D], weight [V, D], targets N →
    /// z = hidden·weightᵀ, z[n, target n] − logsumexp z\[n\], \[N\], and what the vjp needs, if there is to be one: here logsumexp z\[n\].
    fn linear_log_prob(&self, hidden: &Self::Array, weight: &Self::Array, targets: &Indices, _vjp: bool) -> (Self::Array, Self::Array) {
        let n = self.shape(hidden)[0];
        let z = self.matmul(hidden, &self.transpose(weight));
        let log_prob = self.gather_last(&self.log_softmax(&z), targets, 1);
        (self.reshape(&log_prob, &[n]), self.reshape(&self.logsumexp(&z), &[n]))
    }

    /// (hidden̄, weight̄) with z̄ = ȳ∘(onehot(target) − e^{z − logsumexp}), from what [`Vocabulary::linear_log_prob`] saved for it.
    fn linear_log_prob_vjp(
        &self,
        hidden: &Self::Array,
        weight: &Self::Array,
        targets: &Indices,
        saved: &Self::Array,
        cotangent: &Self::Array,
    ) -> (Self::Array, Self::Array) {
        let (n, vocabulary) = (self.shape(hidden)[0], self.shape(weight)[0]);
        let column = |x: &Self::Array| self.reshape(x, &[n, 1]);
        let z = self.matmul(hidden, &self.transpose(weight));
        let p = self.map(Exp, &self.zip(Sub, &z, &column(saved)));
        let chosen = self.scatter_add_last(&column(cotangent), targets, vocabulary);
        let z_cotangent = self.zip(Sub, &chosen, &self.zip(Mul, &p, &column(cotangent)));
        (self.matmul(&z_cotangent, weight), self.matmul(&self.transpose(&z_cotangent), hidden))
    }

    /// The sum of −ln softmax(hidden·weightᵀ)[n, target n] over n, [], with its gradients hidden̄ [N, D] and weight̄ [V, D].
    fn linear_cross_entropy(&self, hidden: &Self::Array, weight: &Self::Array, targets: &Indices) -> (Self::Array, [Self::Array; 2]) {
        let n = self.shape(hidden)[0];
        let (log_prob, logsumexp) = self.linear_log_prob(hidden, weight, targets, true);
        let loss = self.reshape(&self.scale(&self.sum(&log_prob, 0), -1.0), &[]);
        let cotangent = self.full(-1.0, &[n]);
        let (hidden_bar, weight_bar) = self.linear_log_prob_vjp(hidden, weight, targets, &logsumexp, &cotangent);
        (loss, [hidden_bar, weight_bar])
    }

    /// One token for each row of logits [R, V], chosen with its uniform number in [0, 1) of R; see [`SamplingRule::choose`].
    fn sample_rows(&self, logits: &Self::Array, rule: &SamplingRule, uniforms: &[f64]) -> Vec<u32> {
        let vocabulary = self.shape(logits)[1];
        self.to_vec(logits).chunks_exact(vocabulary).zip(uniforms).map(|(row, &uniform)| rule.choose(row, uniform)).collect()
    }
}
