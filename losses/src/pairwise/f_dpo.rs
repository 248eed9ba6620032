//! DPO with another divergence from the reference than the reverse KL (Wang et al. 2023, "Beyond Reverse KL").
//!
//! value     L = −ln σ(x), x = β(f′(e^a) − f′(e^r))
//! gradient  ∂L/∂l_w = −βs(a) σ(−x), ∂L/∂l_l = +βs(r) σ(−x), s(t) = d f′(e^t)/dt
//!
//! | divergence | f′(e^t) | s(t) |
//! |---|---|---|
//! | forward KL | 1 − e^{−t} | e^{−t} |
//! | Jensen-Shannon | ln 2 + ln σ(t) | σ(−t) |
//! | α | (e^{(α − 1)t} − 1)/(α − 1) | e^{(α − 1)t} |
//!
//! The α-divergence is the forward KL at α = 0 and DPO at α = 1; the paper's α is 1 − α. Under the forward KL a chosen completion far below
//! its reference has a loss of about βe^{−a}, which is beyond f32 for a < −88: value and slopes are infinite there. The same holds of the
//! α-divergence for a < −88/(1 − α).
#![doc = include_str!("f_dpo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;
use crate::hyperparameters::Divergence;
use crate::numeric::{exp_difference, times_log};

/// −ln σ(β(f′(e^a) − f′(e^r))); ln 2 at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FDpo {
    /// Inverse temperature β > 0.
    pub beta: f64,
    /// The divergence, which has the derivative f′.
    pub divergence: Divergence,
    /// α in (0, 1) of the α-divergence.
    pub alpha: f64,
}

impl FDpo {
    /// c where f′(e^t) = (e^{ct} − 1)/c; `None` for the Jensen-Shannon divergence.
    fn power(self) -> Option<f64> {
        match self.divergence {
            Divergence::ForwardKl => Some(-1.0),
            Divergence::Js => None,
            Divergence::Alpha => Some(self.alpha - 1.0),
        }
    }
    /// x.
    fn margin<T: Scalar>(self, pair: &Pair<T>) -> T {
        let (a, r) = (pair.chosen_log_ratio(), pair.rejected_log_ratio());
        let difference = self.power().map_or_else(
            || (-r).softplus() - (-a).softplus(),
            |c| {
                let c = T::from_f64(c);
                exp_difference(c * a, c * r) / c
            },
        );
        T::from_f64(self.beta) * difference
    }
    /// s(t).
    fn link_slope<T: Scalar>(self, t: T) -> T {
        self.power().map_or_else(|| (-t).sigmoid(), |c| (T::from_f64(c) * t).exp())
    }
}

impl PairLoss for FDpo {
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        (-self.margin(&pair)).softplus()
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let slope = T::from_f64(self.beta) * (-self.margin(&pair)).sigmoid();
        let (s_w, s_l) = (self.link_slope(pair.chosen_log_ratio()), self.link_slope(pair.rejected_log_ratio()));
        (-times_log(slope, s_w), times_log(slope, s_l))
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        std::f64::consts::LN_2
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let (a, r) = inputs.log_ratios();
        let link = |t: Tensor<B>| match self.divergence {
            Divergence::ForwardKl => t.neg().exp().neg(),
            Divergence::Js => t.log_sigmoid(),
            Divergence::Alpha => t.scale(self.alpha - 1.0).exp().scale(1.0 / (self.alpha - 1.0)),
        };
        link(a).sub(&link(r)).scale(self.beta).log_sigmoid().neg()
    }
    /// That of the start. Where the link is steeper, the slope itself is larger too.
    fn complement_slope(self) -> f64 {
        self.beta
    }
    fn dialects(hyper: &Hyperparameters) -> Vec<Dialect> {
        let other = |divergence| Hyperparameters { divergence, ..*hyper };
        vec![
            Dialect::with("the divergence is forward-kl", other(Divergence::ForwardKl)),
            Dialect::with("the divergence is js", other(Divergence::Js)),
            Dialect::with("the divergence is alpha", other(Divergence::Alpha)),
            Dialect::with(
                "the α of the divergence is 1 − α (the paper's convention)",
                Hyperparameters { divergence_alpha: 1.0 - hyper.divergence_alpha, ..*hyper },
            ),
        ]
    }
}

impl PreferenceLoss for FDpo {
    const NAME: &'static str = "f-dpo";
    const USES: &'static [Setting] = &[Setting::Beta, Setting::Divergence, Setting::DivergenceAlpha];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta, divergence: hyper.divergence, alpha: hyper.divergence_alpha }
    }
    /// Policies near the reference, except for Jensen-Shannon: the powers overflow elsewhere.
    fn sample(draw: &mut Draw) -> Sample {
        let divergence = [Divergence::ForwardKl, Divergence::Js, Divergence::Alpha][draw.below(3)];
        let domain = if divergence == Divergence::Js { log_probabilities(draw) } else { near_reference(draw) };
        pair_sample(FDpo { beta: 0.1, divergence, alpha: 0.5 }, domain)
    }
    fn example() -> Example {
        pair_example(Self { beta: 0.1, divergence: Divergence::ForwardKl, alpha: 0.5 }, PAIRS, "the forward KL, β = 0.1")
    }
}
