//! Second derivatives by forward-over-reverse: the reverse pass run on dual numbers with tangent u gives the gradient with tangent H·u, H
//! the Hessian of ⟨v, f(x)⟩. Held to Ridders' differences of the gradient, and to symmetry: ⟨w, H·u⟩ = ⟨u, H·w⟩.
//!
//! It differentiates every vjp once more, so a vjp that is right at the point but wrong as a function fails here.

use super::Method;
use super::finite_difference::ridders;
use super::problem::{Place, Problem, absolute_product, dot};
use super::report::{Arithmetic, Check, Tally};
use super::scales::{Analysis, RANDOM_STEP, random_direction};
use crate::Cpu;

const REASON: &str = "s_j/h + s_j·max|u| + |(Hu)_j| + Ridders' error estimate over γ, s_j the scale of g_j; of the symmetry \
                      Σ_j |w_j|·(s_j·max|u| + |(Hu)_j|) and the same with u and w exchanged";

pub(super) fn check(problem: &Problem<'_>, analysis: &Analysis) -> Check {
    let mut tally = Tally::new(problem, Arithmetic::DOUBLE);
    let [u, w] = [3000, 3001].map(|seed| random_direction(problem, 0..problem.x.len(), seed));
    let [hu, hw] = [&u, &w].map(|direction| problem.differentiate_along(direction).2);
    let gradient_at = |t: f64| problem.differentiate::<Cpu<f64>>(problem.function, &problem.moved(&u, t)).1;
    for (j, estimate) in ridders(gradient_at, RANDOM_STEP).iter().enumerate() {
        let rounding = if estimate.step == 0.0 { 0.0 } else { analysis.gradient[j] / estimate.step };
        let scale = rounding + analysis.gradient[j] + hu[j].abs() + estimate.error / tally.tolerance();
        tally.compare("Hessian-vector product", Place::Element(j), estimate.derivative, hu[j], scale);
    }
    let side = |w: &[f64], hu: &[f64]| absolute_product(w, &analysis.gradient) + absolute_product(w, hu);
    tally.compare("⟨u, Hw⟩", Place::Everything, dot(&w, &hu), dot(&u, &hw), side(&w, &hu) + side(&u, &hw));
    tally.finish(Method::SecondOrder, REASON, Default::default())
}
