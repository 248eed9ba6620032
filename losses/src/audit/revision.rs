//! The objective of the paper's later revision: Eq 7 with other weights, and two binary problems at a temperature T in its place.
//!
//! L = ¼ Σ_y KL(Q_y ‖ P_y), P = σ(ln(π/(1 − π))/T), Q = σ(ln(q/(1 − q))/T), for y = y_w and y = y_l, with the targets
//! q_w = π_w + απ_l and q_l = (1 − α)π_l ([`slpo_halves`](crate::pairwise::slpo_halves)).

use super::claim::{Check, Claim, Statement, distance, round_off};
use super::instance::{
    differentiate, evaluate, hessian_vector, log_distribution, loss_of_log_probs, loss_of_logits, sizeable_pair, uniform,
};
use super::revision_listing::{r2, r3, r7, r8};
use super::revision_start::{r5, r6};
use super::revision_terms::{coin_divergence, log_targets, revised, tempered};
use crate::loss::Loss;
use crate::weights::Weights;
use engine::Generator;

pub const CLAIMS: &[super::claim::Computation] = &[r1, r2, r3, r4, r5, r6, r7, r8, r9];

/// w_w − π_w = απ_l and ∂L/∂l_w = −απ_l at the start: neither changes its sign for any α from 0 to 1.
fn r1(generator: &mut Generator) -> Claim {
    let (alpha, reference) = (uniform(generator, 0.1, 0.9), sizeable_pair(generator));
    let (pi_w, pi_l) = (reference.0.exp(), reference.1.exp());
    let shares = |alpha: f64, reference: (f64, f64)| Weights::Shift { alpha }.shares(reference.0, reference.1);
    let slope = |alpha: f64, reference: (f64, f64)| {
        differentiate(&[reference.0, reference.1], |x| loss_of_log_probs(Loss::Slpo, &revised(alpha, 1.0), x, reference)).1[0]
    };
    let pairs: Vec<(f64, f64)> = (0..16).map(|_| sizeable_pair(generator)).collect();
    let grid = || pairs.iter().flat_map(|&pair| (0..=10).map(move |tenths| (f64::from(tenths) / 10.0, pair)));
    let least_gain = grid().map(|(alpha, pair)| shares(alpha, pair).chosen - pair.0.exp()).fold(f64::MAX, f64::min);
    let highest_slope = grid().map(|(alpha, pair)| slope(alpha, pair)).fold(f64::MIN, f64::max);
    let drawn = shares(alpha, reference);
    let checks = vec![
        Check::new("w_w by the rule shift", drawn.chosen, pi_w + alpha * pi_l, round_off(1.0)),
        Check::new("w_l by the rule shift", drawn.rejected, (1.0 - alpha) * pi_l, round_off(1.0)),
        Check::new("the sum of the weights", drawn.chosen + drawn.rejected + drawn.others, 1.0, round_off(1.0)),
        Check::new("w_w at α = 1", shares(1.0, reference).chosen, pi_w + pi_l, round_off(1.0)),
        Check::new("∂L/∂l_w at the start", slope(alpha, reference), -alpha * pi_l, round_off(1.0)),
        // Both are 0 at α = 0, which the grid has.
        Check::new("the least w_w − π_w on the grid", least_gain, 0.0, round_off(1.0)),
        Check::new("the highest ∂L/∂l_w on the grid", highest_slope, 0.0, round_off(1.0)),
    ];
    let holds = least_gain >= -round_off(1.0) && highest_slope <= round_off(1.0);
    let evidence = format!(
        "α = {alpha:.3}, π_ref = ({pi_w:.4}, {pi_l:.4}): `--weights shift` is this rule, w_w = {:.4}, w_l = {:.4}. Over {} grid points, α from 0 to \
         1, w_w − π_w is at least {least_gain:.0e} and ∂L/∂l_w at most {highest_slope:.0e}: rounding apart, 0 at α = 0.",
        drawn.chosen,
        drawn.rejected,
        grid().count()
    );
    Statement {
        id: "R1",
        claim: "Revision: Eq 7 with w_w = π_w + απ_l, w_l = (1 − α)π_l never lowers the winner",
        formula: "w_w − π_w = απ_l ≥ 0, ∂L/∂l_w = −απ_l at π_θ = π_ref, for 0 ≤ α ≤ 1",
        source: concat!(file!(), "::r1"),
        verdicts: ["true", "false"],
    }
    .judge(checks, holds, evidence)
}

