//! Contrastive preference optimisation (Xu et al. 2024): DPO with a uniform reference, and the likelihood of the chosen completion.
//!
//! value     L = −ln σ(x) − α l_w/n, x = β(l_w − l_l), n = n̄_w by token, n = n_w by pair
//! gradient  ∂L/∂l_w = −β σ(−x) − α/n, ∂L/∂l_l = +β σ(−x)
//!
//! The first term takes sums over the tokens, the second a mean. `nll.rs` explains its two forms.
#![doc = include_str!("cpo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::dialect::Second;
use super::samples::prelude::*;
use crate::numeric::logaddexp;

/// −ln σ(β(l_w − l_l)) − α l_w/n.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cpo {
    /// Scale β > 0 of the difference.
    pub beta: f64,
    /// Weight α ≥ 0 of the negative log-likelihood.
    pub nll: f64,
    /// What the chosen log-probability is divided by there.
    pub reduction: Reduction,
}

impl Cpo {
    fn margin<T: Scalar>(self, pair: &Pair<T>) -> T {
        T::from_f64(self.beta) * (pair.chosen - pair.rejected)
    }
}

impl PairLoss for Cpo {
    const OF_LOG_RATIOS: bool = false;

    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        (-self.margin(&pair)).softplus() - T::from_f64(self.nll) * pair.chosen / pair.nll_length(self.reduction)
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let slope = T::from_f64(self.beta) * (-self.margin(&pair)).sigmoid();
        (-slope - T::from_f64(self.nll) / pair.nll_length(self.reduction), slope)
    }
    /// ln(1 + e^{−β(l_w − l_l)}) − α l_w/n: without a reference the start depends on the model.
    fn at_start(self, pair: &Pair<f64>) -> f64 {
        logaddexp(0.0, self.beta * (pair.rejected - pair.chosen)) - self.nll * pair.chosen / pair.nll_length(self.reduction)
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (l_w, l_l) = inputs.policy();
        inputs.nll(self.reduction).scale(self.nll).sub(&l_w.sub(l_l).scale(self.beta).log_sigmoid())
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        vec![
            Dialect::with("the negative log-likelihood is missing (as if its weight were 0)", Hyperparameters { nll: 0.0, ..*hyper }),
            other_reduction(hyper),
            Dialect::formula("the difference is that of means over the tokens instead of sums", |hyper, pair| {
                let x = Second::from_f64(hyper.beta) * (pair.chosen_mean() - pair.rejected_mean());
                (-x).softplus() - Second::from_f64(hyper.nll) * pair.chosen / pair.nll_length(hyper.nll_reduction)
            }),
        ]
    }
}

impl PreferenceLoss for Cpo {
    const NAME: &'static str = "cpo";
    const NOTE: Option<&'static str> = Some("cpo has its likelihood term with weight --nll 1, a mean over the batch's tokens, as in TRL");
    const USES: &'static [Setting] = &[Setting::Beta, Setting::Nll, Setting::NllReduction];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, nll: hyper.nll, reduction: hyper.nll_reduction }
    }
    /// The paper's weight of the likelihood, and TRL's.
    fn defaults() -> Hyperparameters {
        Hyperparameters { nll: 1.0, ..Hyperparameters::default() }
    }
    fn needs(&self) -> &'static [Need] {
        &[Need::Lengths]
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        pair_sample(Cpo { beta: 0.1, nll: 1.0, reduction: any_reduction(draw) }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1, nll: 1.0, reduction: Reduction::Token }, PAIRS, "β = 0.1, α = 1 by token")
    }
}
