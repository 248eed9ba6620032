//! The paper's own Figures 1 and 2, redrawn from the engine.

use super::figure::{Curve, Curves, Drawing, Figure, steps};
use crate::audit::instance::{constant, differentiate, evaluate};
use crate::exact::soft_cross_entropy::soft_cross_entropy;
use engine::{Generator, Tensor};

pub fn figures(_: &mut Generator) -> Vec<Figure> {
    vec![soft_targets(), step_function()]
}

/// Figure 1: cross-entropy with y_true other than 0 or 1.
fn soft_targets() -> Figure {
    let loss = |q: f64, p: f64| {
        let target = constant(&[q.ln(), (-q).ln_1p()]).reshape(&[1, 2]);
        evaluate(&[p.ln(), (-p).ln_1p()], |z| soft_cross_entropy(&Tensor::reshape(z, &[1, 2]), &target).expect("one shape"))
    };
    let targets = [0.3, 0.6, 0.8, 1.0];
    let mut curves: Vec<Curve> =
        targets.iter().map(|&q| Curve::line(format!("y_true = {q}"), steps(0.01, 0.99, 99).map(|p| (p, loss(q, p))).collect())).collect();
    curves.push(Curve::marks("minimum, at p = y_true", targets.iter().map(|&q| q.min(1.0 - 1e-9)).map(|q| (q, loss(q, q))).collect()));
    let caption = format!(
        "Figure 1 of the paper: a target other than 0 or 1 is a valid use of cross-entropy. Each curve has its minimum where the prediction is the \
         target; its value there is the target's entropy ({:.4} for 0.6), not 0.",
        loss(0.6, 0.6)
    );
    let curves = Curves::new("predicted probability", "cross-entropy (nats)", curves);
    Figure::new(
        "paper-figure-1",
        &["P1"],
        "The paper's Figure 1, redrawn: cross-entropy aims at any probability",
        caption,
        Drawing::Curves(curves),
    )
}

/// Figure 2: ten equal logits under −ln σ of their sum. Each moves a little, and the gradient is read at the sum.
fn step_function() -> Figure {
    const LOGITS: usize = 10;
    const RATE: f64 = 0.4;
    let sigmoid = |z: f64| constant(&[z]).sigmoid().item();
    let mut alpha = vec![0.0];
    for _ in 0..4 {
        let now = alpha[alpha.len() - 1];
        let slope = differentiate(&[now; LOGITS], |x| x.sum_all().log_sigmoid().neg()).1[0];
        alpha.push(now - RATE * slope);
    }
    let of_sum = |a: f64| LOGITS as f64 * a;
    let curves = vec![
        Curve::line("σ(z), one logit", steps(-4.0, 4.0, 81).map(|z| (z, sigmoid(z))).collect()),
        Curve::line("σ(10z), the sum of ten", steps(-4.0, 4.0, 161).map(|z| (z, sigmoid(of_sum(z)))).collect()),
        Curve::marks("a logit's updates", alpha.iter().map(|&a| (a, sigmoid(a))).collect()),
        Curve::marks("where the gradient is read", alpha.iter().map(|&a| (of_sum(a), sigmoid(of_sum(a)))).collect()),
    ];
    let caption = format!(
        "Figure 2 of the paper: one update takes each of ten logits from 0 to {:.2}, but the next gradient is read at their sum {:.2}, on the flat \
         part of the curve; four updates come to {:.3}. The step that the sum makes of σ is that of a temperature of 1/10.",
        alpha[1],
        of_sum(alpha[1]),
        alpha[4]
    );
    let curves = Curves::new("z", "σ", curves);
    Figure::new(
        "paper-figure-2",
        &["K3a", "K3b"],
        "The paper's Figure 2, redrawn: the gradient is read at the sum",
        caption,
        Drawing::Curves(curves),
    )
}
