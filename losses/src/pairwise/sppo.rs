//! Self-play preference optimisation (Wu et al. 2024).
//!
//! value     L = (a − t)² + (r + t)², t = (P − ½)/β
//! gradient  ∂L/∂l_w = 2(a − t), ∂L/∂l_l = 2(r + t)
//!
//! P is the probability that the chosen completion wins; 1 is the hard form.
#![doc = include_str!("sppo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// (a − t)² + (r + t)², t = (P − ½)/β; 2t² at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sppo {
    /// Regularisation β > 0 (the paper's 1/η).
    pub beta: f64,
    /// Probability P in [0, 1] that the chosen completion wins.
    pub win_probability: f64,
}

impl Sppo {
    /// t = (P − ½)/β.
    fn target(self) -> f64 {
        (self.win_probability - 0.5) / self.beta
    }
    /// (a − t, r + t).
    fn deviations<T: Scalar>(self, pair: &Pair<T>) -> (T, T) {
        let target = T::from_f64(self.target());
        (pair.chosen_log_ratio() - target, pair.rejected_log_ratio() + target)
    }
}

impl PairLoss for Sppo {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let (chosen, rejected) = self.deviations(&pair);
        chosen * chosen + rejected * rejected
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let (chosen, rejected) = self.deviations(&pair);
        let two = T::from_f64(2.0);
        (two * chosen, two * rejected)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        2.0 * self.target() * self.target()
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (a, r) = inputs.log_ratios();
        let target = |p: f64| Tensor::full(a.backend(), (p - 0.5) / self.beta, &[]);
        let (chosen, rejected) = (a.sub(&target(self.win_probability)), r.sub(&target(1.0 - self.win_probability)));
        chosen.mul(&chosen).add(&rejected.mul(&rejected))
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        vec![
            Dialect::with(
                "the probability of winning is ignored: it is the hard form, P = 1",
                Hyperparameters { win_probability: 1.0, ..*hyper },
            ),
            Dialect::with(
                "the probability of winning is the rejected completion's: 1 − P instead of P",
                Hyperparameters { win_probability: 1.0 - hyper.win_probability, ..*hyper },
            ),
            Dialect::with(
                "the targets of sppo are ±2(P − ½)/β instead of ±(P − ½)/β",
                Hyperparameters { beta: hyper.beta / 2.0, ..*hyper },
            ),
        ]
    }
}

impl PreferenceLoss for Sppo {
    const NAME: &'static str = "sppo";
    const ALIASES: &'static [&'static str] = &["sppo-hard"];
    const USES: &'static [Setting] = &[Setting::Beta, Setting::WinProbability];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, win_probability: hyper.win_probability }
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        let win_probability = if draw.coin() { 1.0 } else { draw.uniform(&[], 0.0, 1.0).data[0] };
        pair_sample(Sppo { beta: 0.1, win_probability }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1, win_probability: 0.75 }, PAIRS, "P = 0.75, β = 0.1")
    }
}
