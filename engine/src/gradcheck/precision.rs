//! f32 against f64 at inputs that f32 holds exactly: the errors left are those of f32's arithmetic.

use super::Method;
use super::problem::Problem;
use super::report::{Check, Tally};
use super::scales::Analysis;
use crate::Cpu;
use crate::scalar::Scalar;

const REASON: &str = "of a value |f_k| + Σ_j |J_kj||x_j|; of a gradient Σ_k |v_k||J_kj| + Σ_l |H_jl||x_l| + max_k |v_k f_k|; and f32's smallest \
                      normal number over u, for results that underflow";

/// Below its smallest normal number f32 rounds to an absolute error instead of a relative one.
const UNDERFLOW: f64 = f32::MIN_POSITIVE as f64 / f32::UNIT_ROUNDOFF;

pub(super) fn check(problem: &Problem<'_>, analysis: &Analysis) -> Check {
    let mut tally = Tally::new(problem, f32::UNIT_ROUNDOFF);
    let rounded: Vec<f32> = problem.x.iter().map(|&x| x as f32).collect();
    let exact: Vec<f64> = rounded.iter().map(|&x| x as f64).collect();
    let (value, gradient) = problem.differentiate::<Cpu<f64>>(problem.function, &exact);
    let (value_f32, gradient_f32) = problem.differentiate::<Cpu<f32>>(problem.function, &rounded);
    let widened = |x: &[f32]| x.iter().map(|&x| x as f64).collect::<Vec<_>>();
    let floored = |s: &[f64]| s.iter().map(|s| s + UNDERFLOW).collect::<Vec<_>>();
    let scales = (floored(&analysis.value), floored(&analysis.gradient));
    tally.compare_all((&value, &gradient), (&widened(&value_f32), &widened(&gradient_f32)), (&scales.0, &scales.1));
    tally.finish(Method::Precision, REASON, Default::default())
}
