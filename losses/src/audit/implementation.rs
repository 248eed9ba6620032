//! Section 6.1: its text and its listing, beside Eq 6.

use super::claim::{Check, Claim, Statement, distance, round_off};
use super::instance::{World, at, constant, descend, differentiate, eq7, evaluate, logaddexp, loss_of_log_probs, normals, uniform};
use super::tree::{END, FREE, Tree, VOCABULARY};
use crate::loss::Loss;
use crate::slpo_literal::slpo_literal;
use crate::slpo_token::slpo_token;
use crate::token::{TokenInputs, TokenWeights};
use engine::backend::Indices;
use engine::{Generator, Tensor};

pub const CLAIMS: &[super::Computation] = &[i1, i2, i3, i4, i5, i6, i7, i8];

type Vector = Tensor<World>;

/// Tokens of the vocabulary where positions are independent of each other.
const TOKENS: usize = 4;

/// T positions whose next-token distributions do not depend on the prefix, with a winning and a losing token at each.
struct Positions {
    chosen: Indices,
    rejected: Indices,
    /// The winning and the losing tokens' probabilities.
    p: Vec<f64>,
    q: Vec<f64>,
    /// [T · V], the logarithms of the probabilities.
    logits: Vec<f64>,
}

impl Positions {
    /// Winning tokens of probability 0.25 to 0.35, losing ones of 0.15 to 0.25; the rest is shared by the others.
    fn draw(generator: &mut Generator, length: usize) -> Self {
        let (mut chosen, mut rejected, mut p, mut q, mut logits) = (vec![], vec![], vec![], vec![], vec![]);
        for _ in 0..length {
            let order = generator.permutation(TOKENS);
            let (w, l) = (uniform(generator, 0.25, 0.35), uniform(generator, 0.15, 0.25));
            let part = uniform(generator, 0.3, 0.7);
            let mut row = [0.0; TOKENS];
            let masses = [w, l, (1.0 - w - l) * part, (1.0 - w - l) * (1.0 - part)];
            order.iter().zip(masses).for_each(|(&token, mass)| row[token] = mass.ln());
            chosen.push(order[0] as u32);
            rejected.push(order[1] as u32);
            p.push(w);
            q.push(l);
            logits.extend(row);
        }
        Self { chosen: chosen.into(), rejected: rejected.into(), p, q, logits }
    }

    fn len(&self) -> usize {
        self.p.len()
    }

    /// (π(y_w), π(y_l)).
    fn sequences(&self) -> (f64, f64) {
        (self.p.iter().product(), self.q.iter().product())
    }

    /// The listing's loss with these weights, the mean over the positions.
    fn listing(&self, logits: &Vector, w_w: &[f64]) -> Vector {
        let inputs = token_inputs(&logits.reshape(&[self.len(), TOKENS]), &self.chosen, &self.rejected, w_w, None);
        inputs.mean(&slpo_literal(&inputs))
    }

    /// (l_w, l_l) of both sequences as [2], from logits [T · V].
    fn log_probs(&self, logits: &Vector) -> Vector {
        let log_probs = logits.reshape(&[self.len(), TOKENS]).log_softmax();
        let sum = |tokens: &Indices| log_probs.gather(tokens).sum_all().reshape(&[1]);
        Tensor::concat(&[&sum(&self.chosen), &sum(&self.rejected)], 0)
    }
}

fn token_inputs(logits: &Vector, chosen: &Indices, rejected: &Indices, w_w: &[f64], w_l: Option<&[f64]>) -> TokenInputs<World> {
    let weights = TokenWeights::given(&constant(w_w), w_l.map(constant).as_ref()).expect("one weight for each position");
    TokenInputs::new(logits, chosen, rejected, weights, None).expect("tokens of the vocabulary, one for each position")
}

