//! The choice of a token from a row of logits by a uniform number: temperature, top-k, top-p, min-p, in this order, which is that of
//! transformers; and, before them, the penalty of tokens that were there before.

use crate::scalar::Scalar;
use crate::simd::vectorised;
use crate::vector_math::exp_f64;

/// Weights that are added up before the sums are.
const BLOCK: usize = 1 << 10;
/// Partial sums, or maxima, of a row.
const LANES: usize = 16;

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
            let top = largest(logits);
            return logits.iter().position(|z| z.to_f64() == top).unwrap_or(0) as u32;
        }
        if self.keeps_all() {
            return pick(&self.weights(logits), uniform) as u32;
        }
        let (tokens, weights): (Vec<u32>, Vec<f64>) = self.candidates(logits).into_iter().unzip();
        tokens[pick(&weights, uniform)]
    }

    /// The weight of each token: its probability over that of the most likely one.
    fn weights<T: Scalar>(&self, logits: &[T]) -> Vec<f64> {
        let (top, mut weights) = (largest(logits), vec![0.0; logits.len()]);
        vectorised::<f32, _>(
            #[inline(always)]
            || weights.iter_mut().zip(logits).for_each(|(w, z)| *w = exp_f64((z.to_f64() - top) / self.temperature)),
        );
        weights
    }

    /// The tokens that may be chosen with weights in proportion to their probabilities: where any are cut the most likely first, ties by
    /// token; else in the order of tokens.
    pub fn candidates<T: Scalar>(&self, logits: &[T]) -> Vec<(u32, f64)> {
        let weights = self.weights(logits);
        let whole: f64 = weights.iter().sum();
        // These need no place in the order. All tokens below the mean of what top-p cuts are together less than what it cuts; half of it
        // leaves room for rounding.
        let least = if self.top_k == 0 { (0.5 * (1.0 - self.top_p) * whole / weights.len() as f64).max(self.min_p) } else { 0.0 };
        let mut candidates: Vec<(u32, f64)> = (0..).zip(weights).filter(|c| c.1 >= least).collect();
        if self.keeps_all() {
            return candidates;
        }
        let by_weight = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if (1..candidates.len()).contains(&self.top_k) {
            candidates.select_nth_unstable_by(self.top_k - 1, by_weight);
            candidates.truncate(self.top_k);
        }
        candidates.sort_unstable_by(by_weight);
        let limit = self.top_p * if self.top_k == 0 { whole } else { candidates.iter().map(|c| c.1).sum() };
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

/// The place where the weights, added up in order, pass the share `uniform` of their sum; the last positive one if rounding leaves none.
fn pick(weights: &[f64], uniform: f64) -> usize {
    let sums: Vec<f64> = weights.chunks(BLOCK).map(sum).collect();
    let (mut left, mut block) = (uniform * sums.iter().sum::<f64>(), None);
    for (number, &sum) in sums.iter().enumerate().filter(|(_, sum)| **sum > 0.0) {
        block = Some((number, left));
        if left < sum {
            break;
        }
        left -= sum;
    }
    let Some((number, mut left)) = block else { return 0 };
    let start = number * BLOCK;
    let mut chosen = start;
    for (place, &weight) in weights.iter().enumerate().skip(start).take(BLOCK).filter(|(_, weight)| **weight > 0.0) {
        (left, chosen) = (left - weight, place);
        if left < 0.0 {
            break;
        }
    }
    chosen
}

/// The sum of a block, in lanes.
fn sum(weights: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    vectorised::<f32, _>(
        #[inline(always)]
        || {
            let (whole, rest) = weights.as_chunks::<LANES>();
            whole.iter().for_each(|weights| lanes.iter_mut().zip(weights).for_each(|(lane, weight)| *lane += weight));
            lanes.iter().sum::<f64>() + rest.iter().sum::<f64>()
        },
    )
}

/// The largest logit; NaN is never the largest.
fn largest<T: Scalar>(logits: &[T]) -> f64 {
    vectorised::<f32, _>(
        #[inline(always)]
        || {
            let mut lanes = [f64::NEG_INFINITY; LANES];
            let (whole, rest) = logits.as_chunks::<LANES>();
            whole.iter().for_each(|logits| (0..LANES).for_each(|lane| lanes[lane] = larger(lanes[lane], logits[lane].to_f64())));
            lanes.into_iter().fold(rest.iter().fold(f64::NEG_INFINITY, |largest, z| larger(largest, z.to_f64())), f64::max)
        },
    )
}

/// The larger of two, and the first if the second is NaN.
#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if b > a { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Generator;

    const PLAIN: SamplingRule = SamplingRule { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0 };

    /// By the definition: every token sorted, then cut.
    fn sorted_and_cut(rule: &SamplingRule, logits: &[f32]) -> Vec<u32> {
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |z: f32| ((f64::from(z) - f64::from(top)) / rule.temperature).exp();
        let mut all: Vec<(u32, f64)> = (0..).zip(logits.iter().map(|&z| weight(z))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(if rule.top_k == 0 { all.len() } else { rule.top_k });
        let limit = rule.top_p * all.iter().map(|c| c.1).sum::<f64>();
        let reached = all.iter().scan(0.0, |sum, c| Some(std::mem::replace(sum, *sum + c.1)));
        let kept = reached.take_while(|reached| *reached < limit).count().max(1);
        let likely = all.iter().take_while(|c| c.1 >= rule.min_p).count().max(1);
        all[..kept.min(likely)].iter().map(|c| c.0).collect()
    }

    #[test]
    fn what_is_left_out_of_the_order_is_what_would_be_cut() {
        let mut generator = Generator::new(3);
        for (case, scale) in [0.0, 0.1, 1.0, 5.0, 300.0].into_iter().enumerate() {
            let logits: Vec<f32> = (0..5000 - case).map(|_| (scale * generator.normal()) as f32).collect();
            for top_k in [0, 1, 7, 4000, 9000] {
                for (top_p, min_p) in [(0.999, 0.0), (0.9, 0.0), (0.3, 0.01), (1.0, 0.2), (0.95, 0.05), (1e-9, 1.0)] {
                    let rule = SamplingRule { top_k, top_p, min_p, ..PLAIN };
                    let found: Vec<u32> = rule.candidates(&logits).into_iter().map(|c| c.0).collect();
                    // Sums in another order may differ in whether the last one is reached.
                    let wanted = sorted_and_cut(&rule, &logits);
                    let common = found.len().min(wanted.len());
                    assert!(found[..common] == wanted[..common] && found.len().abs_diff(wanted.len()) <= 1, "{rule:?} with {scale}");
                }
            }
        }
    }

    #[test]
    fn every_token_is_chosen_where_the_uniform_number_says() {
        // 3000 tokens over several blocks, of which every third has no weight, the last one too.
        let logits: Vec<f32> = (0..3000).map(|token| if token % 3 == 2 { f32::NEG_INFINITY } else { 0.0 }).collect();
        for share in 0..2000 {
            let token = PLAIN.choose(&logits, (f64::from(share) + 0.5) / 2000.0);
            assert_eq!(token, share as u32 / 2 * 3 + share as u32 % 2);
        }
        assert_eq!(PLAIN.choose(&logits, 1.0 - f64::EPSILON / 2.0), 2998);
        assert_eq!(PLAIN.choose(&logits, 0.0), 0);
        let cold = SamplingRule { temperature: 0.0, ..PLAIN };
        assert_eq!(cold.choose(&[1.0f32, 3.0, f32::NAN, 3.0, f32::NEG_INFINITY], 0.7), 1);
        assert_eq!(SamplingRule { temperature: 1e-300, ..PLAIN }.choose(&[1.0f32, 3.0, -1e4], 0.7), 1);
    }
}
