//! Direct preference optimisation (Rafailov et al. 2023, eq. 7; Eq 1 of the SLPO paper).
//!
//! value     L = −ln σ(x), x = β(a − r) = β[(l_w − ln π_w) − (l_l − ln π_l)]
//! gradient  ∂L/∂l_w = −β σ(−x), ∂L/∂l_l = +β σ(−x)
#![doc = include_str!("dpo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;

/// −ln σ(β(a − r)); ln 2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dpo {
    /// Inverse temperature β > 0.
    pub beta: f64,
}

impl PairLoss for Dpo {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        (-(T::from_f64(self.beta) * pair.margin())).softplus()
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let beta = T::from_f64(self.beta);
        let slope = beta * (-(beta * pair.margin())).sigmoid();
        (-slope, slope)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        std::f64::consts::LN_2
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        inputs.margins(self.beta).log_sigmoid().neg()
    }
    fn complement_slope(self) -> f64 {
        self.beta
    }
}

impl PreferenceLoss for Dpo {
    const NAME: &'static str = "dpo";
    const ALIASES: &'static [&'static str] = &["sigmoid"];
    const USES: &'static [Setting] = &[Setting::Beta];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta }
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = log_probabilities(draw);
        pair_sample(Dpo { beta: 0.1 }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1 }, PAIRS, "β = 0.1")
    }
}
