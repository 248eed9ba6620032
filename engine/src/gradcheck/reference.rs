//! The CPU's kernels against the readable defaults: the same function on [`Reference`], value and gradient.

use super::Method;
use super::problem::Problem;
use super::report::{Arithmetic, Check, Tally};
use super::scales::Analysis;
use crate::Reference;

const REASON: &str = "of a value |f_k| + m + Σ_j |J_kj||x_j|; of a gradient Σ_k |v_k||J_kj| + Σ_l |H_jl||x_l| + max_k |v_k|(|f_k| + m)";

pub(super) fn check(problem: &Problem<'_>, analysis: &Analysis) -> Check {
    let mut tally = Tally::new(problem, Arithmetic::DOUBLE);
    let (value, gradient) = problem.differentiate::<Reference<f64>>(problem.function, &problem.x);
    tally.compare_all((&value, &gradient), (&problem.value, &problem.gradient), (&analysis.value, &analysis.gradient));
    tally.finish(Method::Reference, REASON, Default::default())
}
