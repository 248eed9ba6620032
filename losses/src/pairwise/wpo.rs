//! Weighted preference optimisation (Zhou et al. 2024): DPO in which a pair counts the more, the likelier the policy is to write it.
//!
//! value     L = −W ln σ(x), x = β(a − r), W = W_w W_l, W(y) = exp(mean over t of ln p(y_t) − ln Σ_v p(v)²)
//! gradient  ∂L/∂l_w = −βW σ(−x), ∂L/∂l_l = +βW σ(−x): W is a constant
//!
//! W(y) follows from the policy's probabilities of all tokens v at every position t of the completion.
#![doc = include_str!("wpo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::dialect::Second;
use super::dpo::Dpo;
use super::pair::as_one_op;
use super::samples::prelude::*;
use super::token_samples::{of_tokens, weights};
use std::f64::consts::LN_2;

/// dpo times the weight of the pair; W ln 2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wpo {
    /// Inverse temperature β > 0.
    pub beta: f64,
}

impl Wpo {
    fn unweighted(self) -> Dpo {
        Dpo { beta: self.beta }
    }
}

impl PairLoss for Wpo {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        pair.weight * self.unweighted().value(pair)
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let (chosen, rejected) = self.unweighted().gradient(pair);
        (pair.weight * chosen, pair.weight * rejected)
    }
    fn at_start(self, pair: &Pair<f64>) -> f64 {
        pair.weight * LN_2
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        inputs.weighted(self.unweighted().twin(inputs))
    }
    /// DPO's op, and a product with constants.
    fn evaluate<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        inputs.weighted(as_one_op(self, inputs))
    }
    fn dialects(_: &Hyperparameters) -> Vec<Dialect> {
        vec![Dialect::formula(
            "the weights are not detached: the gradient flows through the completions' log-probabilities in W too",
            not_detached,
        )]
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
}

/// The loss with a weight that changes as e^{l_w/n_w + l_l/n_l}. Σ_v p(v)² stays a constant.
fn not_detached(hyper: &Hyperparameters, pair: Pair<Second>) -> Second {
    let change = |x: Second, length: Second| (x - Second::new(x.real, Default::default())) / length;
    let exponent = change(pair.chosen, pair.lengths.0) + change(pair.rejected, pair.lengths.1);
    exponent.exp() * Wpo::of(hyper).value(pair)
}

impl PreferenceLoss for Wpo {
    const NAME: &'static str = "wpo";
    const USES: &'static [Setting] = &[Setting::Beta];
    const HAS_POLICY_CONSTANTS: bool = true;
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta }
    }
    fn needs(&self) -> &'static [Need] {
        &[Need::Reference, Need::PairWeights]
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        let weights = weights(draw, &domain);
        of_tokens(Self { beta: 0.1 }, domain).with_weights(weights).sample()
    }
    fn example() -> Example {
        of_tokens(Self { beta: 0.1 }, Domain::of_example(PAIRS)).with_weights(vec![0.75, 0.25]).example("β = 0.1")
    }
}
