//! Bounded DPO: a mixture of policy and reference stands for the policy in the rejected log-ratio (Cho et al. 2025, "Rethinking DPO: The
//! Role of Rejected Responses in Preference Misalignment").
//!
//! value     L = −ln σ(x), x = β(a − m), m = ln(λe^r + 1 − λ)
//! gradient  ∂L/∂l_w = −β σ(−x), ∂L/∂l_l = +βρ σ(−x), ρ = λe^r/(λe^r + 1 − λ)
//!
//! m is formed as the logarithm of a sum of e^{ln λ + r} and e^{ln(1 − λ)}, and ρ as σ(r + ln λ − ln(1 − λ)): neither overflows.
#![doc = include_str!("bdpo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;
use crate::numeric::logaddexp;

/// −ln σ(β(a − ln(λe^r + 1 − λ))); ln 2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bdpo {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// The policy's share λ in (0, 1] of the mixture; 1 is DPO.
    pub mixture: f64,
}

impl Bdpo {
    /// (ln λ, ln(1 − λ)).
    fn log_shares(self) -> (f64, f64) {
        (self.mixture.ln(), (-self.mixture).ln_1p())
    }
    /// x.
    fn margin<T: Scalar>(self, pair: &Pair<T>) -> T {
        let (policy, reference) = self.log_shares();
        let mixed = logaddexp(pair.rejected_log_ratio() + T::from_f64(policy), T::from_f64(reference));
        T::from_f64(self.beta) * (pair.chosen_log_ratio() - mixed)
    }
}

impl PairLoss for Bdpo {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        (-self.margin(&pair)).softplus()
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let (policy, reference) = self.log_shares();
        let share = (pair.rejected_log_ratio() + T::from_f64(policy - reference)).sigmoid();
        let slope = T::from_f64(self.beta) * (-self.margin(&pair)).sigmoid();
        (-slope, share * slope)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        std::f64::consts::LN_2
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (a, r) = inputs.log_ratios();
        let full = |value: f64| Tensor::full(r.backend(), value, &[r.len(), 1]);
        let moved = r.reshape(&[r.len(), 1]).add(&full(self.mixture.ln()));
        let mixed = Tensor::concat(&[&moved, &full((1.0 - self.mixture).ln())], 1).logsumexp();
        a.sub(&mixed).scale(self.beta).log_sigmoid().neg()
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        vec![Dialect::with(
            "policy and reference are swapped in the mixture (1 − λ in place of λ)",
            Hyperparameters { mixture: 1.0 - hyper.mixture, ..*hyper },
        )]
    }
}

impl PreferenceLoss for Bdpo {
    const NAME: &'static str = "bdpo";
    const USES: &'static [Setting] = &[Setting::Beta, Setting::Mixture];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, mixture: hyper.mixture }
    }
    fn sample(draw: &mut Draw) -> Sample {
        let mixture = if draw.coin() { 1.0 } else { draw.uniform(&[], 0.1, 0.9).data[0] };
        let domain = log_probabilities(draw);
        pair_sample(Bdpo { beta: 0.1, mixture }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1, mixture: 0.5 }, PAIRS, "λ = 0.5, β = 0.1")
    }
}
