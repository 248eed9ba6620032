//! Eq 1 to 5 and Appendix A: DPO rewritten.

use super::claim::{Check, Claim, Statement, distance, round_off};
use super::instance::{at, constant, differentiate, evaluate, loss_of_log_probs, normals, number, uniform};
use super::tree::{FREE, Tree, VOCABULARY, strings};
use crate::exact::soft_cross_entropy::soft_cross_entropy;
use crate::hyperparameters::Hyperparameters;
use crate::loss::Loss;
use crate::sequence::sequence_log_probs;
use engine::{Generator, Tensor};

pub const CLAIMS: &[super::claim::Computation] = &[e1, e2, e3, e4, e5, a1];

/// Number of random points at which each identity is checked.
const PAIRS: usize = 16;

type Vector = Tensor<super::instance::World>;

/// Computes the largest difference in value and in gradient between two functions over random points. For an identity, both are rounding.
fn apart(generator: &mut Generator, n: usize, mut pair: impl FnMut(&mut Generator) -> [Box<dyn Fn(&Vector) -> Vector>; 2]) -> (f64, f64) {
    let mut worst = (0.0f64, 0.0f64);
    for _ in 0..PAIRS {
        let [f, g] = pair(generator);
        let x = normals(generator, n, 10.0);
        let ((f, df), (g, dg)) = (differentiate(&x, f), differentiate(&x, g));
        worst = (worst.0.max((f - g).abs()), worst.1.max(distance(&df, &dg)));
    }
    worst
}

/// Checks an identity in numbers of size about 40: value and gradient may differ by rounding only.
fn identity_checks((value, gradient): (f64, f64)) -> (Vec<Check>, bool) {
    let tolerance = round_off(40.0);
    let checks =
        vec![Check::new("the difference", value, 0.0, tolerance), Check::new("the gradients' difference", gradient, 0.0, tolerance)];
    let holds = checks.iter().all(Check::agrees);
    (checks, holds)
}

/// β[(l_w − ln π_w) − (l_l − ln π_l)] against β[(l_w − l_l) − (ln π_w − ln π_l)].
fn e1(generator: &mut Generator) -> Claim {
    let worst = apart(generator, 2, |generator| {
        let (reference, beta) = (normals(generator, 2, 10.0), uniform(generator, 0.05, 0.5));
        let hyper = Hyperparameters { beta, ..Hyperparameters::default() };
        let (w, l) = (reference[0], reference[1]);
        let eq1 = move |x: &Vector| loss_of_log_probs(Loss::Dpo, &hyper, x, (w, l));
        let odds = move |x: &Vector| at(x, 0).sub(&at(x, 1)).sub(&number(x, w - l)).scale(beta).log_sigmoid().neg();
        [Box::new(eq1), Box::new(odds)]
    });
    let (checks, holds) = identity_checks(worst);
    let evidence = format!("Over {PAIRS} pairs the two forms differ by at most {:.1e}, their gradients by {:.1e}.", worst.0, worst.1);
    Statement {
        id: "E1",
        claim: "Eq 1 equals its rearrangement into log-odds of the policy and of the reference",
        formula: "−ln σ(β(l_w − ln π_w) − β(l_l − ln π_l)) = −ln σ(β(l_w − l_l) − β(ln π_w − ln π_l))",
        source: concat!(file!(), "::e1"),
        verdicts: ["true", "false"],
    }
    .judge(checks, holds, evidence)
}

/// Length of the longest strings in the sums.
const LONGEST: usize = FREE;

/// Next-token probabilities of two tokens without an end: p(1 | prefix) for every prefix below the longest.
struct Endless {
    next: Vec<f64>,
}

impl Endless {
    fn draw(generator: &mut Generator) -> Self {
        Self { next: (0..1 << (LONGEST + 1)).map(|_| uniform(generator, 0.1, 0.9)).collect() }
    }

    /// Π_t p(y_t | y_<t).
    fn mass(&self, string: &[u32]) -> f64 {
        let prefix = |t: usize| string[..t].iter().fold(1, |row, &bit| 2 * row + bit as usize);
        let factor = |(t, &bit): (usize, &u32)| if bit == 1 { self.next[prefix(t)] } else { 1.0 - self.next[prefix(t)] };
        string.iter().enumerate().map(factor).product()
    }
}

/// (Σ over strings of 1 to 3 ordinary tokens of Π p without the end's factor, Σ_y π(y)·|y|). Both are the same number, because a completion
/// of k ordinary tokens has k beginnings.
fn beginnings(tree: &Tree, log_probs: &[f64]) -> (f64, f64) {
    let masses = tree.masses(log_probs);
    let mass = |prefix: &[u32]| -> f64 {
        tree.completions.iter().zip(&masses).filter(|(completion, _)| completion.starts_with(prefix)).map(|(_, mass)| mass).sum()
    };
    let total = (1..=LONGEST).flat_map(strings).map(|string| mass(&string)).sum();
    let length = tree.completions.iter().zip(&masses).map(|(completion, mass)| mass * (completion.len() - 1) as f64).sum();
    (total, length)
}

