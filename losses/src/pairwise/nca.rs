//! Noise contrastive alignment with explicit rewards, for pairs (Chen et al. 2024).
//!
//! value     L = −ln σ(βa) − ½ ln σ(−βa) − ½ ln σ(−βr)
//! gradient  ∂L/∂l_w = β[½ σ(βa) − σ(−βa)], zero where σ(βa) = 2/3; ∂L/∂l_l = ½ β σ(βr)
#![doc = include_str!("nca.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// −ln σ(βa) − ½ ln σ(−βa) − ½ ln σ(−βr); 2 ln 2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nca {
    /// Inverse temperature β > 0.
    pub beta: f64,
}

impl PairLoss for Nca {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let beta = T::from_f64(self.beta);
        let (chosen, rejected) = (beta * pair.chosen_log_ratio(), beta * pair.rejected_log_ratio());
        (-chosen).softplus() + T::from_f64(0.5) * (chosen.softplus() + rejected.softplus())
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let (beta, half) = (T::from_f64(self.beta), T::from_f64(0.5));
        let (chosen, rejected) = (beta * pair.chosen_log_ratio(), beta * pair.rejected_log_ratio());
        (beta * (half * chosen.sigmoid() - (-chosen).sigmoid()), half * beta * rejected.sigmoid())
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        2.0 * std::f64::consts::LN_2
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (a, r) = inputs.log_ratios();
        let noise = a.scale(-self.beta).log_sigmoid().add(&r.scale(-self.beta).log_sigmoid());
        a.scale(self.beta).log_sigmoid().neg().sub(&noise.scale(0.5))
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
    fn dialects(_: &Hyperparameters) -> Vec<Dialect> {
        vec![Dialect::formula("the terms of the noise have weight 1 instead of ½", with_whole_noise)]
    }
}

/// −ln σ(βa) − ln σ(−βa) − ln σ(−βr).
fn with_whole_noise<T: Scalar>(hyper: &Hyperparameters, pair: Pair<T>) -> T {
    let beta = T::from_f64(hyper.beta);
    let (chosen, rejected) = (beta * pair.chosen_log_ratio(), beta * pair.rejected_log_ratio());
    (-chosen).softplus() + chosen.softplus() + rejected.softplus()
}

impl PreferenceLoss for Nca {
    const NAME: &'static str = "nca";
    const ALIASES: &'static [&'static str] = &["nca-pair"];
    const USES: &'static [Setting] = &[Setting::Beta];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta }
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        pair_sample(Nca { beta: 0.1 }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1 }, PAIRS, "β = 0.1")
    }
}
