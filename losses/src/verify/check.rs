//! Comparisons of one quantity of another program with ours: the loss or a gradient. Numbers that are not finite are refused.

use super::evaluation::Estimate;
use crate::error::LossError;

/// A comparison of two values of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossCheck {
    /// The other program's value.
    pub theirs: f64,
    /// Our value.
    pub ours: f64,
    /// |theirs − ours|.
    pub abs_error: f64,
    /// The largest difference that rounding explains.
    pub tolerance: f64,
    /// True if the difference is no larger.
    pub passed: bool,
}

/// A comparison of a gradient with ours.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientCheck {
    /// The gradient's name in a dump.
    pub name: &'static str,
    /// The largest |theirs − ours|.
    pub max_abs_error: f64,
    /// The largest |theirs − ours|/max(|theirs|, |ours|); 0 where both are 0.
    pub max_rel_error: f64,
    /// Index of the worst element, flat in row-major order: its difference is the largest relative to its tolerance.
    pub worst_index: usize,
    /// The other program's value of the worst element.
    pub theirs: f64,
    /// Our value of the worst element.
    pub ours: f64,
    /// The worst element's tolerance.
    pub tolerance: f64,
    /// True if every element is within its tolerance.
    pub passed: bool,
}

/// Refuses numbers that are not finite.
pub(super) fn check_finite(what: &'static str, values: &[f64]) -> Result<(), LossError> {
    match values.iter().position(|x| !x.is_finite()) {
        Some(index) => Err(LossError::NotFinite { what, index, value: values[index] }),
        None => Ok(()),
    }
}

pub(super) fn check_loss(theirs: f64, ours: Estimate) -> LossCheck {
    let abs_error = (theirs - ours.value).abs();
    LossCheck { theirs, ours: ours.value, abs_error, tolerance: ours.tolerance, passed: ours.agrees(theirs) }
}

pub(super) fn check_gradient(name: &'static str, theirs: &[f64], ours: &[Estimate]) -> GradientCheck {
    let (mut max_abs_error, mut max_rel_error, mut worst_index, mut worst) = (0.0f64, 0.0f64, 0, -1.0);
    for (index, (&theirs, ours)) in theirs.iter().zip(ours).enumerate() {
        let error = (theirs - ours.value).abs();
        let size = theirs.abs().max(ours.value.abs());
        max_abs_error = max_abs_error.max(error);
        max_rel_error = max_rel_error.max(if size > 0.0 { error / size } else { 0.0 });
        let badness = if error.is_nan() { f64::INFINITY } else { error / ours.tolerance };
        if badness > worst {
            (worst, worst_index) = (badness, index);
        }
    }
    let passed = theirs.iter().zip(ours).all(|(&theirs, ours)| ours.agrees(theirs));
    let Estimate { value, tolerance } = ours[worst_index];
    GradientCheck { name, max_abs_error, max_rel_error, worst_index, theirs: theirs[worst_index], ours: value, tolerance, passed }
}
