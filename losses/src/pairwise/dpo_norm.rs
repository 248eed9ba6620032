//! Length-normalised direct preference optimisation, with a reference (Lambert et al. 2024, "Tülu 3").
//!
//! value     L = −ln σ(x), x = β(a/n_w − r/n_l)
//! gradient  ∂L/∂l_w = −β σ(−x)/n_w, ∂L/∂l_l = +β σ(−x)/n_l
#![doc = include_str!("dpo_norm.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// −ln σ(β(a/n_w − r/n_l)); ln 2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpoNorm {
    /// Inverse temperature β > 0, in units of a token's log-ratio.
    pub beta: f64,
}

impl DpoNorm {
    /// x = β(a/n_w − r/n_l).
    fn scaled_margin<T: Scalar>(self, pair: &Pair<T>) -> T {
        T::from_f64(self.beta) * pair.margin_of_means()
    }
}

impl PairLoss for DpoNorm {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        (-self.scaled_margin(&pair)).softplus()
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let (n_w, n_l) = pair.lengths;
        let slope = T::from_f64(self.beta) * (-self.scaled_margin(&pair)).sigmoid();
        (-slope / n_w, slope / n_l)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        std::f64::consts::LN_2
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (a, r) = inputs.log_ratios();
        let (a, r) = inputs.per_token(a, r);
        a.sub(&r).scale(self.beta).log_sigmoid().neg()
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
}

impl PreferenceLoss for DpoNorm {
    const NAME: &'static str = "dpo-norm";
    const ALIASES: &'static [&'static str] = &["sigmoid-norm"];
    const USES: &'static [Setting] = &[Setting::Beta];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta }
    }
    fn needs(&self) -> &'static [Need] {
        &[Need::Reference, Need::Lengths]
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        let beta = if draw.coin() { 0.1 } else { 5.0 };
        pair_sample(DpoNorm { beta }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 5.0 }, PAIRS, "β = 5")
    }
}
