//! Simple preference optimisation (Meng, Xia and Chen 2024): the mean log-probability of a token as reward, a margin γ, and no reference.
//!
//! value     L = −ln σ(x), x = β(m_w − m_l) − γ, m_w = l_w/n_w, m_l = l_l/n_l
//! gradient  ∂L/∂l_w = −β σ(−x)/n_w, ∂L/∂l_l = +β σ(−x)/n_l
//!
//! γ is the margin itself. The paper states its settings as β and γ/β.
#![doc = include_str!("simpo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;
use crate::numeric::logaddexp;

/// −ln σ(β(m_w − m_l) − γ), m the mean log-probability of a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SimPo {
    /// Scale β > 0 of the reward.
    pub beta: f64,
    /// Margin γ ≥ 0 of the rewards βm.
    pub gamma: f64,
}

impl SimPo {
    fn margin<T: Scalar>(self, pair: &Pair<T>) -> T {
        T::from_f64(self.beta) * (pair.chosen_mean() - pair.rejected_mean()) - T::from_f64(self.gamma)
    }
}

impl PairLoss for SimPo {
    const OF_LOG_RATIOS: bool = false;

    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        (-self.margin(&pair)).softplus()
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let (n_w, n_l) = pair.lengths;
        let slope = T::from_f64(self.beta) * (-self.margin(&pair)).sigmoid();
        (-slope / n_w, slope / n_l)
    }
    /// ln(1 + e^{γ − β(m_w − m_l)}): without a reference the start depends on the model.
    fn at_start(self, pair: &Pair<f64>) -> f64 {
        logaddexp(0.0, self.gamma - self.beta * (pair.chosen_mean() - pair.rejected_mean()))
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (m_w, m_l) = inputs.means();
        let x = m_w.sub(&m_l).scale(self.beta).sub(&Tensor::full(m_w.backend(), self.gamma, &[]));
        x.log_sigmoid().neg()
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        other_margins(hyper)
    }
}

/// The margin γ confused with the ratio γ/β, in either direction.
pub(super) fn other_margins(hyper: &Hyperparameters) -> Vec<Dialect> {
    vec![
        Dialect::with("γ is taken as γ/β: the margin is βγ instead of γ", Hyperparameters { gamma: hyper.beta * hyper.gamma, ..*hyper }),
        Dialect::with("γ is divided by β: the margin is γ/β instead of γ", Hyperparameters { gamma: hyper.gamma / hyper.beta, ..*hyper }),
    ]
}

impl PreferenceLoss for SimPo {
    const NAME: &'static str = "simpo";
    const NOTE: Option<&'static str> =
        Some("simpo's --gamma is the margin γ of β·m itself, not γ/β; its paper has --beta 2 to 2.5 and γ/β of 0.5 to 0.8");
    const USES: &'static [Setting] = &[Setting::Beta, Setting::Gamma];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, gamma: hyper.gamma }
    }
    fn needs(&self) -> &'static [Need] {
        &[Need::Lengths]
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        pair_sample(SimPo { beta: 2.0, gamma: 1.0 }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 2.0, gamma: 1.0 }, PAIRS, "β = 2, γ = 1")
    }
}
