//! Eq 6 and Eq 7: their minima, their gradients at the start, and the target that does what their text says.

use super::claim::{Check, Claim, Statement, distance, round_off};
use super::instance::{
    constant, descend, differentiate, eq7, evaluate, log_distribution, loss_of_log_probs, loss_of_logits, normals, sigmoid, sizeable_pair,
    uniform,
};
use super::tree::{END, FREE, Tree, VOCABULARY};
use crate::exact::exact_target::{Branch, exact_target};
use crate::hyperparameters::Hyperparameters;
use crate::loss::Loss;
use crate::numeric::logaddexp;
use crate::weights::{WeightRule, Weights};
use engine::{Device, Generator, Tensor};

pub const CLAIMS: &[super::claim::Computation] = &[s1, s2, s3, s4, s5, s6, s7];

/// −m ln m − (1 − m) ln(1 − m): the least value of Eq 6.
fn entropy(mass: f64) -> f64 {
    -mass * mass.ln() - (1.0 - mass) * (-mass).ln_1p()
}

/// Eq 6 in the logits of w, l and all others. Along descent d(1/π_l)/dt → 3/2: z_l falls by π_l, and the other two rise by half of it each.
fn s1(generator: &mut Generator) -> Claim {
    let reference = sizeable_pair(generator);
    let mass = reference.0.exp() + reference.1.exp();
    let loss = |z: &_| loss_of_logits(Loss::Slpo, &eq7(1.0), z, reference);
    let at_target = evaluate(&[mass.ln(), -60.0, (-mass).ln_1p()], loss);
    let elsewhere = (0..16).map(|_| evaluate(&log_distribution(generator, 3), loss)).fold(f64::MAX, f64::min);
    let steps = 1500;
    let halfway = descend(&[reference.0, reference.1, (-mass).ln_1p()], 1.0, steps, loss);
    let end = descend(&halfway, 1.0, steps, loss);
    let [p_half, p_end] = [halfway, end].map(|z| constant(&z).softmax().to_f64());
    let growth = (1.0 / p_end[1] - 1.0 / p_half[1]) / steps as f64;
    let checks = vec![
        Check::new("Eq 6 at (m, e^−60, 1 − m)", at_target, entropy(mass), round_off(1.0)),
        // The next term of d(1/π_l)/dt is of order π_l over the slowest rate 2m(1 − m): below 1e-2 here.
        Check::new("the growth of 1/π_l in one step of descent", growth, 1.5, 1e-2),
    ];
    let holds = checks[0].agrees() && elsewhere > at_target && p_end[1] < p_half[1];
    let evidence = format!(
        "Eq 6 at (m, 0, 1 − m), m = {mass:.4}, is its entropy {at_target:.8}; {elsewhere:.8} is the least of 16 other points. After {} steps of \
         descent π_l is still {:.2e}: 1/π_l grows by {growth:.4} a step.",
        2 * steps,
        p_end[1]
    );
    Statement {
        id: "S1",
        claim: "Eq 6's minimiser gives the winner m, the loser 0 and the others 1 − m",
        formula: "argmin L = (m, 0, 1 − m); π_l ≈ 2/(3t) under gradient descent",
        source: concat!(file!(), "::s1"),
        verdicts: ["true, not attained in logits: the loser's logit goes to −∞ and π_l falls like 1/t", "false"],
    }
    .judge(checks, holds, evidence)
}

