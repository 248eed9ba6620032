//! DPO-positive: a penalty inside DPO's sigmoid keeps the chosen completion from falling (Pal et al. 2024, "Smaug").
//!
//! value     L = −ln σ(z), z = β[a − r − λ max(0, −a)]
//! gradient  ∂L/∂l_w = −β σ(−z)(1 + λ) where a < 0, else −β σ(−z); ∂L/∂l_l = β σ(−z). At a = 0 the subgradient without λ is taken.
#![doc = include_str!("dpop.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// −ln σ(β[a − r − λ max(0, −a)]); ln 2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dpop {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// Weight λ ≥ 0 of the penalty.
    pub penalty: f64,
}

impl Dpop {
    /// z = β[a − r − λ max(0, −a)].
    fn scaled_margin<T: Scalar>(self, pair: &Pair<T>) -> T {
        let a = pair.chosen_log_ratio();
        let fall = T::select(a.is_below(T::zero()), -a, T::zero());
        T::from_f64(self.beta) * (pair.margin() - T::from_f64(self.penalty) * fall)
    }
}

impl PairLoss for Dpop {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        (-self.scaled_margin(&pair)).softplus()
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let has_fallen = pair.chosen_log_ratio().is_below(T::zero());
        let weight = T::select(has_fallen, T::from_f64(1.0 + self.penalty), T::one());
        let slope = T::from_f64(self.beta) * (-self.scaled_margin(&pair)).sigmoid();
        (-slope * weight, slope)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        std::f64::consts::LN_2
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (a, r) = inputs.log_ratios();
        let penalty = a.neg().relu().scale(self.penalty);
        a.sub(&r).sub(&penalty).scale(self.beta).log_sigmoid().neg()
    }
    /// At a = 0, where a policy starts, the slope jumps by βλ σ(−z).
    fn kink(self, pair: &Pair<f64>) -> Option<Kink> {
        let distance = pair.chosen_log_ratio().abs();
        let jump = self.beta * self.penalty * (-self.scaled_margin(pair)).sigmoid();
        Some(Kink { distance, size: pair.chosen.abs() + pair.reference_chosen.abs(), jump })
    }
    fn complement_slope(self) -> f64 {
        self.beta * (1.0 + self.penalty)
    }
    fn dialects(_: &Hyperparameters) -> Vec<Dialect> {
        vec![Dialect::formula("the penalty is outside the sigmoid, without β: −ln σ(x) + λ max(0, −a)", penalty_outside)]
    }
}

/// −ln σ(β(a − r)) + λ max(0, −a).
fn penalty_outside<T: Scalar>(hyper: &Hyperparameters, pair: Pair<T>) -> T {
    let a = pair.chosen_log_ratio();
    let fall = T::select(a.is_below(T::zero()), -a, T::zero());
    (-(T::from_f64(hyper.beta) * pair.margin())).softplus() + T::from_f64(hyper.penalty) * fall
}

impl PreferenceLoss for Dpop {
    const NAME: &'static str = "dpop";
    const ALIASES: &'static [&'static str] = &["dpo-positive"];
    const NOTE: Option<&'static str> =
        Some("dpop has its penalty inside the sigmoid, as its paper has it; another trainer's dpop adds it outside, without β");
    const USES: &'static [Setting] = &[Setting::Beta, Setting::Penalty];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, penalty: hyper.penalty }
    }
    /// Chosen log-ratios on either side of the kink at 0, and away from it by more than a finite difference reaches.
    fn sample(draw: &mut Draw) -> Sample {
        let mut domain = log_probabilities(draw);
        for (chosen, reference) in domain.chosen.iter().zip(&mut domain.reference_chosen) {
            let a = chosen - *reference;
            *reference = chosen - (a + 0.2_f64.copysign(a));
        }
        pair_sample(Dpop { beta: 0.1, penalty: 50.0 }, domain.rounded())
    }
    fn example() -> Example {
        let numbers = [[-11.0, -7.75], [-13.5, -6.0], [-12.0, -7.5], [-13.0, -8.0]];
        let example = pair_example(Self { beta: 0.1, penalty: 50.0 }, numbers, "λ = 50, β = 0.1");
        let given = format!("{}; the second pair's chosen completion is below the reference", example.given);
        example.given(given)
    }
}
