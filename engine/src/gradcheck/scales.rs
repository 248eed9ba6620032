//! What one rounding can do to a value or a gradient, measured with dual numbers: the scales that tolerances are multiples of.
//!
//! A rounding on the way from x to f(x) acts like a relative change of an input or of the result. So to first order a value errs by u·s,
//!
//!   s_k = |f_k| + m + Σⱼ |J_kj|·|xⱼ|,
//!
//! and a gradient element gⱼ = Σ_k v_k·J_kj, which is a sum whose terms are functions of x themselves, by u times
//!
//!   sⱼ = Σ_k |v_k|·|J_kj| + Σ_l |H_jl|·|x_l| + max_k |v_k|·(|f_k| + m),
//!
//! with H the Hessian of ⟨v, f⟩. The last term stands for gradients formed from saved values, such as y·(1 − y), which cancel; and m is the
//! size of terms that cancel inside f, where the sample says so ([`Sample::with_inner_magnitude`](super::Sample::with_inner_magnitude)).
//!
//! Element by element J and H are known in full. In random directions, one for each input, Σⱼ|J_kj||xⱼ| and Σ_l|H_jl||x_l| are estimated by
//! products with x under random signs, whose mean square is Σⱼ (J_kj·xⱼ)² and Σ_l (H_jl·x_l)², and the scales are those of whole tensors:
//! the largest |f_k| plus the largest estimate, and for each input the largest |gⱼ| plus the largest estimate.

use super::problem::{Place, Problem, absolute_product};
use crate::random::Generator;
use std::ops::Range;
use std::time::{Duration, Instant};

/// A direction in the space of all inputs, with what dual numbers say about it.
pub(super) struct Probe {
    /// The element or the input that it moves.
    pub place: Place,
    /// The direction u; a unit vector for an element.
    pub direction: Vec<f64>,
    /// The largest t for which x ± t·u is taken to stay in the domain and away from kinks.
    pub step: f64,
    /// J·u.
    pub tangent: Vec<f64>,
    /// H·u.
    pub hessian_product: Vec<f64>,
}

/// Probes that cover the inputs, and the scales.
pub(super) struct Analysis {
    pub probes: Vec<Probe>,
    /// s_k of each value.
    pub value: Vec<f64>,
    /// sⱼ of each gradient element.
    pub gradient: Vec<f64>,
    /// How long the analysis took.
    pub time: Duration,
}

/// The largest step in one element: samples keep that far from kinks and from the edge of the domain.
pub(super) const LARGEST_STEP: f64 = 0.04;

/// How far an element may be moved: a tenth of its size, between 1e-4 and [`LARGEST_STEP`].
pub(super) fn step(x: f64) -> f64 {
    (0.1 * x.abs()).clamp(1e-4, LARGEST_STEP)
}

/// A random direction over part of the inputs, with |uⱼ| in proportion to how far xⱼ may be moved, the largest being at most 1.
pub(super) fn random_direction(problem: &Problem<'_>, range: Range<usize>, seed: u64) -> Vec<f64> {
    let mut generator = Generator::new(0x6469_7265).stream(seed);
    let element = |(j, &x): (usize, &f64)| {
        let sign = if generator.below(2) == 0 { 1.0 } else { -1.0 };
        if range.contains(&j) { sign * step(x) / LARGEST_STEP } else { 0.0 }
    };
    problem.x.iter().enumerate().map(element).collect()
}

/// The largest t for a random direction.
pub(super) const RANDOM_STEP: f64 = LARGEST_STEP;

impl Analysis {
    pub fn new(problem: &Problem<'_>) -> Self {
        let start = Instant::now();
        let probes: Vec<Probe> = directions(problem)
            .map(|(place, direction, step)| {
                let (tangent, _, hessian_product) = problem.differentiate_along(&direction);
                Probe { place, direction, step, tangent, hessian_product }
            })
            .collect();
        let (value, gradient) = if problem.by_element { exact_scales(problem, &probes) } else { estimated_scales(problem) };
        Self { probes, value, gradient, time: start.elapsed() }
    }