/// ∂L/∂z of the first losing token's logit at the start: π_l by Eq 6, (m − (1 − m)π_w/(1 − π_w))·q₁ by the text, q₁/T by the listing.
fn i1(generator: &mut Generator) -> Claim {
    let length = 2 + generator.below(2);
    let positions = Positions::draw(generator, length);
    let (pi_w, pi_l) = positions.sequences();
    let mass = pi_w + pi_l;
    let reference = (pi_w.ln(), pi_l.ln());
    let text = |x: &Vector| {
        let (l_w, complement) = (at(x, 0), at(x, 0).log1mexp());
        l_w.scale(-mass).sub(&complement.scale(1.0 - mass))
    };
    let token_weights: Vec<f64> = positions.p.iter().zip(&positions.q).map(|(p, q)| p + q).collect();
    let entry = positions.rejected[0] as usize;
    let slope = |f: &dyn Fn(&Vector) -> Vector| differentiate(&positions.logits, f).1[entry];
    let from_eq6 = slope(&|z| loss_of_log_probs(Loss::Slpo, &eq7(1.0), &positions.log_probs(z), reference));
    let from_text = slope(&|z| text(&positions.log_probs(z)));
    let from_listing = slope(&|z| positions.listing(z, &token_weights));
    let on_l_l = |f: &dyn Fn(&Vector) -> Vector| differentiate(&[reference.0, reference.1], f).1[1];
    let q = positions.q[0];
    let checks = vec![
        Check::new("Eq 6's ∂L/∂l_l", on_l_l(&|x| loss_of_log_probs(Loss::Slpo, &eq7(1.0), x, reference)), pi_l, round_off(1.0)),
        Check::new("the text's ∂L/∂l_l", on_l_l(&text), 0.0, round_off(1.0)),
        Check::new("Eq 6 on the logit", from_eq6, pi_l, round_off(1.0)),
        Check::new("the text on the logit", from_text, (mass - (1.0 - mass) * pi_w / (1.0 - pi_w)) * q, round_off(1.0)),
        Check::new("the listing on the logit", from_listing, q / positions.len() as f64, round_off(1.0)),
    ];
    let holds = distance(&[from_eq6, from_eq6], &[from_text, from_listing]) <= round_off(1.0);
    let evidence = format!(
        "At the start ∂L/∂l_l is +π_l = {:.5} by Eq 6 and {:.0e} by the text; on the first losing token's logit Eq 6 has {from_eq6:.5}, the text \
         {from_text:.5}, the listing {from_listing:.5}.",
        checks[0].value, checks[1].value
    );
    Statement {
        id: "I1",
        claim: "Section 6.1's text and its listing implement Eq 6",
        formula: "∂L/∂l_l and ∂L/∂z of the first losing token at π_θ = π_ref, by each of the three",
        source: concat!(file!(), "::i1"),
        verdicts: ["true", "false: they are three different objectives"],
    }
    .judge(checks, holds, evidence)
}

/// logsumexp of ln p over all but one token is ln(1 − p_w); of p itself it is ln Σ e^p ≥ ln(V − 1).
fn i2(generator: &mut Generator) -> Claim {
    let v = 8;
    let winner = generator.below(v);
    let keep: Vec<bool> = (0..v).map(|token| token != winner).collect();
    let log_p = super::instance::log_distribution(generator, v);
    let p: Vec<f64> = log_p.iter().map(|x| x.exp()).collect();
    let masked = |x: &[f64]| constant(x).masked_logsumexp(&keep).item();
    let plain = p.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(p, _)| p.exp()).sum::<f64>().ln();
    let eighth = 1.0 / v as f64;
    let checks = vec![
        Check::new("logsumexp of π", masked(&p), plain, round_off(1.0)),
        Check::new("logsumexp of ln π", masked(&log_p), (-p[winner]).ln_1p(), round_off(1.0)),
        Check::new("logsumexp of a uniform π", masked(&vec![eighth; v]), 7f64.ln() + eighth, round_off(1.0)),
        Check::new("logsumexp of a uniform ln π", masked(&vec![eighth.ln(); v]), (7.0 / 8.0f64).ln(), round_off(1.0)),
    ];
    let holds = (checks[0].value - checks[1].value).abs() <= round_off(1.0);
    let evidence = format!(
        "V = {v}, one token masked: logsumexp of π is {:+.4}, of ln π {:+.4} = ln P(y_o + y_l). For a uniform π: {:+.4} and {:+.4}.",
        checks[0].value, checks[1].value, checks[2].value, checks[3].value
    );
    Statement {
        id: "I2",
        claim: "Section 6.1: log P(y_o + y_l) = logsumexp of π_θ",
        formula: "ln Σ e^{ln π} = ln Σ π, while ln Σ e^π ≥ ln(V − 1) > 0",
        source: concat!(file!(), "::i2"),
        verdicts: ["true", "false: it is the logsumexp of ln π_θ"],
    }
    .judge(checks, holds, evidence)
}

