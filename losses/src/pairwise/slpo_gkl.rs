//! SLPO-GKL: sequence SLPO divided by the pair's mass m = π_w + π_l, in the limit m → 0 (claim G1 of the audit). What remains is a
//! generalised Kullback–Leibler divergence, with gradients of order 1 at any sequence length.
//!
//! value     L = −ω_w u − ω_l v + e^u + e^v, u = l_w − ln m, v = l_l − ln m, ω = w/m
//! gradient  ∂L/∂l_w = e^u − ω_w, ∂L/∂l_l = e^v − ω_l
//!
//! By Eq 7's rule ω = (α, 1 − α); by the shift ω_w = ρ_w + αρ_l, ω_l = (1 − α)ρ_l with ρ = π_ref/m. Strictly convex in (u, v) up to 40;
//! where ω > 0 the minimum is at (ln ω_w, ln ω_l), and at α = 1 v falls without limit. ln m is subtracted in two parts, its larger term
//! first: that loses nothing where the policy is near the reference and the log-probabilities are large. Above u = 40, where the limit
//! means nothing any more, e^u goes on as its tangent, so that all stays finite.
#![doc = include_str!("slpo_gkl.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::samples::prelude::*;
use crate::numeric::logaddexp;
use crate::weights::Weights;
use engine::backend::{Saves, Unary};
use engine::formulas;

/// Where e^u goes over into its tangent.
const TANGENT_FROM: f64 = 40.0;

/// e^u up to 40, its tangent there above.
#[derive(Clone, Copy, Debug)]
struct Growth;

impl Unary for Growth {
    const NAME: &'static str = "growth";
    const SAVES: Saves = Saves::Input;
    #[inline(always)]
    fn value<T: Scalar>(self, u: T) -> T {
        let end = T::from_f64(TANGENT_FROM);
        T::select(end.is_below(u), end.exp() * (T::one() + (u - end)), u.exp())
    }
    #[inline(always)]
    fn derivative<T: Scalar>(self, u: T) -> T {
        let end = T::from_f64(TANGENT_FROM);
        T::select(end.is_below(u), end.exp(), u.exp())
    }
}

/// −ω_w u − ω_l v + e^u + e^v, u = l_w − ln m, v = l_l − ln m.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlpoGkl {
    /// The rule for the target masses.
    pub weights: Weights,
}

/// ln m as the larger of ln π_w and ln π_l, and ln(1 + e^{−|ln π_w − ln π_l|}), to be subtracted one after the other.
#[inline(always)]
fn log_mass_parts<T: Scalar>(log_chosen: T, log_rejected: T) -> (T, T) {
    let is_less = log_chosen.is_below(log_rejected);
    let (high, low) = (T::select(is_less, log_rejected, log_chosen), T::select(is_less, log_chosen, log_rejected));
    (high, (low - high).exp().ln_1p())
}

formulas! {
    /// The first part of ln m, from ln π_w and ln π_l.
    LogLarger(log_chosen, log_rejected) = log_mass_parts(log_chosen, log_rejected).0;
    /// The second part.
    LogRest(log_chosen, log_rejected) = log_mass_parts(log_chosen, log_rejected).1;
}

impl SlpoGkl {
    fn relative<T: Scalar>(self, pair: &Pair<T>) -> (T, T) {
        self.weights.relative(pair.reference_chosen, pair.reference_rejected)
    }
}

/// (u, v).
fn coordinates<T: Scalar>(pair: &Pair<T>) -> (T, T) {
    let (high, rest) = log_mass_parts(pair.reference_chosen, pair.reference_rejected);
    (pair.chosen - high - rest, pair.rejected - high - rest)
}

impl PairLoss for SlpoGkl {
    const OF_LOG_RATIOS: bool = false;

    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let ((omega_w, omega_l), (u, v)) = (self.relative(&pair), coordinates(&pair));
        Growth.value(u) + Growth.value(v) - omega_w * u - omega_l * v
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let ((omega_w, omega_l), (u, v)) = (self.relative(&pair), coordinates(&pair));
        (Growth.derivative(u) - omega_w, Growth.derivative(v) - omega_l)
    }
    /// 1 − ω_w ln(π_w/m) − ω_l ln(π_l/m).
    fn at_start(self, pair: &Pair<f64>) -> f64 {
        let (omega_w, omega_l) = self.weights.relative(pair.chosen, pair.rejected);
        let log_m = logaddexp(pair.chosen, pair.rejected);
        1.0 - omega_w * (pair.chosen - log_m) - omega_l * (pair.rejected - log_m)
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let ((l_w, l_l), (reference_w, reference_l)) = (inputs.policy(), inputs.reference());
        let (high, rest) = (reference_w.detached_zip(LogLarger, reference_l), reference_w.detached_zip(LogRest, reference_l));
        let (omega_w, omega_l) = self.weights.relative_of(reference_w, reference_l);
        let (u, v) = (l_w.sub(&high).sub(&rest), l_l.sub(&high).sub(&rest));
        let linear = omega_w.mul(&u).add(&omega_l.mul(&v));
        u.map(Growth).add(&v.map(Growth)).sub(&linear)
    }
}

impl PreferenceLoss for SlpoGkl {
    const NAME: &'static str = "slpo-gkl";
    const USES: &'static [Setting] = &[Setting::Alpha, Setting::Weights];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { weights: hyper.weights() }
    }
    fn sample(draw: &mut Draw) -> Sample {
        let domain = if draw.coin() { near_reference(draw) } else { small_probabilities(draw) };
        let weights = any_weights(draw);
        pair_sample(SlpoGkl { weights }, domain)
    }
    fn example() -> Example {
        let numbers = [[-1.5, -599.0], [-2.0, -600.5], [-1.75, -600.0], [-1.625, -600.0]];
        pair_example(Self { weights: Weights::Eq7 { alpha: 0.75 } }, numbers, "Eq 7 with α = 0.75")
    }
}
