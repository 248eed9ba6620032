//! Key Observation 3's softmax of a sum, and the two sides of Appendix B.

use super::figure::{Curve, Curves, Drawing, Figure, steps};
use crate::audit::instance::{constant, evaluate, normals, number, uniform};
use crate::audit::observations::{T, inputs, jensen_gap, second_order};
use engine::Generator;

pub fn figures(generator: &mut Generator) -> Vec<Figure> {
    vec![jensen(generator), appendix_b(generator)]
}

fn jensen(generator: &mut Generator) -> Figure {
    let deviations = normals(generator, T, 1.0);
    let centre = uniform(generator, 0.8, 1.5) / T as f64;
    // T·sd from 0.02 to 5, by equal ratios.
    let spreads = steps(0.02f64.ln(), 5f64.ln(), 45).map(f64::exp);
    let alpha = |spread: f64| inputs(&deviations, centre, spread / T as f64);
    let measured = spreads.clone().map(|s| (s, jensen_gap(&alpha(s), 1.0).abs())).collect();
    let predicted = spreads.map(|s| (s, second_order(&alpha(s), 1.0).0.abs())).collect();
    let caption = format!(
        "The gap between the mean of T = {T} softmaxes at temperature 1/T and the softmax of the sum, around ᾱ = {centre:.4}. It is zero for equal \
         inputs and follows ½T²Var(α)·σ″(Tᾱ) until T times the standard deviation is near 1, where it is {:.1e} of a probability at most 1.",
        jensen_gap(&alpha(1.0), 1.0).abs()
    );
    let curves = vec![Curve::marks("measured", measured), Curve::line("second order", predicted)];
    let curves = Curves::new("T · standard deviation of the inputs", "|gap|", curves).log_y();
    Figure::new("jensen-gap", &["K3a"], "Softmax of a sum against the mean of cold softmaxes", caption, Drawing::Curves(curves))
}

/// Both sides of Appendix B's step from temp⁻¹·(softmax(z/temp) − y) to the form with −log temp in the exponents, and Eq 9 as printed.
fn appendix_b(generator: &mut Generator) -> Figure {
    let (inverse, c) = (100.0, uniform(generator, 0.1, 1.0));
    let first = |z: f64, shift: f64| constant(&[z * inverse + shift, shift]).softmax().to_f64()[0];
    let printed = |z: f64| evaluate(&[z * inverse], |x| x.exp().div(&x.add(&number(x, c)).exp()));
    let over = |f: &dyn Fn(f64) -> f64| steps(-0.08, 0.08, 65).map(|z| (z, f(z).abs())).collect::<Vec<_>>();
    let curves = vec![
        Curve::line("temp⁻¹(softmax(z/temp) − y)", over(&|z| inverse * (first(z, 0.0) - 1.0))),
        Curve::line("softmax(z/temp − log temp) − y", over(&|z| first(z, inverse.ln()) - 1.0)),
        Curve::line("Eq 9 as printed", over(&|z| printed(z) - 1.0)),
    ];
    let ratio = inverse * (first(0.01, 0.0) - 1.0) / (first(0.01, inverse.ln()) - 1.0);
    let caption = format!(
        "temp⁻¹ = 100, y = 1. Appendix B says that the first two are equal; they are parallel, {ratio:.3} apart at every z, because the constant \
         in the exponents cancels. Eq 9 as printed is e^(−C) − y, here with C = {c:.2}: flat."
    );
    let curves = Curves::new("z", "|∂C/∂z|", curves).log_y();
    Figure::new("appendix-b", &["B1", "B2", "B3"], "Appendix B's two sides", caption, Drawing::Curves(curves))
}
