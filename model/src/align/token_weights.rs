//! What the losses that read more than sums are given: the part of each completion past the length of the shorter one, the weight of each
//! pair, and the divergences along the completions.

use crate::preference::{PairBatch, Scored};
use engine::{Backend, Tensor, no_grad};
use losses::LossError;
use losses::exact::soft_cross_entropy::kl_divergence;

/// Computes the tails of the chosen and of the rejected completions, each \[pairs\]: Σ ln p_t over the tokens past the first n of a
/// completion, where n is the length of the pair's shorter completion. The tail of the shorter completion is 0.
pub(super) fn tails<B: Backend>(scored: &Scored<'_, B>) -> (Tensor<B>, Tensor<B>) {
    let shorter = |lengths: &[usize], pair: usize| lengths[pair].min(lengths[scored.batch.pairs() + pair]);
    let in_tail = |lengths: &[usize], completion: usize, place: usize| {
        f64::from(u8::from(place >= shorter(lengths, completion % scored.batch.pairs())))
    };
    by_side(scored.batch, &weighted_sums(scored.batch, scored.token_log_probs(), in_tail))
}

/// Computes W_w·W_l of each pair, \[pairs\], without recording. W(y) = exp(mean over t of ln p(y_t) − ln Σ_v p(v)²) measures how likely the
/// policy is to write y. The difference in the mean is ln p̃(y_t) − ln p(y_t) with p̃ ∝ p², so no row of probabilities is needed.
pub(super) fn pair_weights<B: Backend>(policy: &Scored<'_, B>) -> Tensor<B> {
    // Recorded outside of `no_grad`, because the loss uses the same tensor.
    let log_probs = policy.token_log_probs();
    no_grad(|| {
        let advantage = policy.sharpened_log_probs().sub(log_probs);
        let means = weighted_sums(policy.batch, &advantage, |lengths, completion, _| 1.0 / lengths[completion] as f64);
        let (chosen, rejected) = by_side(policy.batch, &means);
        chosen.add(&rejected).exp()
    })
}

/// Computes K_w and K_l of each pair, each \[pairs\]: Σ_t KL(reference ‖ policy) over the next token at every position of a completion.
/// Takes all logits of both models.
pub(super) fn divergences<B: Backend>(policy: &Scored<'_, B>, reference: &Scored<'_, B>) -> Result<(Tensor<B>, Tensor<B>), LossError> {
    let log_target = no_grad(|| reference.all_logits().log_softmax());
    let by_row = kl_divergence(&policy.all_logits(), &log_target)?;
    Ok(by_side(policy.batch, &by_row.group_sum(policy.batch.groups(), 2 * policy.batch.pairs())))
}

/// Σ over the tokens of each completion of weight × value, [2·pairs]. `weight` takes the lengths of all completions, the completion and the
/// token's place in it.
fn weighted_sums<B: Backend>(batch: &PairBatch, values: &Tensor<B>, weight: impl Fn(&[usize], usize, usize) -> f64) -> Tensor<B> {
    let bounds = batch.bounds();
    let lengths: Vec<usize> = bounds.windows(2).map(|ends| ends[1] - ends[0]).collect();
    let places = lengths.iter().enumerate().flat_map(|(completion, &length)| (0..length).map(move |place| (completion, place)));
    let weights: Vec<f64> = places.map(|(completion, place)| weight(&lengths, completion, place)).collect();
    let weights = Tensor::constant(values.backend(), &weights, &[weights.len()]);
    values.mul(&weights).group_sum(batch.groups(), lengths.len())
}

/// Splits [2·pairs] into the chosen and the rejected completions.
fn by_side<B: Backend>(batch: &PairBatch, values: &Tensor<B>) -> (Tensor<B>, Tensor<B>) {
    let pairs = batch.pairs();
    (values.slice(0, 0, pairs), values.slice(0, pairs, 2 * pairs))
}
