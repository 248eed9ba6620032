//! A gradient that another program computed, held to Ridders' differences of that program's own values.
//!
//! Nothing is known of the function but its values. For each input element (or a random direction, where the inputs are large):
//!
//! 1. Estimate the derivative of ⟨v, f(x)⟩ by differences. If they do not converge, estimate again with smaller steps.
//! 2. Differences that converge for no step say nothing: the element is *unchecked* (a jump, noise, the edge of the domain).
//! 3. Differences converge at a kink too, to the mean of its two slopes. There f(x + h) − 2f(x) + f(x − h), divided by h, does not vanish
//!    with h: *unchecked*.
//! 4. The gradient is *right* if it differs from the estimate by at most what is allowed.
//! 5. It is *wrong* only if an estimate from other steps agrees with the first. Otherwise the values are noisy: *unchecked*.
//!
//! Allowed are Ridders' error estimate e and, γ times, the rounding of the values and of the gradient (γ and s as in
//! [`gradcheck`](super#tolerances), with the differences in the place of dual numbers):
//!
//!   Σ_k |v_k|·(γ·s_k/h + e_k) + γ·(Σ_k |v_k|·|D_k| + max_k |v_k|·|f_k|),   s_k = |f_k| + Σⱼ |J_kj|·|xⱼ|.

use super::Settings;
use super::finite_difference::{Estimate, ridders};
use super::problem::{dot, fixed_cotangent, unravel};
use super::report::Arithmetic;
use super::sample::Input;
use super::scales::{LARGEST_STEP, step};
use crate::random::Generator;
use std::cell::RefCell;
use std::ops::Range;

/// The verdict on a part of a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It agrees with the differences.
    Right,
    /// It does not, and the differences agree with each other.
    Wrong,
    /// Differences cannot tell, for this reason.
    Unchecked(&'static str),
}

/// An element of a gradient with its verdict; of large inputs, the derivative in a random direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The input, by its position in the list.
    pub input: usize,
    /// The elements that were moved, by their positions in row-major order.
    pub elements: Range<usize>,
    /// The indices of the element; empty for a direction over several.
    pub index: Vec<usize>,
    /// The verdict.
    pub verdict: Verdict,
    /// The derivative by differences.
    pub expected: f64,
    /// The derivative by the gradient.
    pub got: f64,
    /// Ridders' estimate of the error of `expected`.
    pub estimated_error: f64,
    /// The largest difference that counts as right.
    pub allowed: f64,
}

/// A function's value and gradient at a point, as another program gave them.
#[derive(Clone, Debug)]
pub struct Outside<'a> {
    /// The point.
    pub inputs: &'a [Input],
    /// The value there.
    pub value: &'a [f64],
    /// The gradient of ⟨v, value⟩ with v of [`fixed_cotangent`]: the elements of all inputs, one after another.
    pub gradient: &'a [f64],
    /// The coarsest arithmetic of the program's numbers.
    pub arithmetic: Arithmetic,
}

const KINK: &str = "a kink: the slopes on the two sides differ";
const DIVERGENT: &str = "the differences do not converge: a jump, noise, or a kink nearby";
const NOISE: &str = "noise: differences at other steps disagree";
const DOMAIN: &str = "the value beside the point is not finite: the edge of the domain";

/// Judges a gradient element by element, or in one random direction an input if there are more than [`Settings::element_limit`] elements.
/// A wrong direction is halved until one wrong element is left. `evaluate` gives the function's value at another point.
///
/// # Errors
/// The first error of `evaluate`, which is not called again.
pub fn check_outside<E>(outside: &Outside<'_>, evaluate: impl FnMut(&[f64]) -> Result<Vec<f64>, E>) -> Result<Vec<Judged>, E> {
    let mut line = Line::new(outside, evaluate);
    let settings = Settings::default();
    let ranges = ranges(outside.inputs);
    let by_element = line.x.len() <= settings.element_limit;
    let probes: Vec<Probe> = if by_element {
        let elements = ranges.iter().enumerate().flat_map(|(input, range)| range.clone().map(move |j| (input, j..j + 1)));
        elements.map(|(input, range)| line.probe(input, range)).collect()
    } else {
        let filled = ranges.iter().enumerate().filter(|(_, range)| !range.is_empty());
        filled.map(|(input, range)| line.probe(input, range.clone())).collect()
    };
    line.set_scales(&probes)?;
    let mut judged = Vec::with_capacity(probes.len());
    for probe in probes {
        judged.push(line.locate(probe, &ranges)?);
    }
    Ok(judged)
}

