//! Robust DPO: unbiased where a share ε of the labels is flipped (Chowdhury et al. 2024, eq. 12).
//!
//! value     L = [−(1 − ε) ln σ(x) + ε ln σ(−x)]/(1 − 2ε), x = β(a − r)
//! gradient  ∂L/∂l_w = −β[(1 − ε) σ(−x) + ε σ(x)]/(1 − 2ε), ∂L/∂l_l = −∂L/∂l_w; nowhere zero
#![doc = include_str!("robust.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// [−(1 − ε) ln σ(x) + ε ln σ(−x)]/(1 − 2ε); ln 2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Robust {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// Share ε in [0, 0.5) of flipped labels.
    pub label_smoothing: f64,
}

impl Robust {
    /// ((1 − ε)/(1 − 2ε), ε/(1 − 2ε)).
    fn factors(self) -> (f64, f64) {
        let epsilon = self.label_smoothing;
        ((1.0 - epsilon) / (1.0 - 2.0 * epsilon), epsilon / (1.0 - 2.0 * epsilon))
    }
}

impl PairLoss for Robust {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let x = T::from_f64(self.beta) * pair.margin();
        let (kept, flipped) = self.factors();
        T::from_f64(kept) * (-x).softplus() - T::from_f64(flipped) * x.softplus()
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let beta = T::from_f64(self.beta);
        let x = beta * pair.margin();
        let (kept, flipped) = self.factors();
        let slope = beta * (T::from_f64(kept) * (-x).sigmoid() + T::from_f64(flipped) * x.sigmoid());
        (-slope, slope)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        std::f64::consts::LN_2
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let x = inputs.margins(self.beta);
        let (kept, flipped) = self.factors();
        x.neg().log_sigmoid().scale(flipped).sub(&x.log_sigmoid().scale(kept))
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        let undivided = 1.0 - 2.0 * hyper.label_smoothing;
        vec![
            Dialect::with("the label smoothing is ignored: this is dpo", Hyperparameters { label_smoothing: 0.0, ..*hyper }),
            Dialect::scaled("the division by 1 − 2ε is missing", undivided),
        ]
    }
}

impl PreferenceLoss for Robust {
    const NAME: &'static str = "robust";
    const USES: &'static [Setting] = &[Setting::Beta, Setting::LabelSmoothing];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, label_smoothing: hyper.label_smoothing }
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        pair_sample(Robust { beta: 0.1, label_smoothing: 0.1 }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1, label_smoothing: 0.1 }, PAIRS, "ε = 0.1, β = 0.1")
    }
}
