//! What a check found, and what a person needs to find the bug.

use super::Method;
use super::problem::{Place, Problem};
use crate::backend::core::Core;
use crate::backend::device::Device;
use crate::scalar::Scalar;
use std::fmt;
use std::time::{Duration, Instant};

/// The element whose error is the largest part of what is allowed there.
#[derive(Clone, Debug, PartialEq)]
pub struct Worst {
    /// What was compared, such as `gradient`.
    pub quantity: &'static str,
    /// The input that the element belongs to; `None` for an element of the output or a number about all inputs.
    pub input: Option<usize>,
    /// The element's indices; empty for a number about the whole tensor.
    pub index: Vec<usize>,
    /// The value by the method.
    pub expected: f64,
    /// The value that is checked.
    pub got: f64,
    /// The seed of the sample, where it was drawn.
    pub seed: Option<u64>,
    /// The shapes of the inputs.
    pub shapes: Vec<Vec<usize>>,
    /// The value of the input at that element; `None` where the number is not about one input element.
    pub input_value: Option<f64>,
}

/// One number that a method compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// What was compared, such as `gradient`.
    pub quantity: &'static str,
    /// The input that the element belongs to; `None` for an element of the output or a number about all inputs.
    pub input: Option<usize>,
    /// The element's indices; empty for a number about the whole tensor.
    pub index: Vec<usize>,
    /// The value by the method.
    pub expected: f64,
    /// The value that is checked.
    pub got: f64,
    /// |expected − got| over what is allowed there: above 1 fails, ∞ where one is NaN.
    pub of_allowed: f64,
}

/// The result of one method.
#[derive(Clone, Debug)]
pub struct Check {
    /// The op, loss or model.
    pub name: String,
    /// How it was checked.
    pub method: Method,
    /// The largest |expected − got|; ∞ where one is NaN or only one is infinite.
    pub max_abs_error: f64,
    /// The largest |expected − got|/scale, where the scale is that of [`Check::tolerance_reason`] (and at least the smallest normal number
    /// over the unit round-off, for results that underflow).
    pub max_rel_error: f64,
    /// The largest `max_rel_error` that passes: γ = (r + 4√N)·u, see [`Settings::roundings`](super::Settings::roundings).
    pub tolerance: f64,
    /// What the scale of an element is made of.
    pub tolerance_reason: &'static str,
    /// True if `max_rel_error` is within `tolerance`.
    pub passed: bool,
    /// The time it took.
    pub seconds: f64,
    /// The worst element; `None` if there was nothing to compare.
    pub worst: Option<Worst>,
    /// Every number that was compared, of the sample with the worst element; empty unless
    /// [`Settings::comparisons`](super::Settings::comparisons) asks for them.
    pub comparisons: Vec<Comparison>,
}

/// The results of all methods.
#[derive(Clone, Debug)]
pub struct Report {
    /// The op, loss or model.
    pub name: String,
    /// One check a method.
    pub checks: Vec<Check>,
}

impl Report {
    /// True if every check passed.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    /// Passes, or says what is wrong.
    ///
    /// # Panics
    /// If a check failed, with the failed checks as text.
    #[track_caller]
    pub fn assert(&self) {
        assert!(self.passed(), "{self}");
    }

    /// Keeps, for each method, the worse of the two reports' checks and the sum of their times.
    pub fn merge(&mut self, other: Self) {
        for check in other.checks {
            match self.checks.iter_mut().find(|own| own.method == check.method) {
                Some(own) => own.merge(check),
                None => self.checks.push(check),
            }
        }
    }
}

impl Check {
    fn merge(&mut self, other: Self) {
        let (max_abs_error, seconds) = (self.max_abs_error.max(other.max_abs_error), self.seconds + other.seconds);
        let part = |check: &Self| check.max_rel_error / check.tolerance;
        if part(&other) > part(self) || self.worst.is_none() {
            *self = other;
        }
        (self.max_abs_error, self.seconds) = (max_abs_error, seconds);
    }
}

/// Shows the failed checks, or one line where there are none.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.passed() {
            return write!(f, "{}: {} methods agree", self.name, self.checks.len());
        }
        let failed: Vec<String> = self.checks.iter().filter(|check| !check.passed).map(Check::to_string).collect();
        f.write_str(&failed.join("\n"))
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed { "passed" } else { "FAILED" };
        write!(f, "{} by {}: {verdict}: ", self.name, self.method)?;
        writeln!(f, "error {:.3e}, relative to scale {:.3e}, allowed {:.3e}", self.max_abs_error, self.max_rel_error, self.tolerance)?;
        let Some(worst) = &self.worst else { return write!(f, "  nothing was compared") };
        let of = worst.input.map_or(String::new(), |input| format!(" of input {input}"));
        write!(f, "  {}{of} at {:?}: expected {:.17e}, got {:.17e}", worst.quantity, worst.index, worst.expected, worst.got)?;
        writeln!(f, "{}", worst.input_value.map_or(String::new(), |x| format!("; the input there is {x:?}")))?;
        let seed = worst.seed.map_or(String::new(), |seed| format!(", seed {seed}"));
        write!(f, "  inputs of shapes {:?}{seed}; scale: {}", worst.shapes, self.tolerance_reason)
    }
}

