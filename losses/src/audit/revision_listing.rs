//! How the revision computes its two binary problems: the complement's probability by a tree identity, and the divergence in its listing.

use super::claim::{Check, Claim, Statement, distance, round_off};
use super::instance::{World, constant, differentiate, evaluate, loss_of_log_probs, sizeable_pair, uniform};
use super::revision_terms::{coin_divergence, log_targets, revised, tempered};
use super::tree::{END, Tree, VOCABULARY};
use crate::loss::Loss;
use engine::{Generator, Tensor};

/// Computes ln of what leaves a completion at each of its positions: ln π(y_<t) + ln Σ_{v ≠ y_t} p(v | y_<t), from rows [T · V] of ln p.
fn departures(rows: &[f64], vocabulary: usize, completion: &[u32]) -> Vec<f64> {
    let mut log_prefix = 0.0;
    let step = |(row, &token): (&[f64], &u32)| {
        let keep: Vec<bool> = (0..vocabulary).map(|v| v != token as usize).collect();
        let term = log_prefix + constant(row).masked_logsumexp(&keep).item();
        log_prefix += row[token as usize];
        term
    };
    rows.chunks(vocabulary).zip(completion).map(step).collect()
}

/// A tree's next-token log-probabilities [prefixes · V], and the probability of every completion.
fn language(tree: &Tree, generator: &mut Generator) -> (Vec<f64>, Vec<f64>) {
    let logits = constant(&tree.draw(generator)).reshape(&[tree.rows(), VOCABULARY]);
    let log_probs = logits.log_softmax().to_f64();
    let masses = tree.masses(&log_probs);
    (log_probs, masses)
}

/// Σ_t π(y_<t)(1 − π(y_t|y_<t)) telescopes to 1 − π(y), the total of all other completions.
pub fn r2(generator: &mut Generator) -> Claim {
    let tree = Tree::new();
    let (log_probs, masses) = language(&tree, generator);
    let identity = |completion: &Vec<u32>| {
        let mut prefix = 1.0;
        let step = |(row, &token): (&[f64], &u32)| {
            let p = row[token as usize].exp();
            let leaves = prefix * (1.0 - p);
            prefix *= p;
            leaves
        };
        tree.along(&log_probs, completion).chunks(VOCABULARY).zip(completion).map(step).sum::<f64>()
    };
    let sums: Vec<f64> = tree.completions.iter().map(identity).collect();
    let total_without = |i: usize| masses.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, mass)| mass).sum::<f64>();
    let others: Vec<f64> = (0..masses.len()).map(total_without).collect();
    let complements: Vec<f64> = masses.iter().map(|mass| 1.0 - mass).collect();
    let drawn = generator.below(masses.len());
    let checks = vec![
        Check::new("the sum over t for a drawn completion", sums[drawn], others[drawn], round_off(1.0)),
        Check::new("the farthest sum from the others' total", distance(&sums, &others), 0.0, round_off(1.0)),
        Check::new("the farthest sum from 1 − π(y)", distance(&sums, &complements), 0.0, round_off(1.0)),
    ];
    let holds = checks.iter().all(Check::agrees);
    let evidence = format!(
        "All {} completions enumerated: the sum is within {:.0e} of the other completions' total and within {:.0e} of 1 − π(y); for one of {} \
         tokens it is {:.8}, 1 − π(y) is {:.8}.",
        masses.len(),
        checks[1].value,
        checks[2].value,
        tree.completions[drawn].len(),
        sums[drawn],
        complements[drawn]
    );
    Statement {
        id: "R2",
        claim: "Revision: the complement's probability is a sum over the places where a sequence leaves y",
        formula: "Σ_t π(y_<t)(1 − π(y_t|y_<t)) = 1 − π(y)",
        source: concat!(file!(), "::r2"),
        verdicts: ["true", "false"],
    }
    .judge(checks, holds, evidence)
}

