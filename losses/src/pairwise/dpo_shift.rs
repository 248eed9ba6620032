//! DPO with the rejected completion's log-ratio scaled down (Yang et al. 2025, "DPO-Shift: Shifting the Distribution of Direct Preference
//! Optimization").
//!
//! value     L = −ln σ(x), x = β(a − f·r)
//! gradient  ∂L/∂l_w = −β σ(−x), ∂L/∂l_l = +fβ σ(−x)
#![doc = include_str!("dpo_shift.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// −ln σ(β(a − f·r)); ln 2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpoShift {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// The factor f in (0, 1]; 1 is DPO.
    pub shift: f64,
}

impl DpoShift {
    /// x.
    fn margin<T: Scalar>(self, pair: &Pair<T>) -> T {
        T::from_f64(self.beta) * (pair.chosen_log_ratio() - T::from_f64(self.shift) * pair.rejected_log_ratio())
    }
}

impl PairLoss for DpoShift {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        (-self.margin(&pair)).softplus()
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let slope = T::from_f64(self.beta) * (-self.margin(&pair)).sigmoid();
        (-slope, T::from_f64(self.shift) * slope)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        std::f64::consts::LN_2
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (a, r) = inputs.log_ratios();
        a.scale(self.beta).sub(&r.scale(self.beta * self.shift)).log_sigmoid().neg()
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        vec![Dialect::with("the factor f is ignored: this is dpo", Hyperparameters { shift: 1.0, ..*hyper })]
    }
}

impl PreferenceLoss for DpoShift {
    const NAME: &'static str = "dpo-shift";
    const USES: &'static [Setting] = &[Setting::Beta, Setting::Shift];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, shift: hyper.shift }
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        pair_sample(DpoShift { beta: 0.1, shift: 0.75 }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1, shift: 0.75 }, PAIRS, "f = 0.75, β = 0.1")
    }
}
