//! Identity preference optimisation (Azar et al. 2023, eq. 17), with sums or with means over the tokens.
//!
//! value     L = (a/n_w − r/n_l − 1/(2β))², with n = 1 in the sum form and the numbers of tokens in the mean form
//! gradient  ∂L/∂l_w = 2d/n_w, ∂L/∂l_l = −2d/n_l, d the bracket
//!
//! β is the paper's τ. The two forms have different units of β: one fits margins of sequences, the other of tokens.
#![doc = include_str!("ipo.md")]
#![cfg_attr(doc, doc = include_str!("../../../engine/docs/katex.html"))]

use super::samples::prelude::*;

/// (a − r − 1/(2β))², or with a and r divided by the lengths; 1/(4β²) at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ipo {
    /// Regularisation β > 0 (the paper's τ).
    pub beta: f64,
    /// True if the log-ratios are divided by the completions' lengths. Unknown lengths count as 1.
    pub length_normalize: bool,
}

impl Ipo {
    fn divisors<T: Scalar>(self, pair: &Pair<T>) -> (T, T) {
        if self.length_normalize { pair.lengths } else { (T::one(), T::one()) }
    }
    fn deviation<T: Scalar>(self, pair: &Pair<T>) -> T {
        let (n_w, n_l) = self.divisors(pair);
        pair.chosen_log_ratio() / n_w - pair.rejected_log_ratio() / n_l - T::from_f64(0.5 / self.beta)
    }
}

impl PairLoss for Ipo {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let d = self.deviation(&pair);
        d * d
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let (n_w, n_l) = self.divisors(&pair);
        let slope = T::from_f64(2.0) * self.deviation(&pair);
        (slope / n_w, -slope / n_l)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        1.0 / (4.0 * self.beta * self.beta)
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (a, r) = inputs.log_ratios();
        let (a, r) = match inputs.lengths().filter(|_| self.length_normalize) {
            Some((n_w, n_l)) => (a.div(&inputs.counts(n_w)), r.div(&inputs.counts(n_l))),
            None => (a, r),
        };
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
    const USES: &'static [Setting] = &[Setting::Beta, Setting::LengthNormalize];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, length_normalize: hyper.length_normalize }
    }
    fn needs(&self) -> &'static [Need] {
        if self.length_normalize { &[Need::Reference, Need::Lengths] } else { &[Need::Reference] }
    }
    fn sample(draw: &mut Draw) -> Sample {
        let (domain, length_normalize) = (log_probabilities(draw), draw.coin());
        pair_sample(Ipo { beta: 0.1, length_normalize }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1, length_normalize: false }, PAIRS, "the sum form, β = 0.1")
    }
}