/// The arithmetic of the less precise side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arithmetic {
    unit_roundoff: f64,
    /// Below it the error of a rounding is absolute: that much times the unit round-off.
    smallest_normal: f64,
}

impl Arithmetic {
    /// f32.
    pub const SINGLE: Self = Self { unit_roundoff: f32::UNIT_ROUNDOFF, smallest_normal: f32::MIN_POSITIVE as f64 };
    /// f64.
    pub const DOUBLE: Self = Self { unit_roundoff: f64::UNIT_ROUNDOFF, smallest_normal: f64::MIN_POSITIVE };

    /// The largest relative error of one rounding.
    pub fn unit_roundoff(self) -> f64 {
        self.unit_roundoff
    }

    /// The coarsest rounding that a device does.
    pub(super) fn of(device: &Device) -> Self {
        Self { unit_roundoff: device.precision().unit_roundoff(), ..Self::SINGLE }
    }
}

/// Collects comparisons into a [`Check`].
pub(super) struct Tally<'a> {
    problem: &'a Problem<'a>,
    start: Instant,
    tolerance: f64,
    /// Added to every scale, for results that underflow.
    underflow: f64,
    max_abs_error: f64,
    max_rel_error: f64,
    worst: Option<(&'static str, Place, f64, f64)>,
    comparisons: Vec<Comparison>,
}

impl<'a> Tally<'a> {
    /// Nothing compared yet.
    pub fn new(problem: &'a Problem<'a>, arithmetic: Arithmetic) -> Self {
        let tolerance = problem.roundings * arithmetic.unit_roundoff;
        let underflow = arithmetic.smallest_normal / arithmetic.unit_roundoff;
        Self {
            problem,
            start: Instant::now(),
            tolerance,
            underflow,
            max_abs_error: 0.0,
            max_rel_error: 0.0,
            worst: None,
            comparisons: Vec::new(),
        }
    }

    /// γ: what an error may be relative to its scale.
    pub fn tolerance(&self) -> f64 {
        self.tolerance
    }

    /// Compares two numbers, whose difference may be γ·scale.
    pub fn compare(&mut self, quantity: &'static str, place: Place, expected: f64, got: f64, scale: f64) {
        let error = if expected == got { 0.0 } else { (expected - got).abs() };
        let error = if error.is_nan() { f64::INFINITY } else { error };
        let relative = if error == 0.0 { 0.0 } else { error / (scale + self.underflow) };
        let relative = if relative.is_nan() { f64::INFINITY } else { relative };
        self.max_abs_error = self.max_abs_error.max(error);
        if self.problem.comparisons {
            let (input, index) = self.problem.locate(place);
            self.comparisons.push(Comparison { quantity, input, index, expected, got, of_allowed: relative / self.tolerance });
        }
        if self.worst.is_none() || relative > self.max_rel_error {
            self.max_rel_error = relative;
            self.worst = Some((quantity, place, expected, got));
        }
    }

    /// Compares two values of the output and two gradients.
    pub fn compare_all(&mut self, expected: (&[f64], &[f64]), got: (&[f64], &[f64]), scales: (&[f64], &[f64])) {
        for (k, (&e, &g)) in expected.0.iter().zip(got.0).enumerate() {
            self.compare("value", Place::Output(k), e, g, scales.0[k]);
        }
        for (j, (&e, &g)) in expected.1.iter().zip(got.1).enumerate() {
            self.compare("gradient", Place::Element(j), e, g, scales.1[j]);
        }
    }

    /// The check, timed since the tally was made plus `earlier`.
    pub fn finish(self, method: Method, tolerance_reason: &'static str, earlier: Duration) -> Check {
        let worst = self.worst.map(|(quantity, place, expected, got)| {
            let (input, index) = self.problem.locate(place);
            let (seed, shapes) = (self.problem.seed, self.problem.shapes.clone());
            let input_value = if let Place::Element(j) = place { Some(self.problem.x[j]) } else { None };
            Worst { quantity, input, index, expected, got, seed, shapes, input_value }
        });
        Check {
            name: self.problem.name.to_string(),
            method,
            max_abs_error: self.max_abs_error,
            max_rel_error: self.max_rel_error,
            tolerance: self.tolerance,
            tolerance_reason,
            passed: self.max_rel_error <= self.tolerance,
            seconds: (earlier + self.start.elapsed()).as_secs_f64(),
            worst,
            comparisons: self.comparisons,
        }
    }
}
