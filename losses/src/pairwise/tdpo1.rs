//! Token-level DPO, first form (Zeng et al. 2024): DPO of log-probabilities to which the divergences along the completions are added.
//!
//! value     L = −ln σ(x), x = β[(a + K_w) − (r + K_l)], K(y) = Σ_t KL(π(·|y_<t) ‖ p(·|y_<t))
//! gradient  ∂L/∂l_w = ∂L/∂K_w = −β σ(−x), ∂L/∂l_l = ∂L/∂K_l = +β σ(−x)
//!
//! K_w and K_l are the sums over the positions t of the chosen and of the rejected completion. π is the reference, p the policy.
#![doc = include_str!("tdpo1.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::dpo::Dpo;
use super::pair::as_one_op;
use super::samples::prelude::*;
use super::token_samples::{Divergences, of_tokens};

/// dpo of l_w + K_w and l_l + K_l; ln 2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tdpo1 {
    /// Inverse temperature β > 0.
    pub beta: f64,
}

impl Tdpo1 {
    fn of_shifted(self) -> Dpo {
        Dpo { beta: self.beta }
    }

    fn shifted<B: Backend>(self, inputs: &PairInputs<B>) -> PairInputs<B> {
        inputs.with_divergences_added(1.0, false)
    }
}

impl PairLoss for Tdpo1 {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        self.of_shifted().value(pair.with_divergences_added(1.0))
    }
    /// The slopes in l_w and l_l with the divergences held.
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        self.of_shifted().gradient(pair.with_divergences_added(1.0))
    }
    fn at_start(self, pair: &Pair<f64>) -> f64 {
        self.of_shifted().at_start(pair)
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        self.of_shifted().twin(&self.shifted(inputs))
    }
    /// One op of the shifted log-probabilities. The additions before it carry the gradient to the divergences.
    fn evaluate<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        as_one_op(self, &self.shifted(inputs))
    }
    fn complement_slope(self) -> f64 {
        self.of_shifted().complement_slope()
    }
}

impl PreferenceLoss for Tdpo1 {
    const NAME: &'static str = "tdpo1";
    const USES: &'static [Setting] = &[Setting::Beta];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta }
    }
    fn needs(&self) -> &'static [Need] {
        &[Need::Reference, Need::Divergences]
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        let divergences = Divergences::any(draw, &domain, false);
        of_tokens(Self { beta: 0.1 }, domain).with_divergences(divergences).sample()
    }
    fn example() -> Example {
        let divergences = Divergences { values: [vec![0.5, 1.0], vec![1.5, 0.25]], is_chosen_constant: false };
        of_tokens(Self { beta: 0.1 }, Domain::of_example(PAIRS)).with_divergences(divergences).example("β = 0.1")
    }
}
