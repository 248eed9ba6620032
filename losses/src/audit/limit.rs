//! SLPO-GKL, the rescaled limit of SLPO (ours, not the paper's).

use super::claim::{Check, Claim, Statement, distance, round_off};
use super::instance::{differentiate, eq7, hessian_vector, loss_of_log_probs, normals, uniform};
use crate::loss::Loss;
use engine::Generator;

pub const CLAIMS: &[super::claim::Computation] = &[g1];

/// One pair in units of its mass: the reference's shares and the policy's coordinates u = l_w − ln m, v = l_l − ln m.
struct Instance {
    shares: (f64, f64),
    coordinates: [f64; 2],
    alpha: f64,
}

impl Instance {
    fn draw(generator: &mut Generator) -> Self {
        let share = uniform(generator, 0.2, 0.8);
        let coordinates = [uniform(generator, -2.0, -1.0), uniform(generator, 0.2, 1.0)];
        Self { shares: (share, 1.0 - share), coordinates, alpha: uniform(generator, 0.6, 0.9) }
    }

    fn reference(&self, mass: f64) -> (f64, f64) {
        ((mass * self.shares.0).ln(), (mass * self.shares.1).ln())
    }

    /// Computes the gradient of a loss in (l_w, l_l) for a pair of this mass.
    fn gradient(&self, loss: Loss, mass: f64) -> Vec<f64> {
        let x = self.coordinates.map(|u| u + mass.ln());
        differentiate(&x, |x| loss_of_log_probs(loss, &eq7(self.alpha), x, self.reference(mass))).1
    }

    /// ∂(L/m)/∂l_w of SLPO less ∂L/∂l_w of SLPO-GKL.
    fn error(&self, mass: f64) -> f64 {
        self.gradient(Loss::Slpo, mass)[0] / mass - self.gradient(Loss::SlpoGkl, mass)[0]
    }

    /// The same as [`Instance::error`] in closed form: e^u·m(s − 1)/(1 − ms), s = e^u + e^v.
    fn predicted_error(&self, mass: f64) -> f64 {
        let [u, v] = self.coordinates.map(f64::exp);
        u * mass * (u + v - 1.0) / (1.0 - mass * (u + v))
    }
}

/// SLPO/m → −αu − (1 − α)v + e^u + e^v with an error of order m; convex, with its minimum at (ln α, ln(1 − α)).
fn g1(generator: &mut Generator) -> Claim {
    let instance = Instance::draw(generator);
    let alpha = instance.alpha;
    let mass = 1e-3;
    let (coarse, fine) = (instance.error(mass), instance.error(mass / 10.0));
    let faint = 1e-50f64;
    let lowest = [alpha.ln() + faint.ln(), (1.0 - alpha).ln() + faint.ln()];
    let reference = instance.reference(faint);
    let gkl = |alpha: f64| move |x: &_| loss_of_log_probs(Loss::SlpoGkl, &eq7(alpha), x, reference);
    let at_lowest = differentiate(&lowest, gkl(alpha)).1;
    let direction = normals(generator, 2, 1.0);
    let hessian = hessian_vector(&lowest, &direction, |x| loss_of_log_probs(Loss::SlpoGkl, &eq7(alpha), x, reference));
    let start = differentiate(&[reference.0, reference.1], gkl(1.0)).1;
    let rho = instance.shares.1;
    // The error is a difference of two gradients of order 1. One of them is divided by m, so its rounding is that of 1 over m. From m to
    // m/10 it falls by 10 up to a factor (1 − ms/10)/(1 − ms), s = e^u + e^v < 4: within 40m.
    let checks = vec![
        Check::new("the error at m = 1e-3", coarse, instance.predicted_error(mass), round_off(1.0) / mass),
        Check::new("the error at m = 1e-4", fine, instance.predicted_error(mass / 10.0), round_off(10.0) / mass),
        Check::new("the error's fall for a tenth of m", coarse / fine, 10.0, 40.0 * mass + 1e-6),
        Check::new("the gradient at (ln α, ln(1 − α))", distance(&at_lowest, &[0.0; 2]), 0.0, round_off(120.0)),
        Check::new(
            "the Hessian there",
            distance(&hessian, &[alpha * direction[0], (1.0 - alpha) * direction[1]]),
            0.0,
            round_off(120.0 * direction[0].abs().max(direction[1].abs()).max(1.0)),
        ),
        Check::new("the start gradient at α = 1", distance(&start, &[-rho, rho]), 0.0, round_off(120.0)),
    ];
    let holds = checks.iter().all(Check::agrees) && coarse.abs() < 10.0 * mass;
    let evidence = format!(
        "The gradient of SLPO/m is {coarse:.3e} from the limit's at m = 1e-3 and {fine:.3e} at m = 1e-4. At m = 1e-50 the limit still starts \
         with ({:.4}, {:.4}) at α = 1 and is convex about (ln α, ln(1 − α)).",
        start[0], start[1]
    );
    Statement {
        id: "G1",
        claim: "(ours) SLPO divided by the pair's mass m tends to a convex bowl with gradients of order 1 at any length",
        formula: "L/m → −αu − (1 − α)v + e^u + e^v, u = l_w − ln m, v = l_l − ln m; gradient error e^u·m(s − 1)/(1 − ms), s = e^u + e^v",
        source: concat!(file!(), "::g1"),
        verdicts: ["true: the gradient's error is O(m)", "false"],
    }
    .judge(checks, holds, evidence)
}