    /// The scale of ⟨g, u⟩: errors of the elements are added with the random signs of u.
    pub fn along(&self, u: &[f64]) -> f64 {
        norm(u.iter().zip(&self.gradient).map(|(u, s)| u * s))
    }
}

/// The Euclidean norm, without squares that underflow.
fn norm(x: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = largest(x.clone());
    if largest == 0.0 { 0.0 } else { largest * x.map(|x| (x / largest).powi(2)).sum::<f64>().sqrt() }
}

fn directions<'p>(problem: &'p Problem<'_>) -> Box<dyn Iterator<Item = (Place, Vec<f64>, f64)> + 'p> {
    if problem.by_element {
        let n = problem.x.len();
        let unit = move |j: usize| (0..n).map(|i| if i == j { 1.0 } else { 0.0 }).collect();
        Box::new((0..n).map(move |j| (Place::Element(j), unit(j), step(problem.x[j]))))
    } else {
        let ranges = problem.ranges().enumerate().filter(|(_, range)| !range.is_empty());
        Box::new(ranges.map(|(i, range)| (Place::Input(i), random_direction(problem, range, i as u64), RANDOM_STEP)))
    }
}

/// (s_k, sⱼ) from the columns of J and H.
fn exact_scales(problem: &Problem<'_>, columns: &[Probe]) -> (Vec<f64>, Vec<f64>) {
    let magnitudes: Vec<f64> = problem.value.iter().map(|f| f.abs() + problem.inner_magnitude).collect();
    let saved = largest(magnitudes.iter().zip(&problem.cotangent).map(|(m, v)| m * v));
    let mut gradient: Vec<f64> = columns.iter().map(|column| terms(problem, &column.tangent) + saved).collect();
    let mut value = magnitudes;
    for (column, x) in columns.iter().zip(&problem.x) {
        value.iter_mut().zip(&column.tangent).for_each(|(s, t)| *s += (t * x).abs());
        gradient.iter_mut().zip(&column.hessian_product).for_each(|(s, h)| *s += (h * x).abs());
    }
    (value, gradient)
}

/// (s_k, sⱼ) from products of J and H with x under random signs, one input at a time.
fn estimated_scales(problem: &Problem<'_>) -> (Vec<f64>, Vec<f64>) {
    let mut value = vec![0.0; problem.value.len()];
    let mut gradient = vec![0.0; problem.x.len()];
    for (i, range) in problem.ranges().enumerate() {
        let mut signed = random_direction(problem, range.clone(), 1000 + i as u64);
        signed[range.clone()].iter_mut().zip(&problem.x[range]).for_each(|(u, x)| *u = x.copysign(*u));
        let (tangent, _, hessian_product) = problem.differentiate_along(&signed);
        value.iter_mut().zip(tangent).for_each(|(s, t)| *s += t * t);
        gradient.iter_mut().zip(hessian_product).for_each(|(s, h)| *s += h * h);
    }
    let scale = |x: &[f64], squares: &[f64]| largest(x.iter().copied()) + largest(squares.iter().copied()).sqrt() + problem.inner_magnitude;
    let value = vec![scale(&problem.value, &value); value.len()];
    for range in problem.ranges() {
        let scale = scale(&problem.gradient[range.clone()], &gradient[range.clone()]);
        gradient[range].fill(scale);
    }
    (value, gradient)
}

fn largest(x: impl Iterator<Item = f64>) -> f64 {
    x.fold(0.0, |a, b| a.max(b.abs()))
}

/// What the terms of ⟨v, J·u⟩ amount to.
pub(super) fn terms(problem: &Problem<'_>, tangent: &[f64]) -> f64 {
    absolute_product(&problem.cotangent, tangent)
}
