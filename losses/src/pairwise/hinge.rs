//! The hinge loss on DPO's margin (SLiC: Zhao et al. 2023, eq. 1; in DPO's form Liu et al. 2024).
//!
//! value     L = max(0, 1 − x), x = β(a − r)
//! gradient  ∂L/∂l_w = −β where x < 1, else 0; ∂L/∂l_l = −∂L/∂l_w. At x = 1 the subgradient 0 is taken.
#![doc = include_str!("hinge.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// max(0, 1 − β(a − r)); 1 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hinge {
    /// Inverse temperature β > 0.
    pub beta: f64,
}

impl PairLoss for Hinge {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let short = T::one() - T::from_f64(self.beta) * pair.margin();
        T::select(short.is_below(T::zero()), T::zero(), short)
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let beta = T::from_f64(self.beta);
        let slope = T::select((beta * pair.margin()).is_below(T::one()), beta, T::zero());
        (-slope, slope)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        1.0
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let x = inputs.margins(self.beta);
        Tensor::full(x.backend(), 1.0, &[]).sub(&x).relu()
    }
    fn kink(self, pair: &Pair<f64>) -> Option<Kink> {
        let distance = (1.0 - self.beta * pair.margin()).abs();
        Some(Kink { distance, size: 1.0 + self.beta * pair.size(), jump: self.beta })
    }
}

impl PreferenceLoss for Hinge {
    const NAME: &'static str = "hinge";
    const NOTE: Option<&'static str> = Some("hinge is RSO's, on DPO's margin with a reference; SLiC-HF's hinge, without one, is slic");
    const USES: &'static [Setting] = &[Setting::Beta];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta }
    }
    /// Margins on either side of the kink at x = 1, and away from it by more than a finite difference reaches.
    fn sample(draw: &mut Draw) -> Sample {
        let beta = 0.1;
        let mut domain = log_probabilities(draw);
        let sides = draw.away_from_zero(&[domain.len()]);
        for (i, side) in sides.data.into_iter().enumerate() {
            let reach = 0.1 * (domain.chosen[i].abs() + domain.rejected[i].abs());
            let margin = 1.0 / beta + (5.0 + reach).copysign(side) + 10.0 * side;
            let reference = domain.chosen[i] - domain.rejected[i] + domain.reference_rejected[i] - margin;
            domain.reference_chosen[i] = reference;
        }
        pair_sample(Hinge { beta }, domain.rounded())
    }
    fn example() -> Example {
        let numbers = [[-11.0, -2.0], [-13.5, -16.0], [-12.0, -9.0], [-13.0, -8.0]];
        let example = pair_example(Self { beta: 0.1 }, numbers, "β = 0.1");
        let given = format!("{}; the second pair is past the kink", example.given);
        example.given(given)
    }
}
