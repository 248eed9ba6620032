//! Anchored preference optimisation, zero form, on labelled rows (D'Oosterlinck et al. 2024): kto with z = 0.
//!
//! value     L = σ(s β t), t = l − ln π_ref; s = −1 if the completion is desirable, else +1
//! gradient  ∂L/∂l = s β σ(x) σ(−x), x = β t
#![doc = include_str!("apo_zero_unpaired.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// σ(s β t); 1/2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ApoZeroUnpaired {
    /// Inverse temperature β > 0.
    pub beta: f64,
}

impl RowLoss for ApoZeroUnpaired {
    fn value<T: Scalar>(self, row: LabelledRow<T>) -> T {
        (row.sign() * T::from_f64(self.beta) * row.log_ratio()).sigmoid()
    }
    fn gradient<T: Scalar>(self, row: LabelledRow<T>) -> T {
        let beta = T::from_f64(self.beta);
        let x = beta * row.log_ratio();
        row.sign() * beta * (x.sigmoid() * (-x).sigmoid())
    }
    fn at_start(self, _: bool) -> f64 {
        0.5
    }
    fn twin<B: Backend>(self, inputs: &RowInputs<B>) -> Tensor<B> {
        inputs.log_ratios().mul(&inputs.signs()).scale(self.beta).sigmoid()
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
}

impl PreferenceLoss for ApoZeroUnpaired {
    const NAME: &'static str = "apo-zero-unpaired";
    const USES: &'static [Setting] = &[Setting::Beta];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta }
    }
    fn sample(draw: &mut Draw) -> Sample {
        row_sample(Self { beta: 0.1 }, draw)
    }
    fn example() -> Example {
        row_example(Self { beta: 0.1 }, "β = 0.1")
    }
}