/// (∂l_w, ∂l_l) = (−π_ref(l), +π_ref(l)) at π_θ = π_ref, 2π_ref(l)/β times DPO's.
fn s2(generator: &mut Generator) -> Claim {
    let near = (-uniform(generator, 8.0, 14.0), -uniform(generator, 8.0, 14.0));
    let far = (-uniform(generator, 115.0, 140.0), -uniform(generator, 115.0, 140.0));
    let gradient = |loss, at: (f64, f64)| differentiate(&[at.0, at.1], |x| loss_of_log_probs(loss, &eq7(1.0), x, at)).1;
    let (slpo, dpo) = (gradient(Loss::Slpo, near), gradient(Loss::Dpo, near));
    let single = {
        let x = Tensor::parameter(&Device::default(), &[far.0, far.1], &[2]);
        let loss = loss_of_log_probs(Loss::Slpo, &eq7(1.0), &x, far).sum_all();
        loss.backward().of(&x).to_f64()
    };
    let pi_l = near.1.exp();
    let beta = Hyperparameters::default().beta;
    // Exact in closed form. In f64, −m + π_w cancels down to π_l: roundings of m/π_l ≤ 1 + e^6, some 1e-13, far below this.
    let relative = 1e-9 * pi_l;
    let checks = vec![
        Check::new("∂L/∂l_l", slpo[1], pi_l, relative),
        Check::new("∂L/∂l_w", slpo[0], -pi_l, relative),
        Check::new("its ratio to DPO's", slpo[1] / dpo[1], 2.0 * pi_l / beta, relative / beta),
        Check::new("the gradient in float32 of an improbable pair", single[0].abs().max(single[1].abs()), 0.0, 0.0),
    ];
    let holds = single[1] != 0.0;
    let evidence = format!(
        "At ln π_ref(l) = {:.2} the start gradient is ({:.3e}, {:.3e}), {:.1e} of DPO's; at {:.1} it is {:.0e}, and exactly 0 in float32.",
        near.1,
        slpo[0],
        slpo[1],
        slpo[1] / dpo[1],
        far.1,
        far.1.exp()
    );
    Statement {
        id: "S2",
        claim: "Eq 6 moves a policy that starts at the reference, whatever the length of its sequences",
        formula: "(∂L/∂l_w, ∂L/∂l_l) = (−π_ref(l), +π_ref(l)) at π_θ = π_ref",
        source: concat!(file!(), "::s2"),
        verdicts: ["true", "false: the start gradient is (−π_ref(l), +π_ref(l)), which vanishes with the length"],
    }
    .judge(checks, holds, evidence)
}

/// L depends on the others through their total: any division of 1 − m among them is a minimum.
fn s3(generator: &mut Generator) -> Claim {
    let others = 3;
    let pair = sizeable_pair(generator);
    let mass = pair.0.exp() + pair.1.exp();
    let kept: Vec<f64> = log_distribution(generator, others).into_iter().map(|x| x + (-mass).ln_1p()).collect();
    let policy = |others: &[f64]| [&[mass.ln(), -60.0], others].concat();
    let piled: Vec<f64> = std::iter::once((-mass).ln_1p()).chain(vec![-2000.0; others - 1]).collect();
    let loss = |z: &_| loss_of_logits(Loss::Slpo, &eq7(1.0), z, pair);
    let (at_kept, at_piled) = (evaluate(&policy(&kept), loss), evaluate(&policy(&piled), loss));
    let gradient = differentiate(&policy(&piled), loss).1;
    let total: f64 = piled.iter().map(|x| x.exp()).sum();
    let divergence: f64 = kept.iter().zip(&piled).map(|(r, p)| r.exp() * (r - p)).sum();
    let checks = vec![
        Check::new("Eq 6 with all other mass on one sequence", at_piled, entropy(mass), round_off(1.0)),
        Check::new("Eq 6 with the reference's division", at_kept, entropy(mass), round_off(1.0)),
        Check::new("the slope with all on one", distance(&gradient, &[0.0; 5]), 0.0, round_off(1.0)),
        Check::new("the others' total", total, 1.0 - mass, round_off(1.0)),
    ];
    let holds = (at_piled - at_kept).abs() > round_off(1.0) || divergence < 1e-6;
    let evidence = format!(
        "Eq 6 is {at_kept:.10} with the reference's division of the others and {at_piled:.10} with all of it on one, where each other sequence's \
         log-probability is −2000 and KL(ref‖π) over the others is {divergence:.0} nats."
    );
    Statement {
        id: "S3",
        claim: "Eq 6, underbrace 3: the other sequences keep the same probability as the reference gives them",
        formula: "L depends on the others only through π_o = 1 − π_w − π_l",
        source: concat!(file!(), "::s3"),
        verdicts: ["true", "false for each sequence, true for their total"],
    }
    .judge(checks, holds, evidence)
}

