//! SLPO on sequences (Eq 6 and Eq 7 of the SLPO paper).
//!
//! value     L = −w_w l_w − w_l l_l − w_o ln π_o, ln π_o = ln(1 − e^s), s = ln(e^{l_w} + e^{l_l})
//! gradient  ∂L/∂l_w = −w_w + w_o e^{l_w}/π_o, ∂L/∂l_l = −w_l + w_o e^{l_l}/π_o
//!
//! with the masses of [`Weights`]. The minimum is (w_w, w_l, w_o)'s entropy, at π = (w_w, w_l, w_o). e^{l_w}/π_o is formed as
//! σ(l_w − l_l)·e^{s − ln π_o}, which overflows nowhere. Where s comes within the unit round-off u of 0, π_o is taken as u: it can be no
//! better known, and value and gradient stay finite. Of improbable sequences (l below −745 in f64, −104 in f32) the weights are exactly 0
//! and the loss is constant: that is the objective's own defect (claim S2 of the audit), which [`slpo_gkl`](super::slpo_gkl) mends.
#![doc = include_str!("slpo.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;
use crate::numeric::{LogComplement, below_one, logaddexp};
use crate::weights::{Shares, Weights};

/// −w_w l_w − w_l l_l − w_o ln π_o. Needs completions that end with the end token, of which neither is the other's beginning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slpo {
    /// The rule for the target masses.
    pub weights: Weights,
}

impl Slpo {
    fn shares<T: Scalar>(self, pair: &Pair<T>) -> Shares<T> {
        self.weights.shares(pair.reference_chosen, pair.reference_rejected)
    }
}

impl PairLoss for Slpo {
    const OF_LOG_RATIOS: bool = false;

    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let w = self.shares(&pair);
        let log_others = below_one(logaddexp(pair.chosen, pair.rejected)).log1mexp();
        -(w.chosen * pair.chosen + w.rejected * pair.rejected + w.others * log_others)
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let w = self.shares(&pair);
        let s = below_one(logaddexp(pair.chosen, pair.rejected));
        let push = w.others * (s - s.log1mexp()).exp();
        let difference = pair.chosen - pair.rejected;
        (push * difference.sigmoid() - w.chosen, push * (-difference).sigmoid() - w.rejected)
    }
    /// −m[ω_w ln π_w + ω_l ln π_l] − (1 − m) ln(1 − m), ω = w/m.
    fn at_start(self, pair: &Pair<f64>) -> f64 {
        let (omega_w, omega_l) = self.weights.relative(pair.chosen, pair.rejected);
        let m = logaddexp(pair.chosen, pair.rejected).exp();
        -m * (omega_w * pair.chosen + omega_l * pair.rejected) - (1.0 - m) * (-m).ln_1p()
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let ((l_w, l_l), (reference_w, reference_l)) = (inputs.policy(), inputs.reference());
        let w = self.weights.shares_of(reference_w, reference_l);
        let column = |x: &Tensor<B>| x.reshape(&[x.len(), 1]);
        let log_others = Tensor::concat(&[&column(l_w), &column(l_l)], 1).logsumexp().map(LogComplement);
        w.chosen.mul(l_w).add(&w.rejected.mul(l_l)).add(&w.others.mul(&log_others)).neg()
    }
}

impl PreferenceLoss for Slpo {
    const NAME: &'static str = "slpo";
    const USES: &'static [Setting] = &[Setting::Alpha, Setting::Weights];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { weights: hyper.weights() }
    }
    fn sample(draw: &mut Draw) -> Sample {
        let (domain, weights) = (small_probabilities(draw), any_weights(draw));
        pair_sample(Slpo { weights }, domain)
    }
    /// Completions of which the first pair has much of the mass, the second little.
    fn example() -> Example {
        let numbers = [[-1.5, -5.0], [-2.0, -6.5], [-1.75, -6.0], [-1.625, -6.0]];
        pair_example(Self { weights: Weights::Eq7 { alpha: 0.75 } }, numbers, "Eq 7 with α = 0.75")
    }
}
