//! Forward mode: ⟨v, J·u⟩ with J·u carried by dual numbers, which are exact but for rounding, for each input element (u a unit vector) or
//! for one random direction in each input.

use super::Method;
use super::problem::{Problem, dot};
use super::report::{Arithmetic, Check, Tally};
use super::scales::{Analysis, terms};

const REASON: &str = "Σ_k |v_k||J_kj| + Σ_l |H_jl||x_l| + max_k |v_k|(|f_k| + m)";

pub(super) fn check(problem: &Problem<'_>, analysis: &Analysis) -> Check {
    let mut tally = Tally::new(problem, Arithmetic::DOUBLE);
    for probe in &analysis.probes {
        let expected = dot(&problem.cotangent, &probe.tangent);
        let got = dot(&problem.gradient, &probe.direction);
        let scale = analysis.along(&probe.direction) + terms(problem, &probe.tangent);
        tally.compare("derivative", probe.place, expected, got, scale);
    }
    tally.finish(Method::ForwardMode, REASON, analysis.time)
}