/// Σ_t ln(1 − p_t − q_t) is the log-mass of the sequences that avoid both tokens at every position, not of y_o.
fn i3(generator: &mut Generator) -> Claim {
    let long = Positions::draw(generator, 20);
    let term = |positions: &Positions| {
        let none = vec![0.0; positions.len()];
        -evaluate(&positions.logits, |z| positions.listing(z, &none)) * positions.len() as f64
    };
    let complement: f64 = long.p.iter().zip(&long.q).map(|(p, q)| (1.0 - p - q).ln()).sum();
    let others = evaluate(&long.logits, |z| long.log_probs(z).logsumexp().reshape(&[1]).log1mexp());
    let (pi_w, pi_l) = long.sequences();
    let short = Positions::draw(generator, 3);
    let avoiding = enumerate(&short, |t, token| token != short.chosen[t] && token != short.rejected[t]);
    let all = enumerate(&short, |_, _| true);
    let checks = vec![
        Check::new("the listing's term", term(&long), complement, round_off(complement)),
        Check::new("ln π_o", others, -(pi_w + pi_l), (pi_w + pi_l).powi(2) + round_off(1.0) * (pi_w + pi_l)),
        Check::new("the term of a short one, against enumeration", term(&short), avoiding.ln(), round_off(5.0)),
        Check::new("the total by enumeration", all, 1.0, round_off(1.0)),
    ];
    let holds = (checks[0].value - others).abs() <= round_off(complement);
    let evidence = format!("T = 20: ln π_o = {others:.2e}, but the listing's terms for the others sum to {:.3}.", checks[0].value);
    Statement {
        id: "I3",
        claim: "Section 6.1: the V×T complements of the tokens stand for the sequences y_o",
        formula: "Σ_t ln(1 − p_t − q_t) against ln(1 − Πp_t − Πq_t)",
        source: concat!(file!(), "::i3"),
        verdicts: ["true", "false: they stand for the sequences that avoid both tokens everywhere"],
    }
    .judge(checks, holds, evidence)
}

/// The mass of all sequences whose every token is kept, one after the other.
fn enumerate(positions: &Positions, keep: impl Fn(usize, u32) -> bool) -> f64 {
    let mut masses = vec![1.0];
    for t in 0..positions.len() {
        let kept: Vec<f64> =
            (0..TOKENS).filter(|&token| keep(t, token as u32)).map(|token| positions.logits[t * TOKENS + token].exp()).collect();
        masses = masses.iter().flat_map(|mass| kept.iter().map(move |p| mass * p)).collect();
    }
    masses.iter().sum()
}

/// p(l_t | w_<t), which the listing's logits hold, against p(l_t | l_<t): the same up to the fork only.
fn i4(generator: &mut Generator) -> Claim {
    let tree = Tree::new();
    let logits = tree.draw(generator);
    let log_probs = constant(&logits).reshape(&[tree.rows(), VOCABULARY]).log_softmax().to_f64();
    let masses = tree.masses(&log_probs);
    let (winner, loser) = ([0, 0, 1, END], [0, 1, 0, END]);
    let under_winner = tree.along(&log_probs, &winner)[..FREE * VOCABULARY].to_vec();
    let zeros = [0.0; FREE];
    let rows = constant(&under_winner).reshape(&[FREE, VOCABULARY]);
    let inputs = token_inputs(&rows, &winner[..FREE].to_vec().into(), &loser[..FREE].to_vec().into(), &zeros, Some(&[1.0; FREE]));
    let column: Vec<f64> = slpo_token(&inputs).to_f64().iter().map(|x| -x).collect();
    let mass_of = |prefix: &[u32]| -> f64 {
        tree.completions.iter().zip(&masses).filter(|(completion, _)| completion.starts_with(prefix)).map(|(_, mass)| mass).sum()
    };
    let after = |prefix: &[u32], token: u32| (mass_of(&[prefix, &[token]].concat()) / mass_of(prefix)).ln();
    let predicted: Vec<f64> = (0..FREE).map(|t| after(&winner[..t], loser[t])).collect();
    let factors: Vec<f64> = (0..FREE).map(|t| after(&loser[..t], loser[t])).collect();
    let total = |x: &[f64]| x.iter().sum::<f64>();
    let checks = vec![
        Check::new("the column's sum", total(&column), total(&predicted), round_off(5.0)),
        Check::new("its distance from ln p(l_t | w_<t)", distance(&column, &predicted), 0.0, round_off(5.0)),
        Check::new("up to the fork, from the loser's factors", distance(&column[..2], &factors[..2]), 0.0, round_off(5.0)),
        Check::new("the loser's factors' sum", total(&factors), masses[tree.index(&loser)].ln(), round_off(5.0)),
    ];
    let holds = distance(&column, &factors) <= round_off(5.0);
    let evidence = format!(
        "The listing's column for y_l sums to {:.5}, ln π(y_l) is {:.5}: they part after the fork, where it reads {:.5} for {:.5}.",
        total(&column),
        total(&factors),
        column[2],
        factors[2]
    );
    Statement {
        id: "I4",
        claim: "The listing's y_l column holds the factors of π(y_l)",
        formula: "p(l_t | w_<t) against p(l_t | l_<t)",
        source: concat!(file!(), "::i4"),
        verdicts: ["true", "false after the fork: it is scored under y_w's prefix, and lengths are forced equal"],
    }
    .judge(checks, holds, evidence)
}

