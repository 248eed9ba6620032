//! The revision's two binary problems at the start, π_θ = π_ref: how far each pair moves, by temperature and length.

use super::claim::{Check, Claim, Statement};
use super::instance::{differentiate, loss_of_log_probs, uniform};
use super::revision_terms::{log_targets, revised, tempered};
use crate::hyperparameters::Hyperparameters;
use crate::loss::Loss;
use engine::{Device, Generator, Scalar, Tensor};

/// Computes (∂L/∂l_w, ∂L/∂l_l) at the start, π_θ = π_ref, by the tape.
fn start_slopes(reference: (f64, f64), hyper: &Hyperparameters) -> [f64; 2] {
    let gradient = differentiate(&[reference.0, reference.1], |x| loss_of_log_probs(Loss::SlpoHalves, hyper, x, reference)).1;
    [gradient[0], gradient[1]]
}

/// (P − Q)/(4T(1 − π)) for both completions at the start.
fn predicted_slopes(reference: (f64, f64), alpha: f64, temperature: f64) -> [f64; 2] {
    let targets = log_targets(reference, alpha);
    [(reference.0, targets.0), (reference.1, targets.1)]
        .map(|(l, q)| (tempered(l, temperature) - tempered(q, temperature)) / (4.0 * temperature * -l.exp_m1()))
}

/// A pair of long completions, for which Eq 6 does nothing.
const LONG: (f64, f64) = (-83.0, -85.0);

/// Computes the slopes at the start as the engine's default device has them, in f32.
fn single_slopes(reference: (f64, f64), hyper: &Hyperparameters) -> Vec<f64> {
    let x = Tensor::parameter(&Device::default(), &[reference.0, reference.1], &[2]);
    let loss = loss_of_log_probs(Loss::SlpoHalves, hyper, &x, reference).sum_all();
    loss.backward().of(&x).to_f64()
}

/// True if a weight of 1 in f32 changes by a step of length 1 along each of these slopes.
fn moves(slopes: &[f64]) -> bool {
    slopes.iter().all(|&slope| 1.0 - f32::from_f64(slope) != 1.0)
}

/// At T = 1 the start slopes are ∓απ_l/4; T divides the log-odds, and (P − Q)/(4T) is of order 1/T² once T is of their order.
pub fn r5(generator: &mut Generator) -> Claim {
    let alpha = 0.5;
    let slopes = |reference, temperature| start_slopes(reference, &revised(alpha, temperature));
    let (cold, warm) = (slopes(LONG, 1.0), slopes(LONG, 20.0));
    let single = [1.0, 20.0].map(|temperature| single_slopes(LONG, &revised(alpha, temperature)));
    let (lead, temperature) = (uniform(generator, 1.0, 3.0), uniform(generator, 15.0, 30.0));
    let l_l = -uniform(generator, 75.0, 100.0);
    let drawn = (l_l + lead, l_l);
    let (drawn_cold, drawn_warm) = (slopes(drawn, 1.0), slopes(drawn, temperature));
    let predicted = predicted_slopes(LONG, alpha, 20.0);
    let drawn_predicted = predicted_slopes(drawn, alpha, temperature);
    let at_one = |log_p: f64| alpha * log_p.exp() / 4.0;
    // Log-probabilities of size 100 are rounded by 1e-14, and P − Q is a hundredth of P or more: 1e-12 of it, far below this.
    let close = |what, value: f64, expected: f64| Check::new(what, value, expected, 1e-10 * expected.abs());
    let checks = vec![
        close("∂L/∂l_w at T = 1, ln π_ref = (−83, −85)", cold[0], -at_one(LONG.1)),
        close("∂L/∂l_l at T = 1", cold[1], at_one(LONG.1)),
        close("∂L/∂l_w at T = 20", warm[0], predicted[0]),
        close("∂L/∂l_l at T = 20", warm[1], predicted[1]),
        close("∂L/∂l_w of the drawn pair at T = 1", drawn_cold[0], -at_one(drawn.1)),
        close("∂L/∂l_w of the drawn pair at its T", drawn_warm[0], drawn_predicted[0]),
        close("∂L/∂l_l of the drawn pair at its T", drawn_warm[1], drawn_predicted[1]),
        Check::new("does a weight of 1 in f32 move at T = 1", f64::from(moves(&single[0])), 0.0, 0.0),
        Check::new("does it move at T = 20", f64::from(moves(&single[1])), 1.0, 0.0),
    ];
    let holds = moves(&single[1]);
    let evidence = format!(
        "At ln π_ref = (−83, −85), α = ½, the start gradient is ({:.2e}, {:.2e}) at T = 1 and ({:.2e}, {:.2e}) at T = 20; a step of length 1 in f32 \
         moves a weight of 1 with the second only. At ({:.1}, {l_l:.1}) it is {:.1e} for the winner at T = 1, {:.1e} at T = {temperature:.1}.",
        cold[0], cold[1], warm[0], warm[1], drawn.0, drawn_cold[0], drawn_warm[0]
    );
    Statement {
        id: "R5",
        claim: "Revision: at a temperature, training in f32 moves a policy that starts at the reference",
        formula: "(P − Q)/(4T(1 − π)) at π_θ = π_ref; (−απ_l/4, +απ_l/4) at T = 1",
        source: concat!(file!(), "::r5"),
        verdicts: ["true at T = 20; at T = 1 the start gradient is still of the order of π_ref(l)", "false"],
    }
    .judge(checks, holds, evidence)
}