/// w_w + w_l + w_o = 1, and Eq 7 at α = 1 is −m l_w − (1 − m) ln(1 − π_w − π_l).
fn s4(generator: &mut Generator) -> Claim {
    let reference = sizeable_pair(generator);
    let mass = reference.0.exp() + reference.1.exp();
    let alpha = uniform(generator, 0.51, 1.0);
    let shares = Weights::Eq7 { alpha }.shares(reference.0, reference.1);
    let x = log_distribution(generator, 4);
    let at_one = evaluate(&x[..2], |x| loss_of_log_probs(Loss::Slpo, &eq7(1.0), x, reference));
    let eq6 = -mass * x[0] - (1.0 - mass) * (1.0 - x[0].exp() - x[1].exp()).ln();
    let checks = vec![
        Check::new("the sum of the weights", shares.chosen + shares.rejected + shares.others, 1.0, round_off(1.0)),
        Check::new("w_w", shares.chosen, alpha * mass, round_off(1.0)),
        Check::new("Eq 7 at α = 1", at_one, eq6, round_off(5.0)),
    ];
    let holds = checks.iter().all(Check::agrees);
    let evidence = format!(
        "α = {alpha:.4}: weights {:.6} + {:.6} + {:.6}; at α = 1 Eq 7 is {at_one:.12} and Eq 6 is {eq6:.12}.",
        shares.chosen, shares.rejected, shares.others
    );
    Statement {
        id: "S4",
        claim: "Eq 7's weights sum to one, and α = 1 gives Eq 6",
        formula: "αm + (1 − α)m + (1 − m) = 1",
        source: concat!(file!(), "::s4"),
        verdicts: ["true", "false"],
    }
    .judge(checks, holds, evidence)
}

/// Eq 7's start gradient is (π_w − αm)·(1, −1), of the wrong sign where π_w/m > α; the rule shift's is −απ_l·(1, −1).
fn s5(generator: &mut Generator) -> Claim {
    let alpha = uniform(generator, 0.55, 0.8);
    let (mass, share) = (uniform(generator, 0.1, 0.5), uniform(generator, 0.85, 0.95));
    let (pi_w, pi_l) = (mass * share, mass * (1.0 - share));
    let reference = (pi_w.ln(), pi_l.ln());
    let start = |weights| {
        let hyper = Hyperparameters { alpha, weights, ..Hyperparameters::default() };
        differentiate(&[reference.0, reference.1], |x| loss_of_log_probs(Loss::Slpo, &hyper, x, reference)).1
    };
    let (soft, shift) = (start(WeightRule::Eq7), start(WeightRule::Shift));
    let push = pi_w - alpha * mass;
    let checks = vec![
        Check::new("∂L/∂l_w of Eq 7", soft[0], push, round_off(1.0)),
        Check::new("∂L/∂l_l of Eq 7", soft[1], -push, round_off(1.0)),
        Check::new("∂L/∂l_w with w_w = π_w + απ_l", shift[0], -alpha * pi_l, round_off(1.0)),
    ];
    let holds = soft[0] <= 0.0;
    let evidence = format!(
        "π_ref = ({pi_w:.4}, {pi_l:.4}), α = {alpha:.3}: Eq 7 starts with ∂L/∂l_w = {:+.4}, which lowers the winner; w_w = π_w + απ_l starts \
         with {:+.4}.",
        soft[0], shift[0]
    );
    Statement {
        id: "S5",
        claim: "Eq 7 is a softer version of Eq 6: it raises the winner, less far",
        formula: "∇L = (π_w − αm)·(1, −1) at π_θ = π_ref",
        source: concat!(file!(), "::s5"),
        verdicts: ["true", "false: it lowers the winner where π_ref(w)/m > α"],
    }
    .judge(checks, holds, evidence)
}