/// ∂/∂ln p_w = −w + (1 − w)p_w/(1 − p_w − p_l) > 0 where w is a whole sequence's mass: descent lowers the winner.
fn i5(generator: &mut Generator) -> Claim {
    let positions = Positions::draw(generator, 6);
    let (pi_w, pi_l) = positions.sequences();
    let w = pi_w + pi_l;
    let (p, q) = (positions.p[0], positions.q[0]);
    let one_position = |x: &Vector| {
        let others = x.logsumexp().reshape(&[1]).log1mexp();
        at(x, 0).scale(-w).sub(&others.scale(1.0 - w))
    };
    let slope = differentiate(&[p.ln(), q.ln()], one_position).1[0];
    let broadcast = vec![w; positions.len()];
    let loss = |z: &Vector| positions.listing(z, &broadcast);
    let entry = positions.chosen[0] as usize;
    let on_logit = differentiate(&positions.logits, loss).1[entry];
    let trained = descend(&positions.logits, 1.0, 100, loss);
    let after = positions.log_probs(&constant(&trained)).to_f64()[0].exp();
    let checks = vec![
        Check::new("∂/∂ln p_w", slope, -w + (1.0 - w) * p / (1.0 - p - q), round_off(1.0)),
        Check::new("∂/∂z_w of the listing", on_logit, (p - w) / positions.len() as f64, round_off(1.0)),
    ];
    let holds = after > pi_w;
    let evidence =
        format!("w_w = {w:.2e} at every position: ∂/∂ln p_w = {slope:+.4}; 100 steps of descent take π_w from {pi_w:.2e} to {after:.2e}.");
    Statement {
        id: "I5",
        claim: "The listing with the sequence-level w_w at every position raises the winner",
        formula: "∂L/∂ln p_w = −w + (1 − w)p_w/(1 − p_w − p_l)",
        source: concat!(file!(), "::i5"),
        verdicts: ["true", "false: it trains backwards"],
    }
    .judge(checks, holds, evidence)
}

/// At y_w,t = y_l,t the weight is w = 2p > 1 for p > ½, and the loss falls as (1 − w) for each unit of the logit, without end.
fn i6(generator: &mut Generator) -> Claim {
    let p = uniform(generator, 0.6, 0.9);
    let rest = super::instance::log_distribution(generator, TOKENS - 1);
    let reference: Vec<f64> = std::iter::once(p.ln()).chain(rest.iter().map(|x| x + (1.0 - p).ln())).collect();
    let same: Indices = [0u32].into();
    let row = |z: &Vector| z.reshape(&[1, TOKENS]);
    let weights = |mended: bool| {
        let reference = row(&constant(&reference));
        let weights = match mended {
            true => TokenWeights::from_reference(crate::weights::Weights::Eq7 { alpha: 1.0 }, &reference, &same, &same),
            false => TokenWeights::literal(&reference, &same, &same),
        };
        weights.expect("tokens of the vocabulary")
    };
    let inputs = |z: &Vector, mended| TokenInputs::new(&row(z), &same, &same, weights(mended), None).expect("one position");
    let printed = |k: f64| differentiate(&[k, 0.0, 0.0, 0.0], |z| slpo_literal(&inputs(z, false)));
    let mended = differentiate(&reference, |z| slpo_token(&inputs(z, true)));
    let (near, far) = (printed(40.0), printed(80.0));
    let w = 2.0 * p;
    let checks = vec![
        Check::new("the loss's slope in the logit, far out", far.1[0], 1.0 - w, round_off(1.0)),
        Check::new("its fall from 40 to 80", far.0 - near.0, 40.0 * (1.0 - w), round_off(80.0)),
        Check::new("the mended form's gradient at the reference", distance(&mended.1, &[0.0; TOKENS]), 0.0, round_off(1.0)),
    ];
    let holds = far.0 >= near.0 - round_off(80.0);
    let evidence = format!(
        "p_ref = {p:.4}, so w = {w:.4}: the listing's loss is {:.3} at the logit 40 and {:.3} at 80. With one class of mass p_ref it has its \
         minimum at the reference.",
        near.0, far.0
    );
    Statement {
        id: "I6",
        claim: "The listing is a loss also where y_w and y_l have the same token",
        formula: "L = −2p ln π − (1 − 2p) ln(1 − π)",
        source: concat!(file!(), "::i6"),
        verdicts: ["true", "false: unbounded below where p_ref > ½"],
    }
    .judge(checks, holds, evidence)
}

