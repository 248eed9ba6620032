//! Gradients at the start, where the policy is the reference.

use super::figure::{Curve, Curves, Drawing, Figure, steps};
use crate::audit::instance::{differentiate, eq7, loss_of_log_probs, uniform};
use crate::hyperparameters::Hyperparameters;
use crate::loss::Loss;
use crate::weights::WeightRule;
use engine::{Device, Generator, Tensor};

pub fn figures(generator: &mut Generator) -> Vec<Figure> {
    vec![start_gradient(generator), wrong_way(generator), limit(generator)]
}

/// ∂L/∂l_l at the reference (ln π_w, ln π_l).
fn slope(loss: Loss, hyper: &Hyperparameters, at: (f64, f64)) -> f64 {
    differentiate(&[at.0, at.1], |x| loss_of_log_probs(loss, hyper, x, at)).1[1]
}

/// Computes [`slope`] at α = 1 in f32.
fn single(loss: Loss, at: (f64, f64)) -> f64 {
    let x = Tensor::parameter(&Device::default(), &[at.0, at.1], &[2]);
    let loss = loss_of_log_probs(loss, &eq7(1.0), &x, at).sum_all();
    loss.backward().of(&x).to_f64()[1]
}

fn start_gradient(generator: &mut Generator) -> Figure {
    let lead = uniform(generator, -1.0, 1.0);
    let at = |l: f64| (l + lead, l);
    let of = |f: &dyn Fn((f64, f64)) -> f64| steps(-140.0, -2.0, 70).map(|l| (l, f(at(l)).abs())).collect::<Vec<_>>();
    let curves = vec![
        Curve::line("DPO", of(&|at| slope(Loss::Dpo, &eq7(1.0), at))),
        Curve::line("SLPO-GKL, α = 1", of(&|at| slope(Loss::SlpoGkl, &eq7(1.0), at))),
        Curve::line("Eq 6", of(&|at| slope(Loss::Slpo, &eq7(1.0), at))),
        Curve::marks("Eq 6 in float32", of(&|at| single(Loss::Slpo, at)).into_iter().step_by(4).collect()),
    ];
    let ratio = |l: f64| slope(Loss::Slpo, &eq7(1.0), at(l)) / slope(Loss::Dpo, &eq7(1.0), at(l));
    let caption = format!(
        "Eq 6's gradient on the loser is π_ref(l) itself: {:.0e} of DPO's at ln π_ref(l) = −10, {:.0e} at −121. In float32 it is exactly 0 below \
         the dashed line, where its marks end; dividing by the pair's mass (SLPO-GKL) makes it of order 1 again. Here ln π_ref(w) − ln π_ref(l) \
         = {lead:.2}, β = 0.1.",
        ratio(-10.0),
        ratio(-121.0)
    );
    let smallest = f64::from(f32::from_bits(1));
    let curves = Curves::new("ln π_ref(l)", "|∂L/∂l_l| at the start", curves).log_y().level("smallest float32", smallest);
    Figure::new("start-gradient", &["S2"], "Start gradient of Eq 6 against DPO", caption, Drawing::Curves(curves))
}

fn wrong_way(generator: &mut Generator) -> Figure {
    let (mass, alpha) = (uniform(generator, 0.2, 0.4), uniform(generator, 0.6, 0.8));
    let start = |weights: WeightRule| {
        let hyper = Hyperparameters { alpha, weights, ..Hyperparameters::default() };
        let at = |share: f64| ((mass * share).ln(), (mass * (1.0 - share)).ln());
        steps(0.02, 0.98, 49).map(|share| (share, -slope(Loss::Slpo, &hyper, at(share)))).collect::<Vec<_>>()
    };
    let curves =
        vec![Curve::line("Eq 7: w_w = αm", start(WeightRule::Eq7)), Curve::line("shift: w_w = π_w + απ_l", start(WeightRule::Shift))];
    let caption = format!(
        "Above zero, descent lowers the winner. Eq 7 does so wherever the reference gives the winner more than α = {alpha:.3} of the pair's mass \
         m = {mass:.3}; the shift never does."
    );
    let curves = Curves::new("π_ref(w)/m", "∂L/∂l_w at the start", curves).level("no push", 0.0);
    Figure::new("wrong-way", &["S5"], "Which way Eq 7 pushes the winner first", caption, Drawing::Curves(curves))
}

fn limit(generator: &mut Generator) -> Figure {
    let share = uniform(generator, 0.3, 0.7);
    let (u, v) = (uniform(generator, -2.0, -1.0), uniform(generator, 0.2, 1.0));
    let alpha = uniform(generator, 0.6, 0.9);
    let gradient = |loss, mass: f64| {
        let reference = ((mass * share).ln(), (mass * (1.0 - share)).ln());
        let x = [u + mass.ln(), v + mass.ln()];
        differentiate(&x, |x| loss_of_log_probs(loss, &eq7(alpha), x, reference)).1[0]
    };
    let errors: Vec<(f64, f64)> = steps(-8.0, -1.0, 29)
        .map(|power| (power, 10f64.powf(power)))
        .map(|(power, m)| (power, (gradient(Loss::Slpo, m) / m - gradient(Loss::SlpoGkl, m)).abs()))
        .collect();
    let first = errors[0].1 / 1e-8;
    let line = steps(-8.0, -1.0, 2).map(|power| (power, first * 10f64.powf(power))).collect();
    let caption = format!(
        "The gradient of SLPO divided by the pair's mass m tends to SLPO-GKL's; the distance is {first:.3}·m up to higher orders, at \
         u = {u:.2}, v = {v:.2}, α = {alpha:.2}."
    );
    let curves = vec![Curve::marks("measured", errors), Curve::line("proportional to m", line)];
    let curves = Curves::new("log₁₀ m", "distance of ∂L/∂l_w", curves).log_y();
    Figure::new("limit", &["G1"], "SLPO tends to SLPO-GKL", caption, Drawing::Curves(curves))
}