/// The sum over t of logarithms is the logarithm of the product of what leaves at each t, not of its sum.
pub fn r3(generator: &mut Generator) -> Claim {
    let tree = Tree::new();
    let (log_probs, masses) = language(&tree, generator);
    let mut token = || u32::from(generator.below(2) == 1);
    let completion = vec![token(), token(), END];
    let terms = departures(&tree.along(&log_probs, &completion), VOCABULARY, &completion);
    let printed: f64 = terms.iter().sum();
    let right = constant(&terms).logsumexp().item();
    let leaving = |t: usize| -> f64 {
        let all = tree.completions.iter().zip(&masses);
        all.filter(|(y, _)| y.starts_with(&completion[..t]) && !y.starts_with(&completion[..=t])).map(|(_, mass)| mass).sum()
    };
    let product: f64 = (0..completion.len()).map(|t| leaving(t).ln()).sum();
    let (length, p) = (20, uniform(generator, 0.4, 0.6));
    let rows = [p.ln(), (-p).ln_1p()].repeat(length);
    let long = departures(&rows, 2, &vec![0; length]);
    let (long_printed, long_right) = (long.iter().sum::<f64>(), constant(&long).logsumexp().item());
    let t = length as f64;
    let checks = vec![
        Check::new("the sum as printed", printed, product, round_off(10.0)),
        Check::new("LogSumExp over t", right, (-masses[tree.index(&completion)]).ln_1p(), round_off(5.0)),
        Check::new("the sum for 20 tokens", long_printed, t * (t - 1.0) / 2.0 * p.ln() + t * (-p).ln_1p(), round_off(200.0)),
        // p^20 is 1e-8 or more, far above the roundings of 1 − p^20, of which there are some in each of 20 terms.
        Check::new("LogSumExp for 20 tokens", long_right, (-p.powi(20)).ln_1p(), round_off(1.0)),
    ];
    let holds = (printed - right).abs() <= round_off(10.0);
    let evidence = format!(
        "For a completion of 3 tokens the sum over t is {printed:.6}; ln(1 − π(y)) = {right:.6} is the LogSumExp over t of the same terms. For 20 \
         tokens of probability {p:.4} the sum is {long_printed:.2}, the right value {long_right:.2e}."
    );
    Statement {
        id: "R3",
        claim: "Revision, as printed: ln π(ȳ) = Σ_t(Σ_{k<t} g_k + LSE_{v≠y_t} g_{t,v})",
        formula: "Σ_t ln a_t against ln Σ_t a_t, a_t = π(y_<t)(1 − π(y_t|y_<t))",
        source: concat!(file!(), "::r3"),
        verdicts: ["true", "false: it is the LogSumExp over t"],
    }
    .judge(checks, holds, evidence)
}

/// The terms e^t(t − x) of a divergence whose targets t and inputs x are logarithms.
fn terms(log_targets: &[f64], x: &Tensor<World>) -> Tensor<World> {
    let t = constant(log_targets);
    t.exp().mul(&t.sub(x))
}

/// The sum of the terms over the first extent of their shape: the mean over a batch, if the first axis is the batch.
fn batchmean(terms: &Tensor<World>) -> f64 {
    terms.sum_all().item() / terms.shape()[0] as f64
}

