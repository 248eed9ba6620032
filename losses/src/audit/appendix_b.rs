//! Appendix B: the softmax of a sum as a softmax at low temperature. And section 4: cross-entropy with a target of 0.6.

use super::claim::{Check, Claim, Statement, round_off};
use super::instance::{constant, descend, differentiate, evaluate, normals, number, sigmoid, uniform};
use crate::exact::soft_cross_entropy::soft_cross_entropy;
use engine::Generator;

pub const CLAIMS: &[super::claim::Computation] = &[b1, b2, b3, p1];

/// temp⁻¹(p − q) against the same with −ln temp added to every exponent, p and q the softmaxes of z/temp and v/temp.
fn b1(generator: &mut Generator) -> Claim {
    let inverse = uniform(generator, 50.0, 150.0);
    let ratio = |z: f64, v: f64| {
        let softmax = |z: f64, shift: f64| constant(&[z * inverse + shift, shift]).softmax().to_f64()[0];
        let side = |shift: f64| softmax(z, shift) - softmax(v, shift);
        inverse * side(0.0) / side(inverse.ln())
    };
    let points: Vec<f64> =
        (0..16).map(|_| ratio(uniform(generator, 0.5, 2.0) / inverse, uniform(generator, -2.0, -0.5) / inverse)).collect();
    let farthest = points.iter().copied().fold(inverse, |far, x| if (x - inverse).abs() > (far - inverse).abs() { x } else { far });
    let checks = vec![Check::new("the ratio of the two sides", farthest, inverse, round_off(inverse))];
    let holds = (farthest - 1.0).abs() <= round_off(inverse);
    let evidence =
        format!("At temp⁻¹ = {inverse:.4} the two sides differ by the factor {farthest:.4} at every one of {} points.", points.len());
    Statement {
        id: "B1",
        claim: "Appendix B: the factor temp⁻¹ can be moved into the exponents as −log temp",
        formula: "temp⁻¹·softmax(z/temp) against softmax(z/temp − ln temp)",
        source: concat!(file!(), "::b1"),
        verdicts: ["true", "false: the constant cancels, the factor temp⁻¹ is lost"],
    }
    .judge(checks, holds, evidence)
}

/// e^{−ln temp} = temp⁻¹.
fn b2(generator: &mut Generator) -> Claim {
    let value = |inverse: f64| evaluate(&[1.0 / inverse], |temp| temp.ln().neg().exp());
    let drawn = uniform(generator, 20.0, 300.0);
    let checks = vec![
        Check::new("e^{−ln temp} at temp⁻¹ = 100", value(100.0), 100.0, round_off(100.0)),
        Check::new("e^{−ln temp} at a drawn temp⁻¹", value(drawn), drawn, round_off(drawn)),
    ];
    let holds = (value(100.0) - 0.01).abs() <= round_off(1.0);
    let evidence = format!("e^(−ln temp) is {:.6} at temp⁻¹ = 100, and {:.6} at temp⁻¹ = {drawn:.6}.", value(100.0), value(drawn));
    Statement {
        id: "B2",
        claim: "Appendix B: e^(−log temp) = 1/temp = 0.01 at temp⁻¹ = 100",
        formula: "e^(−ln temp) = temp⁻¹",
        source: concat!(file!(), "::b2"),
        verdicts: ["true", "false: it is temp⁻¹ itself"],
    }
    .judge(checks, holds, evidence)
}

/// e^{z/t}/e^{z/t + C} = e^{−C} with derivative 0 in z, against Eq 8's σ(z/t).
fn b3(generator: &mut Generator) -> Claim {
    let (inverse, c) = (uniform(generator, 50.0, 150.0), uniform(generator, 0.1, 1.0));
    let printed = |z: f64| {
        differentiate(&[z], |z| {
            let x = z.scale(inverse);
            x.exp().div(&x.add(&number(&x, c)).exp())
        })
    };
    let z: Vec<f64> = (0..16).map(|_| uniform(generator, -2.0, 2.0) / inverse).collect();
    let sides: Vec<(f64, f64, f64)> = z.iter().map(|&z| (printed(z).0, printed(z).1[0], sigmoid(z * inverse))).collect();
    let off = sides.iter().map(|side| (side.0 - (-c).exp()).abs()).fold(0.0, f64::max);
    let slope = sides.iter().map(|side| side.1.abs()).fold(0.0, f64::max);
    let from_eq8 = sides.iter().map(|side| (side.0 - side.2).abs()).fold(0.0, f64::max);
    let checks = vec![
        Check::new("Eq 9's fraction", sides[0].0, (-c).exp(), round_off(1.0)),
        Check::new("its distance from e^{−C} over all z", off, 0.0, round_off(1.0)),
        Check::new("its derivative in z", slope, 0.0, round_off(inverse)),
    ];
    let holds = from_eq8 <= round_off(1.0);
    let evidence = format!(
        "With C = {c:.4} the fraction is {:.6} = e^(−C) at every z, its slope at most {slope:.1e}; from Eq 8 it is up to {from_eq8:.3} away.",
        sides[0].0
    );
    Statement {
        id: "B3",
        claim: "Eq 9 as printed has the form of Eq 8",
        formula: "e^{z/temp}/e^{z/temp + C} = e^{−C}",
        source: concat!(file!(), "::b3"),
        verdicts: ["true", "false: it is a constant, the same for all z"],
    }
    .judge(checks, holds, evidence)
}

/// The cross-entropy of softmax(z) with (q, 1 − q) has its minimum, the entropy of q, where softmax(z) = q.
fn p1(generator: &mut Generator) -> Claim {
    let q = uniform(generator, 0.55, 0.85);
    let target = constant(&[q.ln(), (-q).ln_1p()]).reshape(&[1, 2]);
    let cross_entropy = |z: &_| soft_cross_entropy(&engine::Tensor::reshape(z, &[1, 2]), &target).expect("one shape");
    let entropy = -q * q.ln() - (1.0 - q) * (-q).ln_1p();
    let reached = descend(&normals(generator, 2, 1.0), 2.0, 300, cross_entropy);
    let p = constant(&reached).softmax().to_f64()[0];
    let (lowest, gradient) = differentiate(&reached, cross_entropy);
    // Descent at step 2 multiplies the distance by 1 − 4q(1 − q) ≤ 0.5 or so per step. After 300 steps only rounding is left, magnified by
    // 1/(4q(1 − q)).
    let checks = vec![
        Check::new("the probability that descent reaches", p, q, 1e-10),
        Check::new("the cross-entropy there", lowest, entropy, round_off(1.0)),
        Check::new("its slope there", gradient[0].abs().max(gradient[1].abs()), 0.0, 1e-10),
    ];
    let holds = (p - q).abs() <= 1e-10;
    let evidence = format!("Aimed at {q:.6}, descent reaches {p:.6}; the loss ends at the target's entropy {lowest:.6}, not at 0.");
    Statement {
        id: "P1",
        claim: "Section 4: cross-entropy can aim at a probability such as 0.6",
        formula: "argmin_p CE(q, p) = q, min CE = H(q)",
        source: concat!(file!(), "::p1"),
        verdicts: ["true (the minimum is the entropy, not 0: report CE − H)", "false"],
    }
    .judge(checks, holds, evidence)
}
