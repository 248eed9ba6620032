//! Calibrated DPO: the log-ratios are compared, and each is also drawn to a value of its own (Xiao et al. 2024, "Cal-DPO").
//!
//! value     L = −ln σ(a − r) + c(u² + v²), u = a − 1/(2β), v = r + 1/(2β)
//! gradient  ∂L/∂l_w = −σ(r − a) + 2cu, ∂L/∂l_l = σ(r − a) + 2cv
//!
//! β stands in the targets ±1/(2β) only, not inside the sigmoid.
#![doc = include_str!("cal_dpo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::dialect::Second;
use super::samples::prelude::*;

/// −ln σ(a − r) + c[(a − 1/(2β))² + (r + 1/(2β))²]; ln 2 + c/(2β²) at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalDpo {
    /// Inverse temperature β > 0: the log-ratios are drawn to ±1/(2β).
    pub beta: f64,
    /// The weight c ≥ 0 of the squares.
    pub calibration: f64,
}

impl CalDpo {
    /// (u, v).
    fn deviations<T: Scalar>(self, pair: &Pair<T>) -> (T, T) {
        let target = T::from_f64(0.5 / self.beta);
        (pair.chosen_log_ratio() - target, pair.rejected_log_ratio() + target)
    }
}

impl PairLoss for CalDpo {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let (u, v) = self.deviations(&pair);
        (-pair.margin()).softplus() + T::from_f64(self.calibration) * (u * u + v * v)
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let (u, v) = self.deviations(&pair);
        let (slope, twice) = ((-pair.margin()).sigmoid(), T::from_f64(2.0 * self.calibration));
        (twice * u - slope, twice * v + slope)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        std::f64::consts::LN_2 + self.calibration / (2.0 * self.beta * self.beta)
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (a, r) = inputs.log_ratios();
        let target = Tensor::full(a.backend(), 0.5 / self.beta, &[]);
        let (u, v) = (a.sub(&target), r.add(&target));
        u.mul(&u).add(&v.mul(&v)).scale(self.calibration).sub(&inputs.margins(1.0).log_sigmoid())
    }
    fn complement_slope(self) -> f64 {
        1.0
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        vec![
            Dialect::formula("the margin inside the sigmoid is multiplied by β", |hyper, pair| {
                let (u, v) = Self::of(hyper).deviations(&pair);
                let margin = Second::from_f64(hyper.beta) * pair.margin();
                (-margin).softplus() + Second::from_f64(hyper.calibration) * (u * u + v * v)
            }),
            Dialect::with("the targets are ±1/β instead of ±1/(2β)", Hyperparameters { beta: hyper.beta / 2.0, ..*hyper }),
            Dialect::with("the squares are not weighted (as if c = 1)", Hyperparameters { calibration: 1.0, ..*hyper }),
        ]
    }
}

impl PreferenceLoss for CalDpo {
    const NAME: &'static str = "cal-dpo";
    const USES: &'static [Setting] = &[Setting::Beta, Setting::Calibration];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, calibration: hyper.calibration }
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        pair_sample(CalDpo { beta: 0.1, calibration: 0.5 }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1, calibration: 0.5 }, PAIRS, "c = 0.5, β = 0.1")
    }
}