/// Q* by its closed form for next-token distributions, against the enumerated reference with y_l's mass moved to y_w.
fn s6(generator: &mut Generator) -> Claim {
    let tree = Tree::new();
    let logits = constant(&tree.draw(generator)).reshape(&[tree.rows(), VOCABULARY]);
    let log_probs = logits.log_softmax().to_f64();
    let before = tree.masses(&log_probs);
    let (winner, loser) = (vec![0, 1, 0, END], vec![0, 0, END]);
    let (along_w, along_l) = (tree.along(&log_probs, &winner), tree.along(&log_probs, &loser));
    let branch = |tokens, log_probs| Branch { tokens, log_probs };
    let target = exact_target(branch(&winner, &along_w), branch(&loser, &along_l), VOCABULARY, 1.0).expect("completions that part");
    let mut changed = log_probs.clone();
    for (completion, rows) in [(&loser, &target.rejected), (&winner, &target.chosen)] {
        for (t, row) in rows.chunks(VOCABULARY).enumerate().take(FREE) {
            changed[tree.row(&completion[..t]) * VOCABULARY..][..VOCABULARY].copy_from_slice(row);
        }
    }
    let after = tree.masses(&changed);
    let (w, l) = (tree.index(&winner), tree.index(&loser));
    let mut moved = before.clone();
    (moved[w], moved[l]) = (before[w] + before[l], 0.0);
    let total_variation = 0.5 * before.iter().zip(&after).map(|(a, b)| (a - b).abs()).sum::<f64>();
    let reward = normals(generator, before.len(), 1.0);
    let gain: f64 = reward.iter().zip(before.iter().zip(&after)).map(|(r, (a, b))| r * (b - a)).sum();
    let checks = vec![
        Check::new("the farthest sequence from the target", distance(&after, &moved), 0.0, round_off(1.0)),
        Check::new("the total variation to the reference", total_variation, before[l], round_off(1.0)),
        Check::new("the gain in expected reward", gain, before[l] * (reward[w] - reward[l]), round_off(1.0)),
    ];
    let holds = checks.iter().all(Check::agrees);
    let evidence = format!(
        "Over all {} completions the closed form is within {:.1e} of the target; the total variation is π_ref(l) = {:.5}, E[reward] gains {gain:+.5}.",
        before.len(),
        checks[0].value,
        before[l]
    );
    Statement {
        id: "S6",
        claim: "The loser's probability can be reallocated to the winner with every other sequence fixed",
        formula: "q(w_f|u) = [π(u w_f) + π(y_l)]/π(u), q(l_f|u) = [π(u l_f) − π(y_l)]/π(u), and so on along both",
        source: concat!(file!(), "::s6"),
        verdicts: ["true: the exact autoregressive target exists in closed form", "false"],
    }
    .judge(checks, holds, evidence)
}

/// w_w = m asks for ln(1 + π_l/π_w) nats on the winner; descent on Eq 6 moves by almost none of them.
fn s7(generator: &mut Generator) -> Claim {
    let (l_l, lead) = (-uniform(generator, 10.0, 20.0), uniform(generator, 30.0, 60.0));
    let reference = (l_l - lead, l_l);
    let wanted = Weights::Eq7 { alpha: 1.0 }.shares(reference.0, reference.1).chosen.ln() - reference.0;
    let steps = 200;
    let start = [reference.0, reference.1, (-logaddexp(reference.0, reference.1).exp()).ln_1p()];
    let reached = descend(&start, 1.0, steps, |z| loss_of_logits(Loss::Slpo, &eq7(1.0), z, reference));
    let moved = constant(&reached).log_softmax().to_f64()[0] - reference.0;
    let push = sigmoid(lead) * reference.1.exp();
    let checks = vec![
        Check::new("the nats that w_w asks for", wanted, lead.exp().ln_1p(), round_off(lead)),
        // Each step moves z_w by π_l to first order, and steps·π_l is below 0.01.
        Check::new("the nats that descent moves", moved, steps as f64 * push, 0.05 * steps as f64 * push),
    ];
    let holds = moved >= 0.5 * wanted;
    let evidence = format!(
        "Where the loser leads by {lead:.2} nats, w_w asks the winner for {wanted:.2} nats; {steps} steps of descent on Eq 6 move it by {moved:.1e}."
    );
    Statement {
        id: "S7",
        claim: "Eq 6's target w_w = π_ref(w) + π_ref(l) is one that training reaches",
        formula: "ln w_w − ln π_ref(w) = ln(1 + π_ref(l)/π_ref(w))",
        source: concat!(file!(), "::s7"),
        verdicts: ["true", "often not: false wherever the loser leads by tens of nats"],
    }
    .judge(checks, holds, evidence)
}
