//! The effect of gradient descent on the loser, on the sequences inside y_o, and under the paper's listing.

use super::figure::{Curve, Curves, Drawing, Figure};
use crate::audit::forked_pair::ForkedPair;
use crate::audit::implementation::Collision;
use crate::audit::instance::{World, constant, descend, differentiate, eq7, loss_of_logits, uniform};
use crate::audit::positions::Positions;
use crate::audit::tree::VOCABULARY;
use crate::loss::Loss;
use engine::{Generator, Tensor};

pub fn figures(generator: &mut Generator) -> Vec<Figure> {
    vec![loser(generator), inside_others(generator), collision(generator), broadcast(generator)]
}

/// Returns the points that gradient descent passes, the start included, every `stride` steps.
pub fn trajectory(x: &[f64], step: f64, steps: usize, stride: usize, f: impl Fn(&Tensor<World>) -> Tensor<World>) -> Vec<Vec<f64>> {
    let mut passed = vec![x.to_vec()];
    for _ in 0..steps / stride {
        let last = descend(&passed[passed.len() - 1], step, stride, &f);
        passed.push(last);
    }
    passed
}

/// Computes a number along a trajectory: (the step, the number).
fn along(passed: &[Vec<f64>], stride: usize, number: impl Fn(&[f64]) -> f64) -> Vec<(f64, f64)> {
    passed.iter().enumerate().map(|(i, x)| ((i * stride) as f64, number(x))).collect()
}

/// Eq 6 in three classes: π_l → 0 like 2/(3t).
fn loser(generator: &mut Generator) -> Figure {
    let (pi_w, pi_l) = (uniform(generator, 0.1, 0.3), uniform(generator, 0.1, 0.3));
    let stride = 20;
    let start = [pi_w.ln(), pi_l.ln(), (1.0 - pi_w - pi_l).ln()];
    let passed = trajectory(&start, 1.0, 1600, stride, |z| loss_of_logits(Loss::Slpo, &eq7(1.0), z, (start[0], start[1])));
    let share = |class: usize| along(&passed, stride, |z| constant(z).softmax().to_f64()[class]);
    let law = (1..passed.len()).map(|i| (i * stride) as f64).map(|t| (t, 2.0 / (3.0 * t))).collect();
    let curves = vec![Curve::line("π(y_w)", share(0)), Curve::line("π(y_l)", share(1)), Curve::line("2/(3t)", law)];
    let mass = pi_w + pi_l;
    let caption = format!("The winner reaches its target m = {mass:.3}; the loser falls like 1/t and never arrives at 0.");
    let curves = Curves::new("steps of gradient descent", "probability", curves).log_y().level("m", mass);
    Figure::new("loser", &["S1"], "Eq 6's minimum is approached, not attained", caption, Drawing::Curves(curves))
}