/// At (q_w, q_l) the slopes are 0 and the curvature in l_y is Q(1 − Q)/(4T²(1 − q)²) > 0, at every T.
fn r4(generator: &mut Generator) -> Claim {
    let (alpha, reference) = (uniform(generator, 0.2, 0.8), sizeable_pair(generator));
    let (q_w, q_l) = log_targets(reference, alpha);
    let x = [q_w, q_l];
    let temperatures = [1.0, 4.0, uniform(generator, 5.0, 60.0), 512.0];
    let (mut loss, mut excess, mut curvature) = (0.0f64, 0.0f64, 1.0f64);
    for temperature in temperatures {
        let hyper = revised(alpha, temperature);
        let (value, gradient) = differentiate(&x, |x| loss_of_log_probs(Loss::SlpoHalves, &hyper, x, reference));
        loss = loss.max(value.abs());
        for i in 0..2 {
            let mut direction = [0.0; 2];
            direction[i] = 1.0;
            let found = hessian_vector(&x, &direction, |x| loss_of_log_probs(Loss::SlpoHalves, &hyper, x, reference))[i];
            let (target, scale) = (tempered(x[i], temperature), 4.0 * temperature * -x[i].exp_m1());
            let predicted = target * (1.0 - target) * 4.0 / scale.powi(2);
            excess = excess.max((gradient[i] * scale).abs());
            let ratio = found / predicted;
            curvature = if (ratio - 1.0).abs() > (curvature - 1.0).abs() { ratio } else { curvature };
        }
    }
    let eq7 = differentiate(&x, |x| loss_of_log_probs(Loss::Slpo, &revised(alpha, 1.0), x, reference)).1;
    let checks = vec![
        Check::new("the largest |P − Q| at (q_w, q_l) over all T", excess, 0.0, round_off(1.0)),
        Check::new("the largest loss there", loss, 0.0, round_off(1.0)),
        // The condition of the log-odds is 1/(1 − q) < 3 in each of two factors.
        Check::new("the curvature there, over its closed form", curvature, 1.0, round_off(10.0)),
        Check::new("Eq 7's slope there", distance(&eq7, &[0.0; 2]), 0.0, round_off(1.0)),
    ];
    let holds = checks.iter().all(Check::agrees);
    let evidence = format!(
        "At (q_w, q_l) = ({:.4}, {:.4}) with T = 1, 4, {:.2} and 512: |P − Q| is at most {excess:.0e}, and the curvature in l_w and l_l is positive, \
         Q(1 − Q)/(4T²(1 − q)²). Eq 7 with the rule shift is at rest there too.",
        q_w.exp(),
        q_l.exp(),
        temperatures[2]
    );
    Statement {
        id: "R4",
        claim: "Revision: its two binary problems have the minimiser of its Eq 7 at every temperature",
        formula: "∂L/∂l_y = (P − Q)/(4T(1 − π)) = 0 at π(y_w) = q_w, π(y_l) = q_l",
        source: concat!(file!(), "::r4"),
        verdicts: ["true", "false"],
    }
    .judge(checks, holds, evidence)
}

/// The loss depends on the others through π(y_w) and π(y_l) alone: any division of what is left among them gives the same loss.
fn r9(generator: &mut Generator) -> Claim {
    let others = 3;
    let (alpha, temperature) = (uniform(generator, 0.2, 0.8), uniform(generator, 1.0, 30.0));
    let (reference, policy) = (sizeable_pair(generator), sizeable_pair(generator));
    let targets = log_targets(reference, alpha);
    let division = log_distribution(generator, others);
    let hyper = revised(alpha, temperature);
    let loss = |z: &_| loss_of_logits(Loss::SlpoHalves, &hyper, z, reference);
    // The logits of a policy that gives the pair these probabilities, and the others what is left: divided as by the reference, or on one.
    let kept = |pair: (f64, f64)| {
        let rest = (-(pair.0.exp() + pair.1.exp())).ln_1p();
        [&[pair.0, pair.1], &division.iter().map(|x| x + rest).collect::<Vec<_>>()[..]].concat()
    };
    let piled = |pair: (f64, f64)| [pair.0, pair.1, (-(pair.0.exp() + pair.1.exp())).ln_1p(), -2000.0, -2000.0];
    let (with_kept, with_piled) = (evaluate(&kept(policy), loss), evaluate(&piled(policy), loss));
    let (lowest, slope) = differentiate(&piled(targets), loss);
    let divergence: f64 = kept(targets)[2..].iter().zip(&piled(targets)[2..]).map(|(r, p)| r.exp() * (r - p)).sum();
    let total: f64 = piled(targets)[2..].iter().map(|x| x.exp()).sum();
    let predicted = 0.25
        * [(policy.0, targets.0), (policy.1, targets.1)]
            .map(|(l, q)| coin_divergence(tempered(q, temperature), tempered(l, temperature)))
            .iter()
            .sum::<f64>();
    let checks = vec![
        Check::new("the loss with all other mass on one sequence", with_piled, predicted, round_off(1.0)),
        Check::new("the loss with the reference's division", with_kept, predicted, round_off(1.0)),
        Check::new("the loss at (q_w, q_l) with all on one", lowest, 0.0, round_off(1.0)),
        Check::new("the slope there", distance(&slope, &[0.0; 5]), 0.0, round_off(1.0)),
        Check::new("the others' total there", total, 1.0 - reference.0.exp() - reference.1.exp(), round_off(1.0)),
    ];
    let holds = (with_piled - with_kept).abs() > round_off(1.0) || divergence < 1e-6;
    let evidence = format!(
        "T = {temperature:.2}, (π_w, π_l) = ({:.4}, {:.4}): the loss is {with_kept:.8e} with the reference's division of the others and \
         {with_piled:.8e} with all of it on one. At the minimum too all can be on one: KL(ref‖π) over the others is then {divergence:.0} nats where \
         each other sequence's log-probability is −2000.",
        policy.0.exp(),
        policy.1.exp()
    );
    Statement {
        id: "R9",
        claim: "Revision: its two binary problems keep the other sequences at the reference's probabilities",
        formula: "L depends on the others only through 1 − π(y_w) and 1 − π(y_l)",
        source: concat!(file!(), "::r9"),
        verdicts: ["true", "false for each sequence, true for their total"],
    }
    .judge(checks, holds, evidence)
}
