//! Anchored preference optimisation, the form that raises the chosen completion and lowers the rejected one (D'Oosterlinck et al. 2024).
//!
//! value     L = 1 − σ(βa) + σ(βr) = σ(−βa) + σ(βr)
//! gradient  ∂L/∂l_w = −β σ(βa) σ(−βa), ∂L/∂l_l = β σ(βr) σ(−βr)
//!
//! The paper leaves out the constant 1; trainers add it.
#![doc = include_str!("apo_zero.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// σ(−βa) + σ(βr); 1 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ApoZero {
    /// Inverse temperature β > 0.
    pub beta: f64,
}

impl PairLoss for ApoZero {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let beta = T::from_f64(self.beta);
        (-(beta * pair.chosen_log_ratio())).sigmoid() + (beta * pair.rejected_log_ratio()).sigmoid()
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let beta = T::from_f64(self.beta);
        let slope = |u: T| beta * u.sigmoid() * (-u).sigmoid();
        (-slope(beta * pair.chosen_log_ratio()), slope(beta * pair.rejected_log_ratio()))
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        1.0
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (a, r) = inputs.log_ratios();
        a.scale(-self.beta).log_sigmoid().exp().add(&r.scale(self.beta).log_sigmoid().exp())
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
    fn dialects(_: &Hyperparameters) -> Vec<Dialect> {
        vec![Dialect::formula("the constant 1 is left out, as in the paper: the gradients are right", without_constant)]
    }
}

/// −σ(βa) + σ(βr).
fn without_constant<T: Scalar>(hyper: &Hyperparameters, pair: Pair<T>) -> T {
    let beta = T::from_f64(hyper.beta);
    (beta * pair.rejected_log_ratio()).sigmoid() - (beta * pair.chosen_log_ratio()).sigmoid()
}

impl PreferenceLoss for ApoZero {
    const NAME: &'static str = "apo-zero";
    const USES: &'static [Setting] = &[Setting::Beta];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta }
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        pair_sample(ApoZero { beta: 0.1 }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1 }, PAIRS, "β = 0.1")
    }
}