/// The lengths, in tokens, that the weights of pairs are compared over.
const LENGTHS: [f64; 6] = [5.0, 10.0, 20.0, 40.0, 80.0, 160.0];

/// Returns the largest over the smallest length of these gradients.
fn spread(gradients: &[[f64; 2]]) -> f64 {
    let sizes = gradients.iter().map(|[w, l]| w.hypot(*l));
    sizes.clone().fold(0.0, f64::max) / sizes.fold(f64::MAX, f64::min)
}

/// The start gradient is P(1 − P)·ln(q/π)/(4T²) to first order: it falls with P at a fixed T, and as 1/N² at T = N tokens.
pub fn r6(generator: &mut Generator) -> Claim {
    let (alpha, fixed) = (0.5, 20.0);
    let (nats, lead) = (uniform(generator, 1.5, 2.5), uniform(generator, 1.0, 3.0));
    let reference = |length: f64| (lead - nats * length, -nats * length);
    let over_lengths = |slopes: &dyn Fn(f64) -> [f64; 2]| spread(&LENGTHS.map(slopes));
    let found = |temperature: &dyn Fn(f64) -> f64| over_lengths(&|n| start_slopes(reference(n), &revised(alpha, temperature(n))));
    let predicted = |temperature: &dyn Fn(f64) -> f64| over_lengths(&|n| predicted_slopes(reference(n), alpha, temperature(n)));
    let (at_fixed, at_length) = (found(&|_| fixed), found(&|n| n));
    let dpo = over_lengths(&|n| {
        let (w, l) = reference(n);
        let slope = differentiate(&[w, l], |x| loss_of_log_probs(Loss::Dpo, &Hyperparameters::default(), x, (w, l))).1;
        [slope[0], slope[1]]
    });
    let ratio = |[w, l]: [f64; 2]| -l / w;
    let trailing = (LONG.1, LONG.0);
    let slopes = |reference, alpha| ratio(start_slopes(reference, &revised(alpha, fixed)));
    let half = |reference| ratio(predicted_slopes(reference, 0.5, fixed));
    // At α = 1 the loser's target is 0, and so is its Q.
    let whole = |reference: (f64, f64)| {
        let loser = tempered(reference.1, fixed) / (4.0 * fixed * -reference.1.exp_m1());
        -loser / predicted_slopes(reference, 1.0, fixed)[0]
    };
    let [ahead, ahead_whole, behind, behind_whole] =
        [(LONG, 0.5), (LONG, 1.0), (trailing, 0.5), (trailing, 1.0)].map(|(reference, alpha)| slopes(reference, alpha));
    // As in the claim before this one: log-probabilities of size 400 are rounded by 6e-14, P − Q is a thousandth of P or more.
    let close = |what, value: f64, expected: f64| Check::new(what, value, expected, 1e-9 * expected.abs());
    let checks = vec![
        close("the spread of the gradients' lengths at T = 20", at_fixed, predicted(&|_| fixed)),
        close("their spread at T = the number of tokens", at_length, predicted(&|n| n)),
        close("the spread of DPO's", dpo, 1.0),
        close("loser's slope over winner's at ln π_ref = (−83, −85), α = ½", ahead, half(LONG)),
        close("the same at α = 1", ahead_whole, whole(LONG)),
        close("the same where the loser leads, (−85, −83), α = ½", behind, half(trailing)),
        close("where the loser leads, α = 1", behind_whole, whole(trailing)),
    ];
    // Comparable: within a factor of 10.
    let holds = at_fixed.max(at_length) <= 10.0;
    let evidence = format!(
        "Pairs of 5 to 160 tokens, {nats:.3} nats each: the start gradient's length differs by the factor {at_fixed:.1e} at T = 20, {at_length:.0} \
         at T = the number of tokens, {dpo:.0} for DPO. At ln π_ref = (−83, −85), T = 20, the loser's slope is {ahead:.2} times the winner's at \
         α = ½ and {ahead_whole:.1} at α = 1: a candidate for likelihood displacement. Where the loser leads by as much the ratios are \
         {behind:.2} and {behind_whole:.1}."
    );
    Statement {
        id: "R6",
        claim: "Revision: at a temperature all examples continue to have comparable weight",
        formula: "|∇L| at π_θ = π_ref over lengths; ∂L/∂l_l over −∂L/∂l_w",
        source: concat!(file!(), "::r6"),
        verdicts: ["true", "false: a pair's weight goes with q and T, and the loser can move many times as fast as the winner"],
    }
    .judge(checks, holds, evidence)
}
