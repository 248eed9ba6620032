//! Length-controlled triple preference optimisation, TPO-L (Saeidi et al. 2024), with the chosen completion as the gold answer.
//!
//! value     L = −ln σ(x) − α l_w/n, x = β(m_w − m_l) − γ, m_w = l_w/n_w, m_l = l_l/n_l, n = n̄_w by token, n = n_w by pair
//! gradient  ∂L/∂l_w = −β σ(−x)/n_w − α/n, ∂L/∂l_l = +β σ(−x)/n_l
//!
//! The paper's data are triples: a gold answer, whose likelihood is raised, beside the two that are compared. A pair has no third answer,
//! so the chosen one takes its place. The loss is then `cpo-simpo` with other defaults.
#![doc = include_str!("tpo_l.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::cpo_simpo::CpoSimPo;
use super::samples::prelude::*;

/// −ln σ(β(m_w − m_l) − γ) − α l_w/n: the loss of [`CpoSimPo`], under the name and with the defaults of TPO-L.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TpoL(pub CpoSimPo);

impl PairLoss for TpoL {
    const OF_LOG_RATIOS: bool = false;

    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        self.0.value(pair)
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        self.0.gradient(pair)
    }
    fn at_start(self, pair: &Pair<f64>) -> f64 {
        self.0.at_start(pair)
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        self.0.twin(inputs)
    }
    fn complement_slope(self) -> f64 {
        self.0.complement_slope()
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        CpoSimPo::dialects(hyper)
    }
}

impl PreferenceLoss for TpoL {
    const NAME: &'static str = "tpo-l";
    const NOTE: Option<&'static str> = Some("tpo-l takes the chosen completion for the gold answer, since pairs have no third one");
    const USES: &'static [Setting] = CpoSimPo::USES;
    fn of(hyper: &Hyperparameters) -> Self {
        Self(CpoSimPo::of(hyper))
    }
    /// The trainers' scale of the reward and weight of the gold answer.
    fn defaults() -> Hyperparameters {
        Hyperparameters { beta: 0.01, nll: 1.0, ..Hyperparameters::default() }
    }
    fn needs(&self) -> &'static [Need] {
        &[Need::Lengths]
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        pair_sample(TpoL(CpoSimPo { beta: 0.01, gamma: 0.5, nll: 1.0, reduction: any_reduction(draw) }), domain)
    }
    fn example() -> Example {
        let loss = CpoSimPo { beta: 0.01, gamma: 0.5, nll: 1.0, reduction: Reduction::Token };
        pair_example(Self(loss), PAIRS, "β = 0.01, γ = 0.5, α = 1 by token")
    }
}
