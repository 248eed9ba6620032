//! The listing against Eq 6 as completions grow longer.

use super::figure::{Curve, Curves, Drawing, Figure};
use crate::audit::instance::{constant, evaluate};
use crate::audit::positions::Positions;
use engine::Generator;

/// Number of tokens of the longest completion.
const LONGEST: usize = 30;

pub fn figures(generator: &mut Generator) -> Vec<Figure> {
    let each: Vec<Positions> = (1..=LONGEST).map(|length| Positions::draw(generator, length)).collect();
    vec![complements(&each), optimum(&each)]
}

fn by_length(each: &[Positions], number: impl Fn(&Positions) -> f64) -> Vec<(f64, f64)> {
    each.iter().map(|positions| (positions.len() as f64, number(positions))).collect()
}

/// Draws −ln π_o and the listing's term in its place.
fn complements(each: &[Positions]) -> Figure {
    let term =
        |positions: &Positions| evaluate(&positions.logits, |z| positions.listing(z, &vec![0.0; positions.len()])) * positions.len() as f64;
    let others = |positions: &Positions| -evaluate(&positions.logits, |z| positions.log_probs(z).logsumexp().reshape(&[1]).log1mexp());
    let (terms, others) = (by_length(each, term), by_length(each, others));
    let (last, true_last) = (terms[19].1, others[19].1);
    let caption = format!(
        "At T = 20, −ln π_o is {true_last:.1e}, the listing's terms sum to {last:.2}: nearly every sequence is in y_o, hardly any avoids both tokens at every position."
    );
    let curves = vec![Curve::marks("Σ −ln(1 − p_t − q_t), the listing", terms), Curve::marks("−ln π_o, Eq 6", others)];
    let curves = Curves::new("tokens T", "the others' term", curves).log_y();
    Figure::new("complements", &["I3"], "What the listing sums for y_o", caption, Drawing::Curves(curves))
}

/// Draws π(y_w) at the minimum of each, on a logarithmic axis.
fn optimum(each: &[Positions]) -> Figure {
    let listing = |positions: &Positions| positions.p.iter().zip(&positions.q).map(|(p, q)| p + q).product::<f64>();
    let eq6 = |positions: &Positions| positions.log_probs(&constant(&positions.logits)).exp().sum_all().item();
    let (listing, eq6) = (by_length(each, listing), by_length(each, eq6));
    let ratio = listing[9].1 / eq6[9].1;
    let caption = format!(
        "Π(p_t + q_t) against Πp_t + Πq_t: at T = 10 the listing asks for {ratio:.0} times the winner that Eq 6 asks for, and the ratio grows geometrically."
    );
    let curves = vec![Curve::marks("the listing's optimum", listing), Curve::marks("Eq 6's target", eq6)];
    let curves = Curves::new("tokens T", "π(y_w) aimed at", curves).log_y();
    Figure::new("optimum", &["I8"], "What the listing aims at", caption, Drawing::Curves(curves))
}