/// Makes the tree in which every prefix ends with the same probability, such that the beginnings' masses sum to `total` in (0, 3). The
/// share x that does not end solves x + x² + x³ = total.
fn ending_tree(tree: &Tree, total: f64, split: f64) -> Vec<f64> {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let x: f64 = 0.5 * (low + high);
        if x + x * x + x * x * x < total { low = x } else { high = x }
    }
    [(low * split).ln(), (low * (1.0 - split)).ln(), (1.0 - low).ln()].repeat(tree.rows())
}

/// Σ_y Π_t p(y_t | y_<t): 1 over completions with an end token, T over strings of 1 to T tokens without one.
fn e2(generator: &mut Generator) -> Claim {
    let tree = Tree::new();
    let drawn = tree.draw(generator);
    let with_end: f64 = tree.log_probs(&constant(&drawn)).exp().sum_all().item();
    let log_probs = constant(&drawn).reshape(&[tree.rows(), VOCABULARY]).log_softmax().to_f64();
    let (unended, mean_length) = beginnings(&tree, &log_probs);
    let (one_tree, _) = beginnings(&tree, &ending_tree(&tree, 1.115, uniform(generator, 0.2, 0.8)));
    let endless = Endless::draw(generator);
    let without: f64 = (1..=LONGEST).flat_map(strings).map(|string| endless.mass(&string)).sum();
    let (winner, loser) = ([0, 1, 1], [0, 1]);
    let neither: f64 = strings(LONGEST).iter().filter(|s| !s.starts_with(&loser)).map(|s| endless.mass(s)).sum();
    let missing = neither - (1.0 - endless.mass(&winner) - endless.mass(&loser));
    let checks = vec![
        Check::new("the total without an end token", without, LONGEST as f64, round_off(1.0)),
        Check::new("the total with an end token", with_end, 1.0, round_off(1.0)),
        Check::new("the beginnings' total, the end's factor left out", unended, mean_length, round_off(1.0)),
        Check::new("that total in a tree of mean length 1.115", one_tree, 1.115, round_off(1.0)),
        Check::new("what π_o misses where the loser begins the winner", missing, endless.mass(&winner), round_off(1.0)),
    ];
    let holds = (without - 1.0).abs() <= round_off(1.0);
    let evidence = format!(
        "With an end token all completions sum to {with_end:.12}. Without one in the vocabulary the strings of 1 to {LONGEST} tokens sum to \
         {without:.6}, one for each length, in every tree: 1.115 is no such total. It is one where the vocabulary has an end token whose factor \
         is left out: then the strings sum to the mean length, {unended:.4} in the drawn tree and {one_tree:.3} where each prefix ends with a \
         probability of 0.419. A loser that begins the winner makes 1 − π_w − π_l too small by π_w = {:.4}.",
        endless.mass(&winner)
    );
    Statement {
        id: "E2",
        claim: "Eq 2: the product of conditionals is a distribution over sequences",
        formula: "Σ_y Π_t p(y_t | x, y_<t) = 1",
        source: concat!(file!(), "::e2"),
        verdicts: ["true", "true only with an end token"],
    }
    .judge(checks, holds, evidence)
}

/// log_softmax(log_softmax z) = log_softmax z.
fn e3(generator: &mut Generator) -> Claim {
    let n = 8;
    let worst = apart(generator, n, |generator| {
        let cotangent = constant(&normals(generator, n, 1.0));
        let again = cotangent.clone();
        [Box::new(move |z: &Vector| z.log_softmax().mul(&cotangent)), Box::new(move |z: &Vector| z.log_softmax().log_softmax().mul(&again))]
    });
    let (checks, holds) = identity_checks(worst);
    let evidence =
        format!("log-softmax of log-probabilities gives them back to {:.1e}, with the same gradient to {:.1e}.", worst.0, worst.1);
    Statement {
        id: "E3",
        claim: "Eq 3: log-probabilities are valid softmax logits",
        formula: "logsoftmax(logsoftmax(z)) = logsoftmax(z)",
        source: concat!(file!(), "::e3"),
        verdicts: ["true", "false"],
    }
    .judge(checks, holds, evidence)
}

