//! The negative log-likelihood of the chosen completions: supervised fine-tuning, as a term beside a preference loss (TRL's `sft`).
//!
//! value     L = −l_w/n, n = n̄_w by token, n = n_w by pair
//! gradient  ∂L/∂l_w = −1/n, ∂L/∂l_l = 0
//!
//! n̄_w is the mean number of chosen tokens in the batch, so the mean over the pairs is the mean over the batch's tokens.
#![doc = include_str!("nll.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// −l_w/n.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nll {
    /// What a completion's log-probability is divided by.
    pub reduction: Reduction,
}

impl PairLoss for Nll {
    const OF_LOG_RATIOS: bool = false;

    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        -pair.chosen / pair.nll_length(self.reduction)
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        (-T::one() / pair.nll_length(self.reduction), T::zero())
    }
    fn at_start(self, pair: &Pair<f64>) -> f64 {
        -pair.chosen / pair.nll_length(self.reduction)
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        inputs.nll(self.reduction)
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        vec![other_reduction(hyper)]
    }
}

impl PreferenceLoss for Nll {
    const NAME: &'static str = "nll";
    const ALIASES: &'static [&'static str] = &["sft"];
    const USES: &'static [Setting] = &[Setting::NllReduction];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { reduction: hyper.nll_reduction }
    }
    fn needs(&self) -> &'static [Need] {
        &[Need::Lengths]
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        pair_sample(Nll { reduction: any_reduction(draw) }, domain)
    }
    fn example() -> Example {
        pair_example(Self { reduction: Reduction::Token }, PAIRS, "by token")
    }
}