/// e^t(t − x) → 0 for t → −∞, but e^{−∞} is 0 and −∞ − x is −∞: their product has no value.
pub fn r7(generator: &mut Generator) -> Claim {
    let (reference, temperature) = (sizeable_pair(generator), uniform(generator, 1.0, 30.0));
    let policy = uniform(generator, 0.1, 0.3).ln();
    let p = tempered(policy, temperature);
    let inputs = [p.ln(), (-p).ln_1p()];
    let impossible = [f64::NEG_INFINITY, 0.0];
    let divergence = |targets: &[f64]| evaluate(&inputs, |x| terms(targets, x));
    let term = |t: f64| evaluate(&inputs[..1], |x| terms(&[t], x));
    let slope = differentiate(&inputs, |x| terms(&impossible, x)).1;
    // At l_w = ln q_w the winner's divergence is 0, so that four times the loss is the loser's.
    let winner = log_targets(reference, 1.0).0;
    let ours = 4.0 * evaluate(&[winner, policy], |x| loss_of_log_probs(Loss::SlpoHalves, &revised(1.0, temperature), x, reference));
    let checks = vec![
        Check::new("is the divergence NaN at the target (−∞, 0)", f64::from(divergence(&impossible).is_nan()), 1.0, 0.0),
        Check::new("is its term with t = −∞ NaN", f64::from(term(f64::NEG_INFINITY).is_nan()), 1.0, 0.0),
        // 40·e^−40 = 1.7e-16.
        Check::new("the term at t = −40, near its limit", term(-40.0), 0.0, 1e-15),
        Check::new("the divergence at Q = e^−40", divergence(&[-40.0, 0.0]), -(-p).ln_1p(), round_off(1.0)),
        Check::new("slpo-halves' divergence at q_l = 0", ours, -(-p).ln_1p(), round_off(1.0)),
        Check::new("the slope in ln P, −e^t", slope[0], 0.0, 0.0),
    ];
    let holds = !divergence(&impossible).is_nan();
    let evidence = format!(
        "At P = {p:.4} the target (−∞, 0) gives 0·(−∞) = {} and the divergence {}. The term's limit is 0 ({:.0e} at t = −40), so the divergence is \
         −ln(1 − P) = {ours:.6}, which slpo-halves has. The slope in ln P is finite, so the value alone shows the defect.",
        term(f64::NEG_INFINITY),
        divergence(&impossible),
        checks[2].value
    );
    Statement {
        id: "R7",
        claim: "Revision: its listing computes the loser's divergence from the target log-probabilities (−∞, 0)",
        formula: "e^t(t − x) at t = −∞: 0·(−∞) = NaN; its limit is 0",
        source: concat!(file!(), "::r7"),
        verdicts: ["true", "false: the loss is NaN"],
    }
    .judge(checks, holds, evidence)
}

/// "batchmean" divides by the first extent, which is 2 for a vector of the two classes and 1 for a row of them.
pub fn r8(generator: &mut Generator) -> Claim {
    let (alpha, temperature) = (uniform(generator, 0.2, 0.8), uniform(generator, 1.0, 4.0));
    let (reference, policy) = (sizeable_pair(generator), sizeable_pair(generator));
    let targets = log_targets(reference, alpha);
    let classes = |log_p: f64| {
        let p = tempered(log_p, temperature);
        [p.ln(), (-p).ln_1p()]
    };
    let of = |log_p: f64, log_q: f64| terms(&classes(log_q), &constant(&classes(log_p)));
    let (winner, loser) = (of(policy.0, targets.0), of(policy.1, targets.1));
    let (half_w, half_l) = (batchmean(&winner), batchmean(&loser));
    let divergence = coin_divergence(tempered(targets.0, temperature), tempered(policy.0, temperature));
    let as_row = batchmean(&winner.reshape(&[1, 2]));
    let ours = evaluate(&[policy.0, policy.1], |x| loss_of_log_probs(Loss::SlpoHalves, &revised(alpha, temperature), x, reference));
    let checks = vec![
        Check::new("the reduction over the sum", half_w / winner.sum_all().item(), 0.5, round_off(1.0)),
        Check::new("the sum", winner.sum_all().item(), divergence, round_off(1.0)),
        Check::new("the reduction of a row [1, 2]", as_row, divergence, round_off(1.0)),
        Check::new("slpo-halves, ¼ Σ KL, is the mean of the two", ours, 0.5 * (half_w + half_l), round_off(1.0)),
    ];
    let holds = (half_w - divergence).abs() <= round_off(1.0);
    let evidence = format!(
        "KL(Q‖P) = {divergence:.6e}; the reduction of the vector of two gives {half_w:.6e}, {:.4} of it, and of a row [1, 2] {as_row:.6e}. The mean of \
         both problems is {ours:.6e} = ¼ Σ KL.",
        checks[0].value
    );
    Statement {
        id: "R8",
        claim: "Revision: its listing's reduction \"batchmean\" gives the Kullback–Leibler divergence",
        formula: "Σ_i e^{t_i}(t_i − x_i)/2 against Σ_i e^{t_i}(t_i − x_i)",
        source: concat!(file!(), "::r8"),
        verdicts: ["true", "false: on a vector of two it is half of it"],
    }
    .judge(checks, holds, evidence)
}