/// DPO from the products of token probabilities against DPO from the sums of token log-probabilities, with T_w ≠ T_l.
fn e4(generator: &mut Generator) -> Claim {
    let vocabulary = 5;
    let (t_w, t_l) = (2 + generator.below(3), 6 + generator.below(4));
    let n = t_w + t_l;
    let tokens: Vec<u32> = (0..n).map(|_| generator.below(vocabulary) as u32).collect();
    let [policy, reference] = [0, 1].map(|_| {
        let logits = Tensor::constant(&Default::default(), &normals(generator, n * vocabulary, 1.0), &[n, vocabulary]);
        logits.log_softmax().gather(&tokens.clone().into()).reshape(&[n])
    });
    let owner: Vec<u32> = (0..n).map(|t| u32::from(t >= t_w)).collect();
    let sums = |x: &Vector| {
        let sums = sequence_log_probs(x, &owner.clone().into(), &vec![true; n], 2).expect("no completion is empty");
        sums.log_probs
    };
    let reference_sums = sums(&reference).to_f64();
    let hyper = Hyperparameters::default();
    let eq4 = evaluate(&policy.to_f64(), |g| loss_of_log_probs(Loss::Dpo, &hyper, &sums(g), (reference_sums[0], reference_sums[1])));
    let product = |x: &[f64]| -> f64 { x.iter().map(|g| g.exp()).product() };
    let ratio = |part: std::ops::Range<usize>| product(&policy.to_f64()[part.clone()]) / product(&reference.to_f64()[part]);
    let eq1 = (-(hyper.beta * (ratio(0..t_w).ln() - ratio(t_w..n).ln()))).exp().ln_1p();
    let checks = vec![Check::new("Eq 4", eq4, eq1, round_off(1.0))];
    let holds = checks[0].agrees();
    let evidence = format!("T_w = {t_w}, T_l = {t_l}: {eq4:.15} from sums of log-probabilities, {eq1:.15} from products of probabilities.");
    Statement {
        id: "E4",
        claim: "Eq 4: DPO as a sum over tokens of differences of log-probabilities",
        formula: "ln Π exp(g_θ)/Π exp(g_ref) = Σ (g_θ − g_ref), for each completion over its own length",
        source: concat!(file!(), "::e4"),
        verdicts: ["true", "false"],
    }
    .judge(checks, holds, evidence)
}

/// −ln σ(β(S_w − S_l)) against the cross-entropy of softmax(βS_w, βS_l) with (1, 0).
fn e5(generator: &mut Generator) -> Claim {
    let worst = apart(generator, 2, |generator| {
        let beta = uniform(generator, 0.05, 0.5);
        let hyper = Hyperparameters { beta, ..Hyperparameters::default() };
        let dpo = move |s: &Vector| loss_of_log_probs(Loss::Dpo, &hyper, s, (0.0, 0.0));
        let cross_entropy = move |s: &Vector| s.scale(beta).reshape(&[1, 2]).cross_entropy(&[0u32].into());
        [Box::new(dpo), Box::new(cross_entropy)]
    });
    let (checks, holds) = identity_checks(worst);
    let evidence = format!("Over {PAIRS} pairs they differ by at most {:.1e}, their gradients by {:.1e}.", worst.0, worst.1);
    Statement {
        id: "E5",
        claim: "Eq 5: DPO is the cross-entropy of softmax(βS_w, βS_l) with the target (1, 0)",
        formula: "−ln σ(β(S_w − S_l)) = CCE((1, 0), softmax(βS_w, βS_l))",
        source: concat!(file!(), "::e5"),
        verdicts: ["true", "false"],
    }
    .judge(checks, holds, evidence)
}

/// BCE(y, σ(z₁ − z₂)) = CCE((y, 1 − y), softmax(z₁, z₂)).
fn a1(generator: &mut Generator) -> Claim {
    let worst = apart(generator, 2, |generator| {
        let y = uniform(generator, 0.0, 1.0);
        let binary = move |z: &Vector| {
            let difference = at(z, 0).sub(&at(z, 1));
            difference.log_sigmoid().scale(-y).add(&difference.neg().log_sigmoid().scale(y - 1.0))
        };
        let target = constant(&[y.ln(), (-y).ln_1p()]).reshape(&[1, 2]);
        let categorical = move |z: &Vector| soft_cross_entropy(&z.reshape(&[1, 2]), &target).expect("one shape");
        [Box::new(binary), Box::new(categorical)]
    });
    let (checks, holds) = identity_checks(worst);
    let evidence =
        format!("Over {PAIRS} pairs, labels between 0 and 1, they differ by {:.1e}, their gradients by {:.1e}.", worst.0, worst.1);
    Statement {
        id: "A1",
        claim: "Appendix A: binary cross-entropy of the sigmoid of a difference is categorical cross-entropy of a softmax of two",
        formula: "BCE(y, σ(z₁ − z₂)) = CCE((y, 1 − y), softmax(z₁, z₂))",
        source: concat!(file!(), "::a1"),
        verdicts: ["true", "false"],
    }
    .judge(checks, holds, evidence)
}
