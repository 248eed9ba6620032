//! Anchored preference optimisation, the form that lowers both completions, the rejected one more (D'Oosterlinck et al. 2024).
//!
//! value     L = σ(βa) + 1 − σ(x) = σ(βa) + σ(−x), x = β(a − r)
//! gradient  ∂L/∂l_w = β[σ(βa) σ(−βa) − σ(x) σ(−x)], ∂L/∂l_l = β σ(x) σ(−x)
//!
//! The paper leaves out the constant 1; trainers add it.
#![doc = include_str!("apo_down.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// σ(βa) + σ(−β(a − r)); 1 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ApoDown {
    /// Inverse temperature β > 0.
    pub beta: f64,
}

impl PairLoss for ApoDown {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let beta = T::from_f64(self.beta);
        (beta * pair.chosen_log_ratio()).sigmoid() + (-(beta * pair.margin())).sigmoid()
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let beta = T::from_f64(self.beta);
        let slope = |u: T| beta * u.sigmoid() * (-u).sigmoid();
        let of_margin = slope(beta * pair.margin());
        (slope(beta * pair.chosen_log_ratio()) - of_margin, of_margin)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        1.0
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (a, r) = inputs.log_ratios();
        let (anchor, margin) = (a.scale(self.beta), r.sub(&a).scale(self.beta));
        anchor.log_sigmoid().exp().add(&margin.log_sigmoid().exp())
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
    fn dialects(_: &Hyperparameters) -> Vec<Dialect> {
        vec![Dialect::formula("the constant 1 is left out, as in the paper: the gradients are right", without_constant)]
    }
}

/// σ(βa) − σ(x).
fn without_constant<T: Scalar>(hyper: &Hyperparameters, pair: Pair<T>) -> T {
    let beta = T::from_f64(hyper.beta);
    (beta * pair.chosen_log_ratio()).sigmoid() - (beta * pair.margin()).sigmoid()
}

impl PreferenceLoss for ApoDown {
    const NAME: &'static str = "apo-down";
    const USES: &'static [Setting] = &[Setting::Beta];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta }
    }
    /// Near the reference: far from it the value is flat, and differences of it are lost in its rounding.
    fn sample(draw: &mut Draw) -> Sample {
        let domain = near_reference(draw);
        let beta = if draw.coin() { 0.1 } else { 2.0 };
        pair_sample(ApoDown { beta }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1 }, PAIRS, "β = 0.1")
    }
}
