//! Conservative DPO: labels smoothed by ε (Mitchell 2023, "A note on DPO with noisy preferences", eq. 3).
//!
//! value     L = −(1 − ε) ln σ(x) − ε ln σ(−x), x = β(a − r)
//! gradient  ∂L/∂l_w = β[ε σ(x) − (1 − ε) σ(−x)], ∂L/∂l_l = −∂L/∂l_w; zero where σ(x) = 1 − ε
#![doc = include_str!("cdpo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// −(1 − ε) ln σ(x) − ε ln σ(−x); ln 2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cdpo {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// Probability ε in [0, 0.5) that a label is flipped.
    pub label_smoothing: f64,
}

impl PairLoss for Cdpo {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let x = T::from_f64(self.beta) * pair.margin();
        T::from_f64(1.0 - self.label_smoothing) * (-x).softplus() + T::from_f64(self.label_smoothing) * x.softplus()
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let beta = T::from_f64(self.beta);
        let x = beta * pair.margin();
        let (kept, flipped) = (T::from_f64(1.0 - self.label_smoothing), T::from_f64(self.label_smoothing));
        let slope = beta * (flipped * x.sigmoid() - kept * (-x).sigmoid());
        (slope, -slope)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        std::f64::consts::LN_2
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let x = inputs.margins(self.beta);
        x.log_sigmoid().scale(self.label_smoothing - 1.0).sub(&x.neg().log_sigmoid().scale(self.label_smoothing))
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        vec![Dialect::with("the label smoothing is ignored: this is dpo", Hyperparameters { label_smoothing: 0.0, ..*hyper })]
    }
}

impl PreferenceLoss for Cdpo {
    const NAME: &'static str = "cdpo";
    const ALIASES: &'static [&'static str] = &["conservative"];
    const USES: &'static [Setting] = &[Setting::Beta, Setting::LabelSmoothing];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, label_smoothing: hyper.label_smoothing }
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        pair_sample(Cdpo { beta: 0.1, label_smoothing: 0.1 }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1, label_smoothing: 0.1 }, PAIRS, "ε = 0.1, β = 0.1")
    }
}
