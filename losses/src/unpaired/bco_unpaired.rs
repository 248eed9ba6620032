//! Binary classifier optimisation on labelled rows (Jung et al. 2024): the reward is the logit of a classifier of the labels.
//!
//! value     L = ln(1 + e^x), x = s(β t − δ), t = l − ln π_ref; s = −1 if the completion is desirable, else +1
//! gradient  ∂L/∂l = s β σ(x)
//!
//! δ is a constant of the gradient: the mean of the rewards β t so far, or a given number.
#![doc = include_str!("bco_unpaired.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// ln(1 + e^{s(β t − δ)}); ln 2 at the start if δ is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BcoUnpaired {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// δ: what is subtracted from the rewards.
    pub delta: f64,
}

impl BcoUnpaired {
    fn logit<T: Scalar>(self, row: &LabelledRow<T>) -> T {
        row.sign() * (T::from_f64(self.beta) * row.log_ratio() - T::from_f64(self.delta))
    }
}

impl RowLoss for BcoUnpaired {
    fn value<T: Scalar>(self, row: LabelledRow<T>) -> T {
        self.logit(&row).softplus()
    }
    fn gradient<T: Scalar>(self, row: LabelledRow<T>) -> T {
        row.sign() * T::from_f64(self.beta) * self.logit(&row).sigmoid()
    }
    fn at_start(self, is_desirable: bool) -> f64 {
        let logit = if is_desirable { self.delta } else { -self.delta };
        logit.max(0.0) + (-logit.abs()).exp().ln_1p()
    }
    fn twin<B: Backend>(self, inputs: &RowInputs<B>) -> Tensor<B> {
        let delta = Tensor::full(inputs.policy().backend(), self.delta, &[1]);
        inputs.log_ratios().scale(self.beta).sub(&delta).mul(&inputs.signs()).softplus()
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
}

impl PreferenceLoss for BcoUnpaired {
    const NAME: &'static str = "bco-unpaired";
    const USES: &'static [Setting] = &[Setting::Beta, Setting::Delta];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, delta: hyper.delta.unwrap_or(0.0) }
    }
    fn sample(draw: &mut Draw) -> Sample {
        row_sample(Self { beta: 0.1, delta: 0.025 }, draw)
    }
    fn example() -> Example {
        row_example(Self { beta: 0.1, delta: 0.025 }, "β = 0.1, δ = 0.025")
    }
}
