//! The author's revision of SLPO: two binary problems, each completion against all others.
//!
//! value     L = ¼ Σ_y KL(Q_y ‖ P_y), P = σ(z), z = ln(π/(1 − π))/T, Q = σ(t), t = ln(q/(1 − q))/T, y = y_w, y_l
//! gradient  ∂L/∂l_y = ¼(P_y − Q_y)/(T(1 − π(y)))
//!
//! with the targets q_w = π_w + απ_l and q_l = (1 − α)π_l, KL that of a coin with probability Q from one with P, and T a temperature, or
//! the completion's own number of tokens. The minimum is at π = q for every T. All is formed from z and t, whose difference d gives
//!
//! KL = ln(1 + Q(e^d − 1)) − Qd,  P − Q = σ(z)σ(−t)(1 − e^{−d})
//!
//! so that nothing cancels near the minimum. Where q_l = 0, at α = 1, KL = −ln(1 − P). Where π comes within the unit round-off u
//! of 1, 1 − π is taken as u. The loss is not 0 at the start: it is as far from it as the targets are from the reference.
#![doc = include_str!("slpo_halves.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;
use crate::numeric::{LogComplement, below_one, logaddexp, times_log};
use crate::weights::WeightRule;
use engine::backend::Formula;

/// ¼[KL(Q_w ‖ P_w) + KL(Q_l ‖ P_l)].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlpoHalves {
    /// The part α in [0, 1] of the rejected completion's probability that goes to the chosen one.
    pub alpha: f64,
    /// The temperature T; 0 for the number of tokens of each completion.
    pub temperature: f64,
}

/// ln q_w = ln(π_w + απ_l) from ln π_w and ln π_l.
#[derive(Clone, Copy, Debug)]
struct LogTarget {
    alpha: f64,
}

impl Formula<2> for LogTarget {
    #[inline(always)]
    fn at<T: Scalar>(self, [log_chosen, log_rejected]: [T; 2]) -> T {
        logaddexp(log_chosen, log_rejected + T::from_f64(self.alpha.ln()))
    }
}

/// One of the two problems.
struct Half<T> {
    /// ln π(y), at most −u.
    log_probability: T,
    /// z.
    z: T,
    /// t; `None` for −∞, where q = 0.
    target: Option<T>,
    /// T.
    temperature: T,
}

impl<T: Scalar> Half<T> {
    fn new(log_probability: T, log_target: Option<T>, temperature: T) -> Self {
        let logit = |log_p: T| (log_p - log_p.log1mexp()) / temperature;
        let log_probability = below_one(log_probability);
        let target = log_target.map(|log_q| logit(below_one(log_q)));
        Self { log_probability, z: logit(log_probability), target, temperature }
    }
    /// KL(Q ‖ P). It is the same for the complements, which stand in where Q is above ½. A d above 1 has no cancellation to avoid.
    fn divergence(&self) -> T {
        let Some(target) = self.target else { return self.z.softplus() };
        let is_likely = T::zero().is_below(target);
        let turned = |x: T| T::select(is_likely, -x, x);
        let (z, target) = (turned(self.z), turned(target));
        let (q, d) = (target.sigmoid(), z - target);
        let growth = T::select(d.is_below(T::one()), (q * d.exp_m1()).ln_1p(), z.softplus() - target.softplus());
        growth - times_log(q, d)
    }
    /// P − Q.
    fn excess(&self) -> T {
        let z = self.z;
        let Some(target) = self.target else { return z.sigmoid() };
        let d = z - target;
        let fallen = target.sigmoid() * (-z).sigmoid() * d.exp_m1();
        let risen = -(z.sigmoid() * (-target).sigmoid() * (-d).exp_m1());
        T::select(d.is_below(T::zero()), fallen, risen)
    }
    /// dKL/dl = (P − Q)/(T(1 − π)).
    fn slope(&self) -> T {
        self.excess() / (self.temperature * -self.log_probability.exp_m1())
    }
}

impl SlpoHalves {
    /// True if T is each completion's number of tokens.
    fn is_by_tokens(self) -> bool {
        self.temperature == 0.0
    }
    fn temperatures<T: Scalar>(self, pair: &Pair<T>) -> (T, T) {
        if self.is_by_tokens() { pair.lengths } else { (T::from_f64(self.temperature), T::from_f64(self.temperature)) }
    }
    fn halves<T: Scalar>(self, pair: &Pair<T>) -> (Half<T>, Half<T>) {
        let (t_w, t_l) = self.temperatures(pair);
        let q_w = LogTarget { alpha: self.alpha }.at([pair.reference_chosen, pair.reference_rejected]);
        let kept = 1.0 - self.alpha;
        let q_l = (kept > 0.0).then(|| pair.reference_rejected + T::from_f64(kept.ln()));
        (Half::new(pair.chosen, Some(q_w), t_w), Half::new(pair.rejected, q_l, t_l))
    }
    /// The same temperatures, on tensors.
    fn tempered<B: Backend>(self, inputs: &PairInputs<B>, chosen: Tensor<B>, rejected: Tensor<B>) -> (Tensor<B>, Tensor<B>) {
        if self.is_by_tokens() {
            inputs.per_token(chosen, rejected)
        } else {
            (chosen.scale(1.0 / self.temperature), rejected.scale(1.0 / self.temperature))
        }
    }
}

