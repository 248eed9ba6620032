//! Balanced preference optimisation: only the worse of the two rewards counts (Sun et al. 2025, "BPO: Revisiting Preference Modeling in
//! Direct Preference Optimization").
//!
//! value     L = −ln σ(x), x = min(βa, −αβr)
//! gradient  ∂L/∂l_w = −βσ(−x) where a < −αr, else 0; ∂L/∂l_l = αβσ(−x) where a > −αr, else 0
//!
//! At a = −αr each side gets half of its slope. The start is such a place, so the first step moves both.
#![doc = include_str!("bpo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// −ln σ(min(βa, −αβr)); ln 2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bpo {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// The balance α in (0, 1]: how much a fall of the rejected completion counts.
    pub balance: f64,
}

impl Bpo {
    /// (βa, −αβr).
    fn rewards<T: Scalar>(self, pair: &Pair<T>) -> (T, T) {
        (T::from_f64(self.beta) * pair.chosen_log_ratio(), T::from_f64(-self.balance * self.beta) * pair.rejected_log_ratio())
    }
    /// x, and the chosen completion's share of its slope. A tie is the mean of the two, so that its slope is too.
    fn least<T: Scalar>(self, pair: &Pair<T>) -> (T, T) {
        let (chosen, rejected) = self.rewards(pair);
        let (is_less, is_greater) = (chosen.is_below(rejected), rejected.is_below(chosen));
        let of = |less: T, greater: T, tied: T| T::select(is_less, less, T::select(is_greater, greater, tied));
        let half = T::from_f64(0.5);
        (of(chosen, rejected, half * (chosen + rejected)), of(T::one(), T::zero(), half))
    }
}

impl PairLoss for Bpo {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        (-self.least(&pair).0).softplus()
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let (x, share) = self.least(&pair);
        let slope = T::from_f64(self.beta) * (-x).sigmoid();
        (-share * slope, (T::one() - share) * T::from_f64(self.balance) * slope)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        std::f64::consts::LN_2
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (a, r) = inputs.log_ratios();
        let column = |x: Tensor<B>| x.reshape(&[x.len(), 1]);
        let negated = Tensor::concat(&[&column(a.scale(-self.beta)), &column(r.scale(self.balance * self.beta))], 1);
        negated.max(1).softplus()
    }
    fn kink(self, pair: &Pair<f64>) -> Option<Kink> {
        let (chosen, rejected) = self.rewards(pair);
        let slope = self.beta * (-self.least(pair).0).sigmoid();
        Some(Kink { distance: (chosen - rejected).abs(), size: self.beta * pair.size(), jump: slope })
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        vec![Dialect::with("the balance α is ignored (as if it were 1)", Hyperparameters { balance: 1.0, ..*hyper })]
    }
}

impl PreferenceLoss for Bpo {
    const NAME: &'static str = "bpo";
    const USES: &'static [Setting] = &[Setting::Beta, Setting::Balance];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, balance: hyper.balance }
    }
    /// Away from the kink at a = −αr by more than a finite difference reaches.
    fn sample(draw: &mut Draw) -> Sample {
        let balance = if draw.coin() { 1.0 } else { 0.5 };
        let mut domain = log_probabilities(draw);
        for i in 0..domain.len() {
            let a = domain.chosen[i] - domain.reference_chosen[i];
            let r = domain.rejected[i] - domain.reference_rejected[i];
            if (a + balance * r).abs() < 1.0 {
                domain.reference_chosen[i] -= 2.0;
            }
        }
        pair_sample(Bpo { beta: 0.1, balance }, domain.rounded())
    }
    /// A chosen completion that has fallen, and a rejected one that has risen.
    fn example() -> Example {
        let numbers = [[-12.5, -7.0], [-13.5, -6.0], [-12.0, -7.5], [-13.0, -8.0]];
        pair_example(Self { beta: 0.1, balance: 1.0 }, numbers, "α = 1, β = 0.1")
    }
}
