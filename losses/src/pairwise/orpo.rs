//! Odds ratio preference optimisation (Hong, Lee and Thorne 2024): supervised fine-tuning with the pair's odds ratio beside it.
//!
//! value     L = −l_w/n − λ ln σ(z), z = ω(m_w) − ω(m_l), ω(m) = m − ln(1 − e^m), m_w = l_w/n_w, m_l = l_l/n_l
//! gradient  ∂L/∂l_w = −1/n − λ σ(−z)/[(1 − e^{m_w}) n_w], ∂L/∂l_l = +λ σ(−z)/[(1 − e^{m_l}) n_l]
//!
//! n = n̄_w by token, n = n_w by pair. λ is the setting β, as in other trainers. The slope in m grows like 1/|m| as m → 0, which is the
//! loss's own. ln(1 − e^m) is formed by log1mexp and 1 − e^m by expm1. Where m comes within the unit round-off u of 0 it is taken as −u:
//! it can be no better known, and value and gradient stay finite.
#![doc = include_str!("orpo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::dialect::Second;
use super::samples::prelude::*;
use crate::numeric::{LogComplement, below_one, logaddexp};

/// −l_w/n − λ ln σ(z), z the logarithm of the odds ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Orpo {
    /// Weight λ > 0 of the odds ratio.
    pub beta: f64,
    /// What the chosen log-probability is divided by in the negative log-likelihood.
    pub reduction: Reduction,
}

/// z = ω(m_w) − ω(m_l), with ln(1 − e^m) by the function `complement`.
fn log_odds_ratio<T: Scalar>(pair: &Pair<T>, complement: impl Fn(T) -> T) -> T {
    let (m_w, m_l) = (pair.chosen_mean(), pair.rejected_mean());
    (m_w - m_l) - (complement(m_w) - complement(m_l))
}

/// ln(1 − e^m), for m that rounding may have brought to 0 or above.
fn log_complement<T: Scalar>(m: T) -> T {
    below_one(m).log1mexp()
}

/// ln(1 − e^m) as log1p(−e^m) in f32, which is −∞ for m above −3e-8.
fn log_complement_of_rounded(m: Second) -> Second {
    let p = m.exp();
    let error = p.to_f64() - f64::from(p.to_f64() as f32);
    (Second::from_f64(error) - p).ln_1p()
}

impl PairLoss for Orpo {
    const OF_LOG_RATIOS: bool = false;

    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let z = log_odds_ratio(&pair, log_complement);
        T::from_f64(self.beta) * (-z).softplus() - pair.chosen / pair.nll_length(self.reduction)
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let (n_w, n_l) = pair.lengths;
        let slope = T::from_f64(self.beta) * (-log_odds_ratio(&pair, log_complement)).sigmoid();
        let complement = |m: T| -below_one(m).exp_m1();
        let ratio_w = slope / (complement(pair.chosen_mean()) * n_w);
        (-T::one() / pair.nll_length(self.reduction) - ratio_w, slope / (complement(pair.rejected_mean()) * n_l))
    }
    /// λ ln(1 + o_l/o_w) − l_w/n, o = e^m/(1 − e^m): without a reference the start depends on the model.
    fn at_start(self, pair: &Pair<f64>) -> f64 {
        let log_odds = |m: f64| m - (-m.exp_m1()).ln();
        let ratio = logaddexp(0.0, log_odds(pair.rejected_mean()) - log_odds(pair.chosen_mean()));
        self.beta * ratio - pair.chosen / pair.nll_length(self.reduction)
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (m_w, m_l) = inputs.means();
        let (odds_w, odds_l) = (m_w.sub(&m_w.map(LogComplement)), m_l.sub(&m_l.map(LogComplement)));
        inputs.nll(self.reduction).sub(&odds_w.sub(&odds_l).log_sigmoid().scale(self.beta))
    }
    /// That of pairs whose means are not near 0.
    fn complement_slope(self) -> f64 {
        self.beta
    }
    fn breakdown(self, pair: &Pair<f64>) -> Option<&'static str> {
        let is_one = |m: f64| (m as f32).exp() == 1.0;
        (is_one(pair.chosen_mean()) || is_one(pair.rejected_mean()))
            .then_some("ln(1 − e^m) is formed as log1p(−exp(m)), which is −∞ in f32 for m near 0: use ln(−expm1(m))")
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        vec![
            other_reduction(hyper),
            Dialect::formula("the negative log-likelihood is missing: this is the odds ratio's term alone", |hyper, pair| {
                Second::from_f64(hyper.beta) * (-log_odds_ratio(&pair, log_complement)).softplus()
            }),
            Dialect::formula("ln(1 − e^m) is formed as log1p(−exp(m)) in f32, which loses digits near m = 0", |hyper, pair| {
                let ratio = (-log_odds_ratio(&pair, log_complement_of_rounded)).softplus();
                Second::from_f64(hyper.beta) * ratio - pair.chosen / pair.nll_length(hyper.nll_reduction)
            }),
        ]
    }
}

impl PreferenceLoss for Orpo {
    const NAME: &'static str = "orpo";
    const NOTE: Option<&'static str> = Some(
        "orpo's --beta is the weight λ of its odds ratio; its likelihood is a mean over the batch's tokens, as in TRL, or per pair with --nll-reduction pair",
    );
    const USES: &'static [Setting] = &[Setting::Beta, Setting::NllReduction];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, reduction: hyper.nll_reduction }
    }
    fn needs(&self) -> &'static [Need] {
        &[Need::Lengths]
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        pair_sample(Orpo { beta: 0.1, reduction: any_reduction(draw) }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1, reduction: Reduction::Token }, PAIRS, "λ = 0.1, by token")
    }
}
