//! Token-level DPO, second form (Zeng et al. 2024): TDPO1 with α times the divergences, of which only K_l has a gradient.
//!
//! value     L = −ln σ(x), x = β[(a + α sg(K_w)) − (r + αK_l)], K(y) = Σ_t KL(π(·|y_<t) ‖ p(·|y_<t))
//! gradient  ∂L/∂l_w = −β σ(−x), ∂L/∂K_w = 0, ∂L/∂l_l = +β σ(−x), ∂L/∂K_l = +αβ σ(−x)
//!
//! K_w and K_l are the sums over the positions t of the chosen and of the rejected completion. π is the reference, p the policy, and
//! sg stops the gradient.
#![doc = include_str!("tdpo2.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::dpo::Dpo;
use super::pair::as_one_op;
use super::samples::prelude::*;
use super::token_samples::{Divergences, of_tokens};

/// dpo of l_w + αK_w and l_l + αK_l, where K_w is a constant; ln 2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tdpo2 {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// α ≥ 0: the weight of the divergences.
    pub divergence_weight: f64,
}

impl Tdpo2 {
    fn of_shifted(self) -> Dpo {
        Dpo { beta: self.beta }
    }

    fn shifted<B: Backend>(self, inputs: &PairInputs<B>) -> PairInputs<B> {
        inputs.with_divergences_added(self.divergence_weight, true)
    }
}

impl PairLoss for Tdpo2 {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        self.of_shifted().value(pair.with_divergences_added(self.divergence_weight))
    }
    /// The slopes in l_w and l_l with the divergences held.
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        self.of_shifted().gradient(pair.with_divergences_added(self.divergence_weight))
    }
    fn at_start(self, pair: &Pair<f64>) -> f64 {
        self.of_shifted().at_start(pair)
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        self.of_shifted().twin(&self.shifted(inputs))
    }
    /// One op of the shifted log-probabilities. The additions before it carry the gradient to K_l.
    fn evaluate<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        as_one_op(self, &self.shifted(inputs))
    }
    fn complement_slope(self) -> f64 {
        self.of_shifted().complement_slope()
    }
}

impl PreferenceLoss for Tdpo2 {
    const NAME: &'static str = "tdpo2";
    const USES: &'static [Setting] = &[Setting::Beta, Setting::DivergenceWeight];
    const HAS_POLICY_CONSTANTS: bool = true;
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, divergence_weight: hyper.divergence_weight }
    }
    fn needs(&self) -> &'static [Need] {
        &[Need::Reference, Need::Divergences]
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        let divergences = Divergences::any(draw, &domain, true);
        of_tokens(Self { beta: 0.1, divergence_weight: 0.5 }, domain).with_divergences(divergences).sample()
    }
    fn example() -> Example {
        let divergences = Divergences { values: [vec![0.5, 1.0], vec![1.5, 0.25]], is_chosen_constant: true };
        of_tokens(Self { beta: 0.1, divergence_weight: 0.5 }, Domain::of_example(PAIRS))
            .with_divergences(divergences)
            .example("β = 0.1, α = 0.5")
    }
}
