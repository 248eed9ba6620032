//! The choice of a token from a row of logits by a uniform number: temperature, top-k, top-p, min-p, in this order, which is that of
//! transformers; and, before them, the penalty of tokens that were there before.

use crate::scalar::Scalar;
use crate::threads::parallel_loop::InTasks;

/// Tokens whose weights are worth a task.
const TASK: usize = 1 << 12;

/// How a token is chosen from logits. The uniform number comes from the caller, so the choice is a function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingRule {
    /// Logits are divided by this, at least 0; 0 takes the largest.
    pub temperature: f64,
    /// Only the k largest; 0 keeps all.
    pub top_k: usize,
    /// Only the most likely that together reach this probability, in (0, 1]; 1 keeps all.
    pub top_p: f64,
    /// Only those at least this share of the most likely one's probability, in [0, 1]; 0 keeps all.
    pub min_p: f64,
}

/// Divides the logits of tokens in `seen` by `penalty` where they are not negative, and multiplies the others by it, each once however
/// often the token was there (Keskar et al. 2019, section 4.1, as transformers has it for negative logits). Tokens past the row are
/// passed over.
pub fn penalise_repetition(logits: &mut [f64], seen: impl IntoIterator<Item = u32>, penalty: f64) {
    let seen: std::collections::BTreeSet<u32> = seen.into_iter().collect();
    for token in seen {
        if let Some(logit) = logits.get_mut(token as usize) {
            *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
        }
    }
}

impl SamplingRule {
    /// Whether every token may be chosen.
    pub fn keeps_all(&self) -> bool {
        self.top_k == 0 && self.top_p >= 1.0 && self.min_p <= 0.0
    }

    /// The token where the probabilities, added up in the order of [`SamplingRule::candidates`], pass `uniform` in [0, 1). Without a
    /// temperature the first of the largest logits. The largest logit of the row must be finite.
    pub fn choose<T: Scalar>(&self, logits: &[T], uniform: f64) -> u32 {
        if self.temperature == 0.0 {
            return argmax(logits);
        }
        pick(&self.candidates(logits), uniform)
    }

    /// The weight of each token: its probability over that of the most likely one.
    fn weights<T: Scalar>(&self, logits: &[T]) -> Vec<f64> {
        let top = logits[argmax(logits) as usize].to_f64();
        let mut weights = vec![0.0; logits.len()];
        weights.chunks_mut(TASK).zip(logits.chunks(TASK)).for_each_task(|(weights, logits)| {
            let weight = |z: &T| ((z.to_f64() - top) / self.temperature).exp();
            weights.iter_mut().zip(logits).for_each(|(w, z)| *w = weight(z));
        });
        weights
    }

    /// The tokens that may be chosen with weights in proportion to their probabilities: where any are cut the most likely first, ties by
    /// token; else in the order of tokens.
    pub fn candidates<T: Scalar>(&self, logits: &[T]) -> Vec<(u32, f64)> {
        let mut candidates: Vec<(u32, f64)> = (0..).zip(self.weights(logits)).collect();
        if self.keeps_all() {
            return candidates;
        }
        candidates.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        if self.top_k > 0 {
            candidates.truncate(self.top_k);
        }
        let limit = self.top_p * candidates.iter().map(|c| c.1).sum::<f64>();
        let mut reached = 0.0;
        let kept = candidates.iter().take_while(|c| {
            let wanted = reached < limit;
            reached += c.1;
            wanted
        });
        let kept = kept.count().max(1);
        candidates.truncate(kept);
        // Weights are shares of the largest, which is 1.
        let likely = candidates.iter().take_while(|c| c.1 >= self.min_p).count().max(1);
        candidates.truncate(likely);
        candidates
    }
}

/// The token where the weights, added up in order, pass the share `uniform` of their sum; the last one if rounding leaves none.
fn pick(candidates: &[(u32, f64)], uniform: f64) -> u32 {
    let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
    let (mut left, mut chosen) = (uniform * total, 0);
    for &(token, weight) in candidates {
        (left, chosen) = (left - weight, token);
        if left < 0.0 {
            break;
        }
    }
    chosen
}

fn argmax<T: Scalar>(values: &[T]) -> u32 {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if value.to_f64() > values[best].to_f64() {
            best = i;
        }
    }
    best as u32
}
