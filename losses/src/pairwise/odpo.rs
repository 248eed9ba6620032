//! DPO with an offset: the margin must exceed Δ (Amini, Vieira and Cotterell 2024, "Direct Preference Optimization with an Offset").
//!
//! value     L = −ln σ(x − Δ), x = β(a − r)
//! gradient  ∂L/∂l_w = −β σ(Δ − x), ∂L/∂l_l = +β σ(Δ − x)
//!
//! In the paper Δ grows with how much better the chosen completion is. Here it is the same for every pair.
#![doc = include_str!("odpo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// −ln σ(β(a − r) − Δ); ln(1 + e^Δ) at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Odpo {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// The margin Δ ≥ 0 of the rewards.
    pub margin: f64,
}

impl Odpo {
    /// Δ − x.
    fn missing<T: Scalar>(self, pair: &Pair<T>) -> T {
        T::from_f64(self.margin) - T::from_f64(self.beta) * pair.margin()
    }
}

impl PairLoss for Odpo {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        self.missing(&pair).softplus()
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let slope = T::from_f64(self.beta) * self.missing(&pair).sigmoid();
        (-slope, slope)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        self.margin + (-self.margin).exp().ln_1p()
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let x = inputs.margins(self.beta);
        x.sub(&Tensor::full(x.backend(), self.margin, &[])).log_sigmoid().neg()
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        vec![
            Dialect::with("the margin Δ is ignored: this is dpo", Hyperparameters { margin: 0.0, ..*hyper }),
            Dialect::with("the margin Δ is added instead of subtracted", Hyperparameters { margin: -hyper.margin, ..*hyper }),
            Dialect::with("the margin Δ is multiplied by β", Hyperparameters { margin: hyper.beta * hyper.margin, ..*hyper }),
        ]
    }
}

impl PreferenceLoss for Odpo {
    const NAME: &'static str = "odpo";
    const USES: &'static [Setting] = &[Setting::Beta, Setting::Margin];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, margin: hyper.margin }
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        pair_sample(Odpo { beta: 0.1, margin: 0.5 }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1, margin: 0.5 }, PAIRS, "Δ = 0.5, β = 0.1")
    }
}
