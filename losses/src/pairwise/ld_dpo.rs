//! Length-desensitised DPO (Liu et al. 2024): tokens past the length of the pair's shorter completion count α times.
//!
//! value     L = −ln σ(x), x = β(a − r), each log-probability Σ over t ≤ n of ln p_t + α Σ over t > n of ln p_t, n = min(n_w, n_l)
//! gradient  ∂L/∂ln p_t = ∓β σ(−x) for t ≤ n, ∓αβ σ(−x) for t > n; − for chosen tokens
//!
//! The sum over t > n is called the tail. With `--tail-of policy` the reference's tail counts in full.
#![doc = include_str!("ld_dpo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::pair::as_one_op;
use super::samples::prelude::*;
use super::token_samples::{Tails, of_tokens};
use crate::hyperparameters::TailOf;
use std::f64::consts::LN_2;

/// dpo of log-probabilities whose tails count α times; ln 2 at the start where the reference's tails do too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LdDpo {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// α from 0 to 1: the weight of the tails.
    pub tail_weight: f64,
    /// The models whose tails have that weight.
    pub tail_of: TailOf,
}

impl LdDpo {
    /// x.
    fn scaled_margin<T: Scalar>(self, pair: &Pair<T>) -> T {
        let taken_off = T::from_f64(1.0 - self.tail_weight);
        let [chosen, rejected, reference_chosen, reference_rejected] = pair.tails.map(|tail| taken_off * tail);
        let of_policy = chosen - rejected;
        let of_reference = reference_chosen - reference_rejected;
        let tails = if self.is_of_both() { of_policy - of_reference } else { of_policy };
        T::from_f64(self.beta) * (pair.margin() - tails)
    }

    fn is_of_both(self) -> bool {
        self.tail_of == TailOf::Both
    }

    fn weighted<B: Backend>(self, inputs: &PairInputs<B>) -> PairInputs<B> {
        inputs.with_tails_weighted(self.tail_weight, self.is_of_both())
    }
}

impl PairLoss for LdDpo {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        (-self.scaled_margin(&pair)).softplus()
    }
    /// The slopes in l_w and l_l with the tails held: those in the first n tokens.
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let slope = T::from_f64(self.beta) * (-self.scaled_margin(&pair)).sigmoid();
        (-slope, slope)
    }
    fn at_start(self, pair: &Pair<f64>) -> f64 {
        let [chosen, rejected, ..] = pair.tails;
        let x = self.beta * (self.tail_weight - 1.0) * (chosen - rejected);
        if self.is_of_both() { LN_2 } else { (-x).softplus() }
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        self.weighted(inputs).margins(self.beta).log_sigmoid().neg()
    }
    /// One op of the weighted log-probabilities. The subtractions before it carry the gradient to the tails.
    fn evaluate<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        as_one_op(self, &self.weighted(inputs))
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
}

impl PreferenceLoss for LdDpo {
    const NAME: &'static str = "ld-dpo";
    const USES: &'static [Setting] = &[Setting::Beta, Setting::TailWeight, Setting::TailOf];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, tail_weight: hyper.tail_weight, tail_of: hyper.tail_of }
    }
    fn needs(&self) -> &'static [Need] {
        match self.tail_of {
            TailOf::Both => &[Need::Reference, Need::Tails, Need::ReferenceTails],
            TailOf::Policy => &[Need::Reference, Need::Tails],
        }
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        let (tails, tail_of) = (Tails::any(draw, &domain), if draw.coin() { TailOf::Both } else { TailOf::Policy });
        of_tokens(Self { beta: 0.1, tail_weight: 0.5, tail_of }, domain).with_tails(tails).sample()
    }
    fn example() -> Example {
        let loss = Self { beta: 0.1, tail_weight: 0.5, tail_of: TailOf::Both };
        let tails = Tails([[0.0, -3.0], [-4.5, 0.0], [0.0, -3.5], [-5.0, 0.0]].map(Vec::from));
        of_tokens(loss, Domain::of_example(PAIRS)).with_tails(tails).example("β = 0.1, α = 0.5")
    }
}
