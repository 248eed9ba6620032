//! Identity preference optimisation (Azar et al. 2023, eq. 17), with means over the tokens, as trainers compute it.
//!
//! value     L = d², d = a/n_w − r/n_l − 1/(2β)
//! gradient  ∂L/∂l_w = 2d/n_w, ∂L/∂l_l = −2d/n_l
//!
//! β is the paper's τ, in units of a token's margin. `ipo_sum.rs` has the sums of the paper.
#![doc = include_str!("ipo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// (a/n_w − r/n_l − 1/(2β))²; 1/(4β²) at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ipo {
    /// Regularisation β > 0 (the paper's τ).
    pub beta: f64,
}

impl Ipo {
    fn deviation<T: Scalar>(self, pair: &Pair<T>) -> T {
        pair.margin_of_means() - T::from_f64(0.5 / self.beta)
    }
}

impl PairLoss for Ipo {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let d = self.deviation(&pair);
        d * d
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let (n_w, n_l) = pair.lengths;
        let slope = T::from_f64(2.0) * self.deviation(&pair);
        (slope / n_w, -slope / n_l)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        1.0 / (4.0 * self.beta * self.beta)
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (a, r) = inputs.log_ratios();
        let (a, r) = inputs.per_token(a, r);
        let d = a.sub(&r).sub(&Tensor::full(r.backend(), 0.5 / self.beta, &[]));
        d.mul(&d)
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        vec![
            Dialect::with("the target of ipo is 1/β instead of 1/(2β)", Hyperparameters { beta: hyper.beta / 2.0, ..*hyper }),
            Dialect::with("the target of ipo is 1/(4β) instead of 1/(2β)", Hyperparameters { beta: hyper.beta * 2.0, ..*hyper }),
        ]
    }
}

impl PreferenceLoss for Ipo {
    const NAME: &'static str = "ipo";
    const NOTE: Option<&'static str> =
        Some("ipo is of means over the tokens, as in TRL; the paper's ipo, of sums, is ipo-sum, and the two need different --beta");
    const USES: &'static [Setting] = &[Setting::Beta];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta }
    }
    fn needs(&self) -> &'static [Need] {
        &[Need::Reference, Need::Lengths]
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        pair_sample(Ipo { beta: 0.1 }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1 }, PAIRS, "β = 0.1")
    }
}
