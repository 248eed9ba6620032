//! Central differences with Ridders' extrapolation (Ridders 1982, "Accurate computation of F′(x) and F′(x)F″(x)"; Press et al., Numerical
//! Recipes, §5.7).
//!
//! D(h) = (f(h) − f(−h))/2h = f′(0) + c₂h² + c₄h⁴ + …; a Neville tableau over the steps h, h/r, h/r², … removes one power of h² a column:
//!
//!   A[i][m] = A[i][m−1] + (A[i][m−1] − A[i−1][m−1])/(r^{2m} − 1),
//!
//! and the error is taken as the larger difference between an entry and the two it was made from. Each difference carries a rounding error
//! γ·s/h besides, with s the scale of f's values.

use super::Method;
use super::problem::{Problem, dot};
use super::report::{Arithmetic, Check, Tally};
use super::scales::{Analysis, Probe};

/// Steps of the tableau, and the ratio of one to the next.
const STEPS: usize = 7;
const RATIO: f64 = 1.6;

/// A derivative by differences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The extrapolated derivative.
    pub derivative: f64,
    /// The estimated error of the extrapolation.
    pub error: f64,
    /// The smallest step it was made from; 0 where all differences vanish and nothing is divided by it.
    pub step: f64,
}

/// d/dt of each component of f at t = 0, from steps of at most `largest_step`.
pub fn ridders(f: impl Fn(f64) -> Vec<f64>, largest_step: f64) -> Vec<Estimate> {
    let steps: Vec<f64> = (0..STEPS).map(|i| largest_step / RATIO.powi(i as i32)).collect();
    let differences: Vec<Vec<f64>> =
        steps.iter().map(|&h| f(h).iter().zip(f(-h)).map(|(above, below)| (above - below) / (2.0 * h)).collect()).collect();
    (0..differences[0].len()).map(|k| extrapolate(&steps, |i| differences[i][k])).collect()
}

fn extrapolate(steps: &[f64], difference: impl Fn(usize) -> f64) -> Estimate {
    if (0..steps.len()).all(|i| difference(i) == 0.0) {
        return Estimate { derivative: 0.0, error: 0.0, step: 0.0 };
    }
    let mut best = Estimate { derivative: f64::NAN, error: f64::INFINITY, step: steps[0] };
    let mut above: Vec<f64> = vec![difference(0)];
    for (i, &step) in steps.iter().enumerate().skip(1) {
        let mut row = vec![difference(i)];
        for m in 1..=i {
            let factor = RATIO.powi(2 * m as i32) - 1.0;
            let entry = row[m - 1] + (row[m - 1] - above[m - 1]) / factor;
            let error = (entry - row[m - 1]).abs().max((entry - above[m - 1]).abs());
            if error < best.error {
                best = Estimate { derivative: entry, error, step };
            }
            row.push(entry);
        }
        above = row;
    }
    best
}

const REASON: &str = "Σ_k |v_k|·(s_k/h + |J_kj|) + Σ_l |H_jl||x_l| + max_k |v_k|(|f_k| + m), plus Ridders' error estimate over γ";

pub(super) fn check(problem: &Problem<'_>, analysis: &Analysis) -> Check {
    let mut tally = Tally::new(problem, Arithmetic::DOUBLE);
    for probe in &analysis.probes {
        let estimates = ridders(|t| problem.evaluate(&problem.moved(&probe.direction, t)), probe.step);
        let expected = estimates.iter().zip(&problem.cotangent).map(|(e, v)| v * e.derivative).sum();
        let got = dot(&problem.gradient, &probe.direction);
        let scale = scale(problem, analysis, probe, &estimates, tally.tolerance());
        tally.compare("derivative", probe.place, expected, got, scale);
    }
    tally.finish(Method::FiniteDifference, REASON, Default::default())
}

/// The rounding of the differences, the extrapolation's own error and the rounding of the gradient, in units of γ.
fn scale(problem: &Problem<'_>, analysis: &Analysis, probe: &Probe, estimates: &[Estimate], gamma: f64) -> f64 {
    let of_value = |(k, e): (usize, &Estimate)| {
        let rounding = if e.step == 0.0 { 0.0 } else { analysis.value[k] / e.step };
        problem.cotangent[k].abs() * (rounding + e.error / gamma)
    };
    estimates.iter().enumerate().map(of_value).sum::<f64>() + analysis.along(&probe.direction)
}

#[cfg(test)]
mod tests {
    use super::ridders;

    #[test]
    fn ridders_differentiates_to_rounding_and_knows_its_error() {
        let estimates = ridders(|t| vec![(1.3 + t).exp(), (1.3 + t).ln(), 5.0], 0.04);
        for (estimate, exact) in estimates.iter().zip([1.3f64.exp(), 1.0 / 1.3, 0.0]) {
            let error = (estimate.derivative - exact).abs();
            assert!(error <= 1e-12 && error <= 4.0 * estimate.error + 1e-13, "{estimate:?} for {exact}");
        }
    }

    #[test]
    fn ridders_owns_up_where_the_function_is_not_smooth() {
        let estimate = ridders(|t| vec![t * t.abs().sqrt()], 0.04)[0];
        assert!(estimate.derivative.abs() > 1e-3 && estimate.error > 0.1 * estimate.derivative.abs(), "{estimate:?}");
    }
}