/// The elements of each input, as ranges of all elements.
fn ranges(inputs: &[Input]) -> Vec<Range<usize>> {
    let ends = inputs.iter().scan(0, |end, input| {
        let start = *end;
        *end += input.data.len();
        Some(start..*end)
    });
    ends.collect()
}

/// Elements of one input that move together.
struct Probe {
    input: usize,
    range: Range<usize>,
    direction: Vec<f64>,
    step: f64,
}

/// A t, and the function's value there.
type Seen = (f64, Vec<f64>);

/// A derivative by differences, with what tells whether to trust it.
#[derive(Clone, Copy)]
struct Measured {
    step: f64,
    expected: f64,
    estimated_error: f64,
    allowed: f64,
    /// |⟨v, f(x + h) − 2f(x) + f(x − h)⟩|/h at the largest and the smallest step, and what rounding can make of the last.
    bend: [f64; 2],
    bend_rounding: f64,
    is_finite: bool,
}

/// The function along lines through the point, and the scales of its values.
struct Line<'a, F, E> {
    outside: &'a Outside<'a>,
    x: Vec<f64>,
    cotangent: Vec<f64>,
    gamma: f64,
    evaluate: RefCell<F>,
    failure: RefCell<Option<E>>,
    /// s_k of each value.
    scales: Vec<f64>,
    /// The size below which a derivative is as good as 0: the largest derivative, and what rounding could never resolve.
    size: f64,
}

impl<'a, E, F: FnMut(&[f64]) -> Result<Vec<f64>, E>> Line<'a, F, E> {
    fn new(outside: &'a Outside<'a>, evaluate: F) -> Self {
        let x: Vec<f64> = outside.inputs.iter().flat_map(|input| input.data.iter().copied()).collect();
        let numbers = (x.len() + outside.value.len()) as f64;
        Self {
            outside,
            cotangent: fixed_cotangent(outside.value.len()),
            gamma: (Settings::default().roundings + 4.0 * numbers.sqrt()) * outside.arithmetic.unit_roundoff(),
            evaluate: RefCell::new(evaluate),
            failure: RefCell::new(None),
            scales: outside.value.iter().map(|f| f.abs()).collect(),
            size: 0.0,
            x,
        }
    }

    /// The largest step of an element. f32 takes steps five times as long: the truncation that they leave is of order h¹⁴ and balances
    /// rounding, which is 2²⁹ times that of f64 and falls as 1/h, near (2²⁹)^(1/15) ≈ 4. Below 0.02 rounding would drown a derivative.
    fn step(&self, x: f64) -> f64 {
        if self.is_single() { (5.0 * step(x)).max(0.02) } else { step(x) }
    }

    fn is_single(&self) -> bool {
        self.outside.arithmetic == Arithmetic::SINGLE
    }

    /// The share of a derivative that must be known for a verdict: the mistakes that people make are larger.
    fn resolution(&self) -> f64 {
        if self.is_single() { 1e-2 } else { 1e-3 }
    }