/// π(y)/π_ref(y) of every sequence of y_o after training on the enumerable tree.
fn inside_others(generator: &mut Generator) -> Figure {
    let pair = ForkedPair::draw(generator);
    let masses = |logits: &[f64]| {
        let rows = constant(logits).reshape(&[pair.tree.rows(), VOCABULARY]).log_softmax().to_f64();
        pair.tree.masses(&rows)
    };
    let reference = masses(&pair.reference);
    let eq6 = masses(&descend(&pair.reference, 2.0, 2500, |z| pair.eq6(z)));
    let exact = masses(&descend(&pair.reference, 2.0, 2500, |z| pair.exact(z)));
    let is_other = |i: &usize| ![&pair.winner[..], &pair.loser[..]].contains(&&pair.tree.completions[*i][..]);
    let others: Vec<usize> = (0..reference.len()).filter(is_other).collect();
    let ratios = |trained: &[f64]| others.iter().map(|&i| (reference[i], trained[i] / reference[i])).collect::<Vec<_>>();
    let [by_eq6, by_exact] = [&eq6, &exact].map(|trained| ratios(trained));
    let farthest = |points: &[(f64, f64)]| {
        points.iter().map(|p| p.1).fold(1.0, |far: f64, r| if (r - 1.0).abs() > (far - 1.0).abs() { r } else { far })
    };
    let total = |trained: &[f64]| others.iter().map(|&i| trained[i]).sum::<f64>();
    let loser = pair.tree.index(&pair.loser);
    let caption = format!(
        "Each mark is one of the {} other sequences of an enumerable model after 2500 steps; on the dashed line it has kept its probability. Under \
         Eq 6 their total goes from {:.4} to {:.4} but single ones change by up to the factor {:.3}; towards Q* none is farther than {:.4}. The \
         loser went from {:.4} to {:.1e} and {:.1e}.",
        others.len(),
        total(&reference),
        total(&eq6),
        farthest(&by_eq6),
        farthest(&by_exact),
        reference[loser],
        eq6[loser],
        exact[loser]
    );
    let curves = vec![Curve::marks("Eq 6", by_eq6), Curve::marks("towards Q*", by_exact)];
    let curves = Curves::new("π_ref(y)", "π(y)/π_ref(y)", curves).level("kept", 1.0);
    Figure::new("inside-others", &["S3", "S6"], "The mass inside y_o, sequence by sequence", caption, Drawing::Curves(curves))
}

/// The listing's loss at a position where both completions have one token.
fn collision(generator: &mut Generator) -> Figure {
    let collision = Collision::draw(generator);
    let stride = 5;
    let losses = |mended: bool| {
        let loss = |z: &Tensor<World>| collision.loss(z, mended);
        let passed = trajectory(&collision.reference, 1.0, 300, stride, loss);
        along(&passed, stride, |z| differentiate(z, loss).0)
    };
    let (printed, mended) = (losses(false), losses(true));
    let end = printed[printed.len() - 1].1;
    let caption = format!(
        "p_ref = {:.3} at a position where y_w and y_l have the same token, so w = 2p_ref = {:.3} > 1: the listing's loss passes {end:.1} after 300 \
         steps and goes on falling. Mended, with one class of mass p_ref, it rests at its minimum.",
        collision.p,
        2.0 * collision.p
    );
    let curves = vec![Curve::line("the listing", printed), Curve::line("mended", mended)];
    let curves = Curves::new("steps of gradient descent", "loss of the position", curves);
    Figure::new("collision", &["I6"], "The listing is unbounded where the tokens collide", caption, Drawing::Curves(curves))
}

/// π(y_w) under the listing with the sequence-level weight at every position.
fn broadcast(generator: &mut Generator) -> Figure {
    let positions = Positions::draw(generator, 3);
    let (pi_w, pi_l) = positions.sequences();
    let stride = 5;
    let winner = |weights: Vec<f64>| {
        let passed = trajectory(&positions.logits, 1.0, 200, stride, |z| positions.listing(z, &weights));
        along(&passed, stride, |z| positions.log_probs(&constant(z)).to_f64()[0].exp())
    };
    let by_token = positions.p.iter().zip(&positions.q).map(|(p, q)| p + q).collect();
    let curves = vec![
        Curve::line("w_w = π_w + π_l everywhere", winner(vec![pi_w + pi_l; positions.len()])),
        Curve::line("w_w,t = p_w + p_l of the token", winner(by_token)),
    ];
    let caption = format!(
        "T = {}. With the sequence's w_w = {:.4} broadcast over the positions, as the listing's (B, T) argument invites, descent drives the winner \
         from {pi_w:.4} towards w_w^T = {:.1e}.",
        positions.len(),
        pi_w + pi_l,
        (pi_w + pi_l).powi(positions.len() as i32)
    );
    let curves = Curves::new("steps of gradient descent", "π(y_w)", curves).log_y().level("Eq 6's target", pi_w + pi_l);
    Figure::new("broadcast", &["I5"], "A sequence's weight at every position trains backwards", caption, Drawing::Curves(curves))
}