/// Defects at the edges: NaN where no other token is left, no w_l, and a mean that padding takes part in.
fn i7(generator: &mut Generator) -> Claim {
    let two = constant(&normals(generator, 2, 1.0)).reshape(&[1, 2]);
    let nothing_left = slpo_literal(&token_inputs(&two, &[0u32].into(), &[1u32].into(), &[1.0], None)).item();
    let positions = Positions::draw(generator, 3);
    let logits = constant(&positions.logits).reshape(&[3, TOKENS]);
    let w_w: Vec<f64> = (0..3).map(|_| uniform(generator, 0.3, 0.6)).collect();
    let with_w_l = |w_l: &[f64]| slpo_literal(&token_inputs(&logits, &positions.chosen, &positions.rejected, &w_w, Some(w_l)));
    let ignored = distance(&with_w_l(&[0.0; 3]).to_f64(), &with_w_l(&[0.3; 3]).to_f64());
    let each = with_w_l(&[0.0; 3]).to_f64();
    let whole = positions.listing(&constant(&positions.logits), &w_w).item();
    let unpadded = each[..2].iter().sum::<f64>() / 2.0;
    let checks = vec![
        Check::new("is it NaN where no other token is left", f64::from(nothing_left.is_nan()), 1.0, 0.0),
        Check::new("what w_l changes", ignored, 0.0, 0.0),
        Check::new("what a padded third position changes", whole - unpadded, (each[2] - unpadded) / 3.0, round_off(1.0)),
    ];
    let holds = !nothing_left.is_nan() && ignored > 0.0 && (whole - unpadded).abs() <= round_off(1.0);
    let evidence = format!(
        "V = 2 gives {nothing_left}; w_l = 0.3 instead of 0 changes the loss by {ignored:.0e}; a third position that should be padding changes \
         it by {:+.4}.",
        whole - unpadded
    );
    Statement {
        id: "I7",
        claim: "The listing computes the loss of any batch of prompts, padding and tokens",
        formula: "0·(−∞) = NaN; no w_l; no mask; mean over B·T",
        source: concat!(file!(), "::i7"),
        verdicts: ["true", "defects: NaN where no other token is left, no w_l, no mask for prompt or padding"],
    }
    .judge(checks, holds, evidence)
}

/// The listing is at rest at p_w,t = p_t + q_t and p_l,t → 0, so π_w = Π(p_t + q_t); Eq 6's target is Πp_t + Πq_t.
fn i8(generator: &mut Generator) -> Claim {
    let positions = Positions::draw(generator, 10);
    let weights: Vec<f64> = positions.p.iter().zip(&positions.q).map(|(p, q)| p + q).collect();
    let mut rest = positions.logits.clone();
    for (t, row) in rest.chunks_mut(TOKENS).enumerate() {
        row[positions.chosen[t] as usize] = weights[t].ln();
        row[positions.rejected[t] as usize] = -60.0;
    }
    let slope = differentiate(&rest, |z| positions.listing(z, &weights)).1;
    let reached = positions.log_probs(&constant(&rest)).to_f64()[0];
    let (pi_w, pi_l) = positions.sequences();
    let target = (pi_w + pi_l).ln();
    let product: f64 = weights.iter().product();
    let equal = (10.0 * (2.0 * positions.p[0]).ln() - logaddexp(10.0 * positions.p[0].ln(), 10.0 * positions.p[0].ln())).exp();
    let checks = vec![
        Check::new("ln π_w where the listing is at rest", reached, product.ln(), round_off(10.0)),
        Check::new("the listing's slope there", distance(&slope, &vec![0.0; slope.len()]), 0.0, round_off(1.0)),
        Check::new("the ratio to Eq 6's target for p = q", equal, 512.0, round_off(512.0 * 40.0)),
    ];
    let holds = (reached - target).abs() <= round_off(10.0);
    let evidence = format!(
        "T = 10: the listing rests at π_w = {:.3e}, Eq 6's target is {:.3e}, a factor of {:.1}; for p = q it is {equal:.0}.",
        reached.exp(),
        target.exp(),
        (reached - target).exp()
    );
    Statement {
        id: "I8",
        claim: "The listing's optimum is Eq 6's",
        formula: "Π(p_t + q_t) against Πp_t + Πq_t",
        source: concat!(file!(), "::i8"),
        verdicts: ["true", "false: it asks for far more of the winner"],
    }
    .judge(checks, holds, evidence)
}
