//! DPO with a price on length (Park et al. 2024, "Disentangling Length from Quality in Direct Preference Optimization").
//!
//! value     L = −ln σ(x), x = β(a − r) + α(n_w − n_l)
//! gradient  ∂L/∂l_w = −β σ(−x), ∂L/∂l_l = +β σ(−x)
//!
//! The sign is plus: a pair whose chosen completion is the longer one counts less, because its length explains part of the preference.
#![doc = include_str!("r_dpo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// −ln σ(β(a − r) + α(n_w − n_l)); ln(1 + e^{α(n_l − n_w)}) at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RDpo {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// The price α ≥ 0 of a token, in units of the reward.
    pub length_penalty: f64,
}

impl RDpo {
    /// x.
    fn margin<T: Scalar>(self, pair: &Pair<T>) -> T {
        let (n_w, n_l) = pair.lengths;
        T::from_f64(self.beta) * pair.margin() + T::from_f64(self.length_penalty) * (n_w - n_l)
    }
}

impl PairLoss for RDpo {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        (-self.margin(&pair)).softplus()
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let slope = T::from_f64(self.beta) * (-self.margin(&pair)).sigmoid();
        (-slope, slope)
    }
    fn at_start(self, pair: &Pair<f64>) -> f64 {
        let (n_w, n_l) = pair.lengths;
        (self.length_penalty * (n_l - n_w)).softplus()
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let x = inputs.margins(self.beta);
        let x = match inputs.lengths() {
            Some((n_w, n_l)) => x.add(&inputs.counts(n_w).sub(&inputs.counts(n_l)).scale(self.length_penalty)),
            None => x,
        };
        x.log_sigmoid().neg()
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        let alpha = hyper.length_penalty;
        vec![
            Dialect::with(
                "the difference of the lengths is n_l − n_w instead of n_w − n_l",
                Hyperparameters { length_penalty: -alpha, ..*hyper },
            ),
            Dialect::with("the lengths are ignored: this is dpo", Hyperparameters { length_penalty: 0.0, ..*hyper }),
            Dialect::with(
                "the difference of the lengths is multiplied by β",
                Hyperparameters { length_penalty: hyper.beta * alpha, ..*hyper },
            ),
        ]
    }
}

impl PreferenceLoss for RDpo {
    const NAME: &'static str = "r-dpo";
    const NOTE: Option<&'static str> =
        Some("r-dpo adds α(n_w − n_l), as its derivation gives; tables of other papers subtract it: a negative --length-penalty");
    const USES: &'static [Setting] = &[Setting::Beta, Setting::LengthPenalty];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, length_penalty: hyper.length_penalty }
    }
    fn needs(&self) -> &'static [Need] {
        &[Need::Reference, Need::Lengths]
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        pair_sample(RDpo { beta: 0.1, length_penalty: 0.01 }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1, length_penalty: 0.01 }, PAIRS, "α = 0.01, β = 0.1")
    }
}
