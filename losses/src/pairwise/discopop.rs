//! The loss that a language model's search for losses discovered, also called log-ratio modulated loss (Lu et al. 2024).
//!
//! value     L = −(1 − m) ln σ(x) + m e^{−x}, m = σ(x/τ), x = β(a − r)
//! gradient  ∂L/∂l_w = β{−(1 − m) σ(−x) − m e^{−x} + m(1 − m)[e^{−x} + ln σ(x)]/τ}, ∂L/∂l_l = −∂L/∂l_w
//!
//! m e^{−x} is formed as exp(ln m − x): where τ < 1 it vanishes as x falls, although e^{−x} overflows.
#![doc = include_str!("discopop.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// −(1 − m) ln σ(x) + m e^{−x}, m = σ(x/τ); (1 + ln 2)/2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Discopop {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// Temperature τ > 0 of the choice between the two losses.
    pub temperature_tau: f64,
}

/// The two losses of one margin, and the weights of the choice between them.
struct Parts<T> {
    /// m = σ(x/τ).
    exponential: T,
    /// 1 − m = σ(−x/τ).
    logistic: T,
    /// −ln σ(x).
    logistic_loss: T,
    /// m e^{−x} = exp(ln σ(x/τ) − x).
    exponential_loss: T,
}

impl<T: Scalar> Parts<T> {
    fn at(x: T, tau: f64) -> Self {
        let u = x / T::from_f64(tau);
        Self {
            exponential: u.sigmoid(),
            logistic: (-u).sigmoid(),
            logistic_loss: (-x).softplus(),
            exponential_loss: (-x - (-u).softplus()).exp(),
        }
    }
}

impl PairLoss for Discopop {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let parts = Parts::at(T::from_f64(self.beta) * pair.margin(), self.temperature_tau);
        parts.logistic * parts.logistic_loss + parts.exponential_loss
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let beta = T::from_f64(self.beta);
        let x = beta * pair.margin();
        let parts = Parts::at(x, self.temperature_tau);
        let of_choice = parts.logistic * (parts.exponential_loss - parts.exponential * parts.logistic_loss);
        let of_losses = parts.logistic * (-x).sigmoid() + parts.exponential_loss;
        let slope = beta * (of_choice / T::from_f64(self.temperature_tau) - of_losses);
        (slope, -slope)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        0.5 * (1.0 + std::f64::consts::LN_2)
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let x = inputs.margins(self.beta);
        let u = x.scale(1.0 / self.temperature_tau);
        let logistic = u.neg().log_sigmoid().exp().mul(&x.log_sigmoid());
        u.log_sigmoid().sub(&x).exp().sub(&logistic)
    }
    /// 1 − m is multiplied by [e^{−x} + ln σ(x)]/τ, which is at most (1 − ln 2)/τ where m is near 1.
    fn complement_slope(self) -> f64 {
        self.beta * (1.0 + (1.0 - std::f64::consts::LN_2) / self.temperature_tau)
    }
    /// s·e^{−x} as 0·∞, below x = −89.
    fn breakdown(self, pair: &Pair<f64>) -> Option<&'static str> {
        let x = (self.beta * pair.margin()) as f32;
        let weight = 1.0 / (1.0 + (-x / self.temperature_tau as f32).exp());
        let product = weight * (-x).exp();
        (!product.is_finite()).then_some("m·e^{−x} is formed as a product, 0·∞ in f32 where x is below −89: form it as exp(ln m − x)")
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        let tempered = |temperature_tau| Hyperparameters { temperature_tau, ..*hyper };
        vec![
            Dialect::with("the temperature τ is ignored (as if τ = 1)", tempered(1.0)),
            Dialect::with("the choice is made on the margin without β: σ((a − r)/τ)", tempered(hyper.temperature_tau / hyper.beta)),
            Dialect::with("the choice is made on the margin itself: σ(a − r), without β and τ", tempered(hyper.beta)),
        ]
    }
}

impl PreferenceLoss for Discopop {
    const NAME: &'static str = "discopop";
    const ALIASES: &'static [&'static str] = &["lrml"];
    const USES: &'static [Setting] = &[Setting::Beta, Setting::TemperatureTau];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, temperature_tau: hyper.temperature_tau }
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        let temperature_tau = if draw.coin() { 0.05 } else { draw.uniform(&[], 0.05, 1.0).data[0] };
        pair_sample(Discopop { beta: 0.1, temperature_tau }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1, temperature_tau: 0.05 }, PAIRS, "τ = 0.05, β = 0.1")
    }
}
