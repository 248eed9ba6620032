//! f32 against f64 at inputs that f32 holds exactly: the errors left are those of f32's arithmetic.

use super::Method;
use super::problem::Problem;
use super::report::{Arithmetic, Check, Tally};
use super::scales::Analysis;
use crate::{Cpu, Device};

const REASON: &str = "of a value |f_k| + m + Σ_j |J_kj||x_j|; of a gradient Σ_k |v_k||J_kj| + Σ_l |H_jl||x_l| + max_k |v_k|(|f_k| + m)";

pub(super) fn check(problem: &Problem<'_>, analysis: &Analysis) -> Check {
    let mut tally = Tally::new(problem, Arithmetic::SINGLE);
    let rounded: Vec<f32> = problem.x.iter().map(|&x| x as f32).collect();
    let exact: Vec<f64> = rounded.iter().map(|&x| x as f64).collect();
    let (value, gradient) = problem.differentiate::<Cpu<f64>>(problem.function, &exact);
    let (value_f32, gradient_f32) = problem.differentiate::<Device>(problem.function, &rounded);
    let widened = |x: &[f32]| x.iter().map(|&x| x as f64).collect::<Vec<_>>();
    let (value_f32, gradient_f32) = (widened(&value_f32), widened(&gradient_f32));
    tally.compare_all((&value, &gradient), (&value_f32, &gradient_f32), (&analysis.value, &analysis.gradient));
    tally.finish(Method::Precision, REASON, Default::default())
}
