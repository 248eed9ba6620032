//! Identity preference optimisation (Azar et al. 2023, eq. 17), with sums over the tokens, as the paper has it.
//!
//! value     L = d², d = a − r − 1/(2β)
//! gradient  ∂L/∂l_w = 2d, ∂L/∂l_l = −2d
//!
//! β is the paper's τ, in units of a sequence's margin. Other trainers compute `ipo`, with means over the tokens.
#![doc = include_str!("ipo_sum.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// (a − r − 1/(2β))²; 1/(4β²) at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IpoSum {
    /// Regularisation β > 0 (the paper's τ).
    pub beta: f64,
}

impl IpoSum {
    fn deviation<T: Scalar>(self, pair: &Pair<T>) -> T {
        pair.margin() - T::from_f64(0.5 / self.beta)
    }
}

impl PairLoss for IpoSum {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let d = self.deviation(&pair);
        d * d
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let slope = T::from_f64(2.0) * self.deviation(&pair);
        (slope, -slope)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        1.0 / (4.0 * self.beta * self.beta)
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (a, r) = inputs.log_ratios();
        let d = a.sub(&r).sub(&Tensor::full(r.backend(), 0.5 / self.beta, &[]));
        d.mul(&d)
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        vec![
            Dialect::with("the target of ipo-sum is 1/β instead of 1/(2β)", Hyperparameters { beta: hyper.beta / 2.0, ..*hyper }),
            Dialect::with("the target of ipo-sum is 1/(4β) instead of 1/(2β)", Hyperparameters { beta: hyper.beta * 2.0, ..*hyper }),
        ]
    }
}

impl PreferenceLoss for IpoSum {
    const NAME: &'static str = "ipo-sum";
    const USES: &'static [Setting] = &[Setting::Beta];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta }
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        pair_sample(IpoSum { beta: 0.1 }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1 }, PAIRS, "β = 0.1")
    }
}
