//! CPO-SimPO: SimPO (Meng, Xia and Chen 2024) with the likelihood term of CPO (Xu et al. 2024).
//!
//! value     L = −ln σ(x) − α l_w/n, x = β(m_w − m_l) − γ, m_w = l_w/n_w, m_l = l_l/n_l, n = n̄_w by token, n = n_w by pair
//! gradient  ∂L/∂l_w = −β σ(−x)/n_w − α/n, ∂L/∂l_l = +β σ(−x)/n_l
//!
//! Some trainers compute it under the name SimPO, unless their weight of the likelihood is set to 0.
#![doc = include_str!("cpo_simpo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;
use super::simpo::other_margins;
use crate::numeric::logaddexp;

/// −ln σ(β(m_w − m_l) − γ) − α l_w/n, m the mean log-probability of a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpoSimPo {
    /// Scale β > 0 of the reward.
    pub beta: f64,
    /// Margin γ ≥ 0 of the rewards βm.
    pub gamma: f64,
    /// Weight α ≥ 0 of the negative log-likelihood.
    pub nll: f64,
    /// What the chosen log-probability is divided by there.
    pub reduction: Reduction,
}

impl CpoSimPo {
    fn margin<T: Scalar>(self, pair: &Pair<T>) -> T {
        T::from_f64(self.beta) * (pair.chosen_mean() - pair.rejected_mean()) - T::from_f64(self.gamma)
    }
}

impl PairLoss for CpoSimPo {
    const OF_LOG_RATIOS: bool = false;

    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        (-self.margin(&pair)).softplus() - T::from_f64(self.nll) * pair.chosen / pair.nll_length(self.reduction)
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let (n_w, n_l) = pair.lengths;
        let slope = T::from_f64(self.beta) * (-self.margin(&pair)).sigmoid();
        (-slope / n_w - T::from_f64(self.nll) / pair.nll_length(self.reduction), slope / n_l)
    }
    /// ln(1 + e^{γ − β(m_w − m_l)}) − α l_w/n: without a reference the start depends on the model.
    fn at_start(self, pair: &Pair<f64>) -> f64 {
        let preference = logaddexp(0.0, self.gamma - self.beta * (pair.chosen_mean() - pair.rejected_mean()));
        preference - self.nll * pair.chosen / pair.nll_length(self.reduction)
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (m_w, m_l) = inputs.means();
        let x = m_w.sub(&m_l).scale(self.beta).sub(&Tensor::full(m_w.backend(), self.gamma, &[]));
        inputs.nll(self.reduction).scale(self.nll).sub(&x.log_sigmoid())
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        let mut dialects = other_margins(hyper);
        dialects.push(other_reduction(hyper));
        dialects
    }
}

impl PreferenceLoss for CpoSimPo {
    const NAME: &'static str = "cpo-simpo";
    const USES: &'static [Setting] = &[Setting::Beta, Setting::Gamma, Setting::Nll, Setting::NllReduction];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, gamma: hyper.gamma, nll: hyper.nll, reduction: hyper.nll_reduction }
    }
    /// CPO's weight of the likelihood; without it this is `simpo`.
    fn defaults() -> Hyperparameters {
        Hyperparameters { nll: 1.0, ..Hyperparameters::default() }
    }
    fn needs(&self) -> &'static [Need] {
        &[Need::Lengths]
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        pair_sample(CpoSimPo { beta: 2.0, gamma: 1.0, nll: 1.0, reduction: any_reduction(draw) }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 2.0, gamma: 1.0, nll: 1.0, reduction: Reduction::Token }, PAIRS, "β = 2, γ = 1, α = 1 by token")
    }
}