/// Cross-entropy less entropy of two coins, from z and t.
fn divergence_of<B: Backend>(z: &Tensor<B>, target: &Tensor<B>) -> Tensor<B> {
    let (hit, miss) = (target.sigmoid(), target.neg().sigmoid());
    let likelihood = |x: &Tensor<B>| hit.mul(&x.log_sigmoid()).add(&miss.mul(&x.neg().log_sigmoid()));
    likelihood(target).sub(&likelihood(z))
}

impl PairLoss for SlpoHalves {
    const OF_LOG_RATIOS: bool = false;

    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let (chosen, rejected) = self.halves(&pair);
        T::from_f64(0.25) * (chosen.divergence() + rejected.divergence())
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let (quarter, (chosen, rejected)) = (T::from_f64(0.25), self.halves(&pair));
        (quarter * chosen.slope(), quarter * rejected.slope())
    }
    /// ¼ Σ [Q ln(Q/P) + (1 − Q) ln((1 − Q)/(1 − P))], with the reference's probability for π.
    fn at_start(self, pair: &Pair<f64>) -> f64 {
        let (t_w, t_l) = self.temperatures(pair);
        let logit = |log_p: f64| log_p - (-log_p.exp()).ln_1p();
        let divergence = |log_p: f64, log_q: f64, temperature: f64| {
            let (z, t) = (logit(log_p) / temperature, logit(log_q) / temperature);
            let part = |z: f64, t: f64| if t == f64::NEG_INFINITY { 0.0 } else { t.sigmoid() * ((-z).softplus() - (-t).softplus()) };
            part(z, t) + part(-z, -t)
        };
        let q_w = logaddexp(pair.chosen, pair.rejected + self.alpha.ln());
        0.25 * (divergence(pair.chosen, q_w, t_w) + divergence(pair.rejected, pair.rejected + (1.0 - self.alpha).ln(), t_l))
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let ((l_w, l_l), (reference_w, reference_l)) = (inputs.policy(), inputs.reference());
        let logit = |x: &Tensor<B>| x.sub(&x.map(LogComplement));
        let (z_w, z_l) = self.tempered(inputs, logit(l_w), logit(l_l));
        let q_w = reference_w.detached_zip(LogTarget { alpha: self.alpha }, reference_l);
        let q_l = reference_l.add(&Tensor::full(reference_l.backend(), (1.0 - self.alpha).ln(), &[]));
        let (t_w, t_l) = self.tempered(inputs, logit(&q_w), logit(&q_l));
        let rejected = if self.alpha == 1.0 { z_l.softplus() } else { divergence_of(&z_l, &t_l) };
        divergence_of(&z_w, &t_w).add(&rejected).scale(0.25)
    }
    fn complement_slope(self) -> f64 {
        if self.is_by_tokens() { 0.25 } else { 0.25 / self.temperature }
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        vec![
            Dialect::with("the temperature is missing (as if it were 1)", Hyperparameters { temperature: 1.0, ..*hyper }),
            Dialect::scaled("the two divergences are averaged: the loss is twice as large", 2.0),
            Dialect::scaled("the two divergences are summed: the loss is four times as large", 4.0),
        ]
    }
}

impl PreferenceLoss for SlpoHalves {
    const NAME: &'static str = "slpo-halves";
    const USES: &'static [Setting] = &[Setting::Alpha, Setting::Temperature];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { alpha: hyper.alpha, temperature: hyper.temperature }
    }
    /// α = ½. The targets are always those of the rule shift, which allows every α from 0 to 1; the rule eq7 would not.
    fn defaults() -> Hyperparameters {
        Hyperparameters { alpha: 0.5, weights: WeightRule::Shift, ..Hyperparameters::default() }
    }
    fn needs(&self) -> &'static [Need] {
        if self.is_by_tokens() { &[Need::Reference, Need::Lengths] } else { &[Need::Reference] }
    }
    /// References of the policy's size, or independent of it. The twin takes a cross-entropy less an entropy, each up to ln 2.
    fn sample(draw: &mut Draw) -> Sample {
        let alpha = if draw.coin() { 1.0 } else { draw.uniform(&[], 0.1, 0.9).data[0] };
        let temperature = [0.0, 1.0, 20.0][draw.below(3)];
        let mut domain = small_probabilities(draw);
        if draw.coin() {
            let near = |x: &[f64], draw: &mut Draw| x.iter().zip(draw.uniform(&[x.len()], 0.8, 1.25).data).map(|(x, c)| x * c).collect();
            domain.reference_chosen = near(&domain.chosen, draw);
            domain.reference_rejected = near(&domain.rejected, draw);
        }
        pair_sample(SlpoHalves { alpha, temperature }, domain.rounded()).with_inner_magnitude(1.0)
    }
    fn example() -> Example {
        pair_example(Self { alpha: 0.5, temperature: 0.0 }, PAIRS, "α = 0.5, T the number of tokens")
    }
}