    /// Steps to try, relative to the largest. Rounding leaves f32 no room for small ones.
    fn shares(&self) -> &'static [f64] {
        if self.is_single() { &[1.0, 0.25] } else { &[1.0, 1.0 / 16.0, 1.0 / 256.0] }
    }

    /// One element, or several under random signs with |uⱼ| in proportion to how far xⱼ may be moved.
    fn probe(&self, input: usize, range: Range<usize>) -> Probe {
        let mut direction = vec![0.0; self.x.len()];
        if range.len() == 1 {
            direction[range.start] = 1.0;
            return Probe { input, step: self.step(self.x[range.start]), direction, range };
        }
        let mut generator = Generator::new(0x6F75_7473_6964).stream(range.start as u64);
        let longest = range.clone().map(|j| self.step(self.x[j])).fold(LARGEST_STEP, f64::max);
        for j in range.clone() {
            let sign = if generator.below(2) == 0 { 1.0 } else { -1.0 };
            direction[j] = sign * self.step(self.x[j]) / longest;
        }
        Probe { input, range, direction, step: longest }
    }

    /// Adds Σⱼ |J_kj|·|xⱼ| to each s_k, and takes the largest derivative as the size of all. One difference a probe is near enough for
    /// both.
    fn set_scales(&mut self, probes: &[Probe]) -> Result<(), E> {
        let mut sums = vec![0.0; self.scales.len()];
        let mut largest = 0.0_f64;
        for probe in probes {
            let reach = probe.range.clone().map(|j| (self.x[j] * probe.direction[j]).abs()).fold(0.0, f64::max);
            let h = probe.step / 16.0;
            let (above, below) = (self.at(&probe.direction, h), self.at(&probe.direction, -h));
            if let Some(error) = self.failure.borrow_mut().take() {
                return Err(error);
            }
            let slopes: Vec<f64> = above.iter().zip(below).map(|(above, below)| (above - below) / (2.0 * h)).collect();
            let finite = slopes.iter().zip(&mut sums).filter(|(slope, _)| slope.is_finite());
            finite.for_each(|(slope, sum)| *sum += slope.abs() * reach);
            let derivative = self.weighted(slopes.iter().copied()).abs();
            largest = if derivative.is_finite() { largest.max(derivative) } else { largest };
        }
        self.scales.iter_mut().zip(sums).for_each(|(s, sum)| *s += sum);
        self.size = largest.max(1e-6 * self.absolute(self.outside.value.iter().copied()));
        Ok(())
    }

    /// Σ_k v_k·a_k.
    fn weighted(&self, a: impl Iterator<Item = f64>) -> f64 {
        a.zip(&self.cotangent).map(|(a, v)| a * v).sum()
    }

    /// Σ_k |v_k|·|a_k|.
    fn absolute(&self, a: impl Iterator<Item = f64>) -> f64 {
        a.zip(&self.cotangent).map(|(a, v)| (a * v).abs()).sum()
    }

    /// f(x + t·u); NaN after a failure.
    fn at(&self, direction: &[f64], t: f64) -> Vec<f64> {
        if self.failure.borrow().is_none() {
            let moved: Vec<f64> = self.x.iter().zip(direction).map(|(x, u)| x + t * u).collect();
            match (self.evaluate.borrow_mut())(&moved) {
                Ok(value) => return value,
                Err(error) => *self.failure.borrow_mut() = Some(error),
            }
        }
        vec![f64::NAN; self.outside.value.len()]
    }

    /// Ridders' estimates, and the values that they were made from: at h, −h, h/r, −h/r, …
    fn differences(&self, probe: &Probe, largest_step: f64) -> Result<(Vec<Estimate>, Vec<Seen>), E> {
        let seen = RefCell::new(Vec::new());
        let value = |t: f64| {
            let value = self.at(&probe.direction, t);
            seen.borrow_mut().push((t, value.clone()));
            value
        };
        let estimates = ridders(value, largest_step);
        match self.failure.borrow_mut().take() {
            Some(error) => Err(error),
            None => Ok((estimates, seen.into_inner())),
        }
    }

    fn measure(&self, probe: &Probe, largest_step: f64) -> Result<Measured, E> {
        let (estimates, seen) = self.differences(probe, largest_step)?;
        let rounding = |k: usize, step: f64| if step == 0.0 { 0.0 } else { self.gamma * self.scales[k] / step };
        let derivatives = || estimates.iter().map(|e| e.derivative);
        let largest_term = self.outside.value.iter().zip(&self.cotangent).map(|(f, v)| (f * v).abs()).fold(0.0, f64::max);
        let of_values = self.absolute(estimates.iter().enumerate().map(|(k, e)| rounding(k, e.step) + e.error));
        let bend = |pair: &[Seen]| {
            let second = (0..self.scales.len()).map(|k| pair[0].1[k] - 2.0 * self.outside.value[k] + pair[1].1[k]);
            (self.weighted(second) / pair[0].0).abs()
        };
        let (largest, smallest) = (&seen[..2], &seen[seen.len() - 2..]);
        Ok(Measured {
            step: largest_step,
            expected: self.weighted(derivatives()),
            estimated_error: self.absolute(estimates.iter().map(|e| e.error)),
            allowed: of_values + self.gamma * (self.absolute(derivatives()) + largest_term),
            bend: [bend(largest), bend(smallest)],
            bend_rounding: self.absolute((0..self.scales.len()).map(|k| rounding(k, smallest[0].0))),
            is_finite: seen.iter().all(|(_, value)| value.iter().all(|x| x.is_finite())),
        })
    }

    fn judge(&self, probe: &Probe) -> Result<(Verdict, Measured, f64), E> {
        let got = dot(self.outside.gradient, &probe.direction);
        let mut best = self.measure(probe, probe.step)?;
        let mut bent = self.is_bent(&best, got);
        for share in &self.shares()[1..] {
            if !bent && self.is_known(&best, got) && (best.expected - got).abs() <= best.allowed {
                break;
            }
            let next = self.measure(probe, probe.step * share)?;
            // The smallest steps say whether there is a kink at the point itself. One nearby bends the larger steps only.
            let was_bent = std::mem::replace(&mut bent, self.is_bent(&next, got));
            if was_bent && !bent || best.allowed.is_nan() || next.allowed < best.allowed {
                best = next;
            }
        }
        let verdict = match (best.is_finite, self.is_known(&best, got)) {
            _ if bent => Verdict::Unchecked(KINK),
            (false, false) => Verdict::Unchecked(DOMAIN),
            (true, false) => Verdict::Unchecked(DIVERGENT),
            _ if (best.expected - got).abs() <= best.allowed => Verdict::Right,
            _ => {
                let again = self.measure(probe, 0.7 * best.step)?;
                let disagreement = (again.expected - best.expected).abs();
                if disagreement <= 0.1 * (best.expected - got).abs() { Verdict::Wrong } else { Verdict::Unchecked(NOISE) }
            }
        };
        Ok((verdict, best, got))
    }

    /// True if the differences know the derivative well enough for a verdict: what is allowed is small beside the gradient, and it is
    /// rounding, or small beside the element itself.
    fn is_known(&self, measured: &Measured, got: f64) -> bool {
        let own = measured.expected.abs().max(got.abs());
        let error = measured.estimated_error;
        let converges = error <= 0.5 * measured.allowed || error <= self.resolution() * own;
        let vanishes = error == 0.0 && measured.expected == 0.0;
        vanishes || converges && measured.allowed <= self.resolution() * own.max(self.size)
    }

    /// True if the slopes on the two sides differ by an amount that matters and that does not vanish with the step. On a smooth function
    /// it shrinks as the step does, to a seventeenth.
    fn is_bent(&self, measured: &Measured, got: f64) -> bool {
        let [largest, smallest] = measured.bend;
        let size = measured.expected.abs().max(got.abs()).max(self.size);
        let matters = smallest >= (self.resolution() * size).min((measured.expected - got).abs());
        matters && smallest > 0.5 * largest && smallest > 4.0 * measured.bend_rounding
    }

    /// Judges a probe. One that is wrong over several elements is halved as long as a half is wrong.
    fn locate(&self, mut probe: Probe, ranges: &[Range<usize>]) -> Result<Judged, E> {
        let mut found = self.judge(&probe)?;
        while found.0 == Verdict::Wrong && probe.range.len() > 1 {
            let middle = probe.range.start + probe.range.len() / 2;
            let halves = [probe.range.start..middle, middle..probe.range.end].map(|range| self.probe(probe.input, range));
            let mut wrong = None;
            for half in halves {
                let judged = self.judge(&half)?;
                if judged.0 == Verdict::Wrong {
                    wrong = Some((half, judged));
                    break;
                }
            }
            let Some(half) = wrong else { break };
            (probe, found) = half;
        }
        let (verdict, measured, got) = found;
        let start = ranges[probe.input].start;
        let elements = probe.range.start - start..probe.range.end - start;
        let shape = &self.outside.inputs[probe.input].shape;
        let index = if elements.len() == 1 { unravel(elements.start, shape) } else { Vec::new() };
        let Measured { expected, estimated_error, allowed, .. } = measured;
        Ok(Judged { input: probe.input, elements, index, verdict, expected, got, estimated_error, allowed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Judges a function of one input with its gradient by hand, for the cotangent 1.
    fn judged(point: &[f64], f: impl Fn(&[f64]) -> f64, gradient: &[f64], arithmetic: Arithmetic) -> Vec<Judged> {
        let inputs = [Input::new(point.to_vec(), &[point.len()])];
        let value = [f(point)];
        let outside = Outside { inputs: &inputs, value: &value, gradient, arithmetic };
        let Ok(judged) = check_outside(&outside, |x| Ok::<_, Infallible>(vec![f(x)]));
        judged
    }

    fn verdicts(judged: &[Judged]) -> Vec<Verdict> {
        judged.iter().map(|judged| judged.verdict).collect()
    }

    fn of_reals(point: &[f64], f: impl Fn(&[f64]) -> f64, gradient: &[f64]) -> Vec<Verdict> {
        verdicts(&judged(point, f, gradient, Arithmetic::DOUBLE))
    }

    #[test]
    fn a_right_gradient_is_right_and_an_element_that_is_off_by_a_millionth_is_wrong() {
        let f = |x: &[f64]| x[0].exp() * x[1].sin() + x[2].powi(3);
        let point = [0.3, -1.2, 2.0];
        let gradient = [0.3f64.exp() * (-1.2f64).sin(), 0.3f64.exp() * (-1.2f64).cos(), 12.0];
        assert_eq!(of_reals(&point, f, &gradient), [Verdict::Right; 3]);
        let off = [gradient[0], gradient[1] * (1.0 + 1e-6), gradient[2]];
        assert_eq!(of_reals(&point, f, &off), [Verdict::Right, Verdict::Wrong, Verdict::Right]);
    }

    #[test]
    fn a_kink_at_the_point_is_unchecked_whatever_the_gradient_says() {
        for slope in [0.0, 0.5, 1.0, 7.0] {
            assert_eq!(of_reals(&[0.0], |x| x[0].max(0.0), &[slope]), [Verdict::Unchecked(KINK)], "relu, {slope}");
            assert_eq!(of_reals(&[0.0], |x| x[0].abs() + x[0], &[slope]), [Verdict::Unchecked(KINK)], "abs, {slope}");
        }
        let curved = |x: &[f64]| 3.0 * x[0] * x[0] + 0.01 * x[0].abs();
        assert_eq!(of_reals(&[0.0], curved, &[0.005]), [Verdict::Unchecked(KINK)]);
    }

    #[test]
    fn a_kink_near_the_point_is_no_excuse() {
        for distance in [0.03, 0.01, 1e-3, 1e-4] {
            let f = |x: &[f64]| (x[0] - 1.0 + distance).abs() * x[0];
            assert_eq!(of_reals(&[1.0], f, &[1.0 + distance]), [Verdict::Right], "{distance}");
            assert_eq!(of_reals(&[1.0], f, &[1.01 + distance]), [Verdict::Wrong], "{distance}");
        }
    }

    #[test]
    fn jumps_noise_and_the_edge_of_the_domain_are_unchecked() {
        assert!(matches!(of_reals(&[2.0], |x| x[0].floor(), &[0.0])[..], [Verdict::Unchecked(_)]));
        assert_eq!(of_reals(&[0.0], |x| x[0].sqrt(), &[1e3]), [Verdict::Unchecked(DOMAIN)]);
        // The bits of a hash, a millionth of the value: the differences wander with the step.
        let noise = |x: f64| (x.to_bits().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / (1 << 24) as f64;
        for factor in [1.0, 1.001] {
            let verdict = of_reals(&[1.5], |x| x[0] * (1.0 + 1e-5 * noise(x[0])), &[factor]);
            assert!(matches!(verdict[..], [Verdict::Unchecked(_)] | [Verdict::Right]), "{verdict:?}");
        }
    }

    #[test]
    fn a_small_element_is_not_taken_for_right_because_others_are_large() {
        let rough = |x: &[f64]| x[0] + 1e-4 * x[1] * x[1].abs().sqrt();
        let verdicts = of_reals(&[1.0, 0.0], rough, &[1.0, 0.0]);
        assert!(matches!(verdicts[..], [Verdict::Right, Verdict::Unchecked(_)]), "{verdicts:?}");
    }

    #[test]
    fn a_gradient_of_zeros_is_right_where_the_function_is_constant() {
        let sum_of_softmax = |x: &[f64]| {
            let sum: f64 = x.iter().map(|x| x.exp()).sum();
            x.iter().map(|x| x.exp() / sum).sum()
        };
        assert_eq!(of_reals(&[0.5, -1.0, 2.0], sum_of_softmax, &[0.0, 1e-17, 0.0]), [Verdict::Right; 3]);
        assert_eq!(of_reals(&[0.5], |_| 4.0, &[0.0]), [Verdict::Right]);
        assert_eq!(of_reals(&[0.5], |_| 4.0, &[0.1]), [Verdict::Wrong]);
    }

    #[test]
    fn a_function_in_f32_is_held_to_the_rounding_of_f32() {
        let f = |x: &[f64]| {
            let (x, y) = (x[0] as f32, x[1] as f32);
            f64::from((x * y).tanh() + x * x)
        };
        let slope = 1.0 - 0.42f64.tanh().powi(2);
        let gradient = [slope * 0.7 + 1.2, slope * 0.6];
        let with = |factor: f64| verdicts(&judged(&[0.6, 0.7], f, &[gradient[0] * factor, gradient[1]], Arithmetic::SINGLE));
        assert_eq!(with(1.0), [Verdict::Right; 2]);
        assert_eq!(with(1.0 + 1e-7), [Verdict::Right; 2]);
        assert_eq!(with(1.01), [Verdict::Wrong, Verdict::Right]);
    }

    #[test]
    fn of_many_elements_the_wrong_one_is_found() {
        let point: Vec<f64> = (0..500).map(|i| (0.1 + i as f64).sin()).collect();
        let f = |x: &[f64]| x.iter().map(|x| x.exp()).sum();
        let mut gradient: Vec<f64> = point.iter().map(|x| x.exp()).collect();
        let right = judged(&point, f, &gradient, Arithmetic::DOUBLE);
        assert_eq!((verdicts(&right), right[0].elements.clone()), (vec![Verdict::Right], 0..500));
        gradient[321] *= 1.01;
        let wrong = judged(&point, f, &gradient, Arithmetic::DOUBLE);
        assert_eq!((verdicts(&wrong), &wrong[0].index), (vec![Verdict::Wrong], &vec![321]));
    }

    #[test]
    fn an_error_of_the_function_ends_the_check() {
        let inputs = [Input::new(vec![1.0, 2.0], &[2])];
        let outside = Outside { inputs: &inputs, value: &[3.0], gradient: &[1.0, 1.0], arithmetic: Arithmetic::DOUBLE };
        let mut calls = 0;
        let result = check_outside(&outside, |_| {
            calls += 1;
            if calls < 5 { Ok(vec![3.0]) } else { Err("gone") }
        });
        assert_eq!((result, calls), (Err("gone"), 5));
    }
}
