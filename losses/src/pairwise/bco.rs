//! Binary classifier optimisation, for pairs (Jung et al. 2024).
//!
//! value     L = −ln σ(βa − δ) − ln σ(−(βr − δ))
//! gradient  ∂L/∂l_w = −β σ(−(βa − δ)), ∂L/∂l_l = β σ(βr − δ)
//!
//! δ is a constant. The paper takes a running mean of the rewards βa and βr; trainers that take pairs leave it 0.
#![doc = include_str!("bco.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// −ln σ(βa − δ) − ln σ(−(βr − δ)); 2 ln 2 at the start where δ = 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bco {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// The shift δ of the rewards.
    pub delta: f64,
}

impl Bco {
    /// (βa − δ, βr − δ).
    fn log_odds<T: Scalar>(self, pair: &Pair<T>) -> (T, T) {
        let (beta, delta) = (T::from_f64(self.beta), T::from_f64(self.delta));
        (beta * pair.chosen_log_ratio() - delta, beta * pair.rejected_log_ratio() - delta)
    }
}

impl PairLoss for Bco {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let (chosen, rejected) = self.log_odds(&pair);
        (-chosen).softplus() + rejected.softplus()
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let (chosen, rejected) = self.log_odds(&pair);
        let beta = T::from_f64(self.beta);
        (-beta * (-chosen).sigmoid(), beta * rejected.sigmoid())
    }
    /// ln(1 + e^δ) + ln(1 + e^{−δ}) = |δ| + 2 ln(1 + e^{−|δ|}).
    fn at_start(self, _: &Pair<f64>) -> f64 {
        self.delta.abs() + 2.0 * (-self.delta.abs()).exp().ln_1p()
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (a, r) = inputs.log_ratios();
        let delta = Tensor::full(a.backend(), self.delta, &[]);
        let (chosen, rejected) = (a.scale(self.beta).sub(&delta), delta.sub(&r.scale(self.beta)));
        chosen.log_sigmoid().add(&rejected.log_sigmoid()).neg()
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        vec![
            Dialect::with("δ is ignored (as if δ = 0)", Hyperparameters { delta: Some(0.0), ..*hyper }),
            Dialect::with(
                "δ is added to the rewards instead of subtracted",
                Hyperparameters { delta: hyper.delta.map(|delta| -delta), ..*hyper },
            ),
        ]
    }
}

impl PreferenceLoss for Bco {
    const NAME: &'static str = "bco";
    const ALIASES: &'static [&'static str] = &["bco-pair"];
    const NOTE: Option<&'static str> =
        Some("bco shifts the rewards by their mean so far, δ, as its paper has it; TRL's bco_pair has none: --delta 0");
    const USES: &'static [Setting] = &[Setting::Beta, Setting::Delta];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, delta: hyper.delta.unwrap_or(0.0) }
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        let delta = draw.uniform(&[], -1.0, 1.0).data[0];
        pair_sample(Bco { beta: 0.1, delta }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1, delta: 0.25 }, PAIRS, "δ = 0.25, β = 0.1")
    }
}
