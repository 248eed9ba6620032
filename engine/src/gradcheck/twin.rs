//! The function against its twin, the same mathematics written another way: usually a fused op against its composition.

use super::Method;
use super::problem::Problem;
use super::report::{Arithmetic, Check, Tally};
use super::scales::Analysis;
use crate::Cpu;

const REASON: &str = "of a value |f_k| + m + Σ_j |J_kj||x_j|; of a gradient Σ_k |v_k||J_kj| + Σ_l |H_jl||x_l| + max_k |v_k|(|f_k| + m)";

/// `None` for a sample without a twin.
pub(super) fn check(problem: &Problem<'_>, analysis: &Analysis) -> Option<Check> {
    let twin = problem.twin?;
    let mut tally = Tally::new(problem, Arithmetic::DOUBLE);
    let (value, gradient) = problem.differentiate::<Cpu<f64>>(twin, &problem.x);
    tally.compare_all((&value, &gradient), (&problem.value, &problem.gradient), (&analysis.value, &analysis.gradient));
    Some(tally.finish(Method::Twin, REASON, Default::default()))
}
