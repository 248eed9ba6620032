//! AlphaPO (Gupta et al. 2025): SimPO with a reward whose shape is set by α.
//!
//! value     L = −ln σ(x), x = β[R(m_w) − R(m_l)] − γ, R(m) = (1 − e^{−αm})/α, m_w = l_w/n_w, m_l = l_l/n_l
//! gradient  ∂L/∂l_w = −β e^{−αm_w} σ(−x)/n_w, ∂L/∂l_l = +β e^{−αm_l} σ(−x)/n_l
//!
//! With α = 0, R(m) = m: that is SimPO. The rewards' difference is formed from the larger of the two powers,
//!
//!   R(m_w) − R(m_l) = ±e^{−αm}(1 − e^{−|α(m_w − m_l)|})/|α|, m the smaller mean for α > 0, the larger for α < 0,
//!
//! which never is ∞ − ∞, and keeps its digits for small α. e^{−αm} σ(−x) is formed as one power, because it may be ∞·0. What is left
//! overflows with the true value: where the chosen completion is not ahead and has α|m_w| > 88 in f32, or 709 in f64.
#![doc = include_str!("alphapo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;
use super::simpo::{SimPo, other_margins};
use crate::numeric::logaddexp;

/// −ln σ(β[R(m_w) − R(m_l)] − γ), R(m) = (1 − e^{−αm})/α, m the mean log-probability of a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlphaPo {
    /// Scale β > 0 of the reward.
    pub beta: f64,
    /// Margin γ ≥ 0 of the rewards βR.
    pub gamma: f64,
    /// Shape α of the reward; 0 is the logarithm.
    pub reward_alpha: f64,
}

/// Below this |α| the reward is m to rounding: R(m) = m(1 − αm/2 + …), and αm/2 is below the unit round-off for every m above −1e4.
const LEAST_ALPHA: f64 = 1e-20;

impl AlphaPo {
    /// SimPO, where α is 0 to rounding.
    fn as_simpo(self) -> Option<SimPo> {
        (self.reward_alpha.abs() < LEAST_ALPHA).then_some(SimPo { beta: self.beta, gamma: self.gamma })
    }

    fn margin<T: Scalar>(self, pair: &Pair<T>) -> T {
        let (m_w, m_l) = (pair.chosen_mean(), pair.rejected_mean());
        let is_behind = m_w.is_below(m_l);
        let (less, more) = (T::select(is_behind, m_w, m_l), T::select(is_behind, m_l, m_w));
        let (alpha, size) = (T::from_f64(self.reward_alpha), T::from_f64(self.reward_alpha.abs()));
        let largest_power = (-(alpha * if self.reward_alpha > 0.0 { less } else { more })).exp();
        let difference = largest_power * -(size * (less - more)).exp_m1() / size;
        T::from_f64(self.beta) * T::select(is_behind, -difference, difference) - T::from_f64(self.gamma)
    }
}

impl PairLoss for AlphaPo {
    const OF_LOG_RATIOS: bool = false;

    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        match self.as_simpo() {
            Some(simpo) => simpo.value(pair),
            None => (-self.margin(&pair)).softplus(),
        }
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        if let Some(simpo) = self.as_simpo() {
            return simpo.gradient(pair);
        }
        let (n_w, n_l) = pair.lengths;
        let log_sigmoid = -self.margin(&pair).softplus();
        let slope = |m: T| T::from_f64(self.beta) * (log_sigmoid - T::from_f64(self.reward_alpha) * m).exp();
        (-slope(pair.chosen_mean()) / n_w, slope(pair.rejected_mean()) / n_l)
    }
    /// ln(1 + e^{γ − β(R_w − R_l)}): without a reference the start depends on the model.
    fn at_start(self, pair: &Pair<f64>) -> f64 {
        let alpha = self.reward_alpha;
        let reward = |m: f64| if alpha == 0.0 { m } else { -(-alpha * m).exp_m1() / alpha };
        logaddexp(0.0, self.gamma - self.beta * (reward(pair.chosen_mean()) - reward(pair.rejected_mean())))
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        if let Some(simpo) = self.as_simpo() {
            return simpo.twin(inputs);
        }
        let (m_w, m_l) = inputs.means();
        let power = |m: &Tensor<B>| m.scale(-self.reward_alpha).exp();
        let difference = power(&m_l).sub(&power(&m_w)).scale(self.beta / self.reward_alpha);
        difference.sub(&Tensor::full(m_w.backend(), self.gamma, &[])).log_sigmoid().neg()
    }
    /// That of SimPO: a reward of large slope multiplies it.
    fn complement_slope(self) -> f64 {
        self.beta
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        other_margins(hyper)
    }
}

impl PreferenceLoss for AlphaPo {
    const NAME: &'static str = "alphapo";
    const USES: &'static [Setting] = &[Setting::Beta, Setting::Gamma, Setting::RewardAlpha];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, gamma: hyper.gamma, reward_alpha: hyper.reward_alpha }
    }
    fn needs(&self) -> &'static [Need] {
        &[Need::Lengths]
    }
    /// Log-probabilities down to −100, where e^{−αm} is a number of f32 and x is at most 1e12.
    fn sample(draw: &mut Draw) -> Sample {
        let reward_alpha = [0.25, 0.0, -0.5][draw.below(3)];
        let mut domain = log_probabilities(draw);
        domain.chosen.iter_mut().chain(&mut domain.rejected).for_each(|l| *l /= 100.0);
        pair_sample(AlphaPo { beta: 2.0, gamma: 1.0, reward_alpha }, domain.rounded())
    }
    fn example() -> Example {
        pair_example(Self { beta: 2.0, gamma: 1.0, reward_alpha: 0.25 }, PAIRS, "α = 0.25, β = 2, γ = 1")
    }
}
