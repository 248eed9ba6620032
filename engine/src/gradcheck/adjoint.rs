//! The adjoint identity ⟨v, J·u⟩ = ⟨Jᵀ·v, u⟩ for random directions u over all inputs at once: J·u by dual numbers, Jᵀ·v by the reverse
//! pass.

use super::Method;
use super::problem::{Place, Problem, absolute_product, dot};
use super::report::{Arithmetic, Check, Tally};
use super::scales::{Analysis, random_direction, terms};

/// Directions that are tried.
const DIRECTIONS: u64 = 3;

const REASON: &str = "Σ_k |v_k||(Ju)_k| + Σ_j |g_j||u_j| + the root of Σ_j (u_j·s_j)², s_j the scale of g_j";

pub(super) fn check(problem: &Problem<'_>, analysis: &Analysis) -> Check {
    let mut tally = Tally::new(problem, Arithmetic::DOUBLE);
    for seed in 0..DIRECTIONS {
        let u = random_direction(problem, 0..problem.x.len(), 2000 + seed);
        let (tangent, _, _) = problem.differentiate_along(&u);
        let scale = terms(problem, &tangent) + absolute_product(&problem.gradient, &u) + analysis.along(&u);
        tally.compare("⟨Jᵀv, u⟩", Place::Everything, dot(&problem.cotangent, &tangent), dot(&problem.gradient, &u), scale);
    }
    tally.finish(Method::Adjoint, REASON, Default::default())
}
