//! A loss and its gradients, each number with its rounding error, and the effect of simple mistakes on them.

use crate::error::LossError;

/// A number and the largest distance of another program's result from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    pub value: f64,
    pub tolerance: f64,
}

impl Estimate {
    /// True if the difference is no more than rounding.
    pub fn agrees(self, theirs: f64) -> bool {
        (theirs - self.value).abs() <= self.tolerance
    }

    /// Multiplies the number by an exact factor.
    pub fn times(self, factor: f64) -> Self {
        Self { value: self.value * factor, tolerance: self.tolerance * factor.abs() }
    }

    /// Adds two numbers and their tolerances.
    pub fn plus(self, other: Self) -> Self {
        Self { value: self.value + other.value, tolerance: self.tolerance + other.tolerance }
    }
}

/// A batch's loss and its gradients.
#[derive(Clone, Debug)]
pub(super) struct Evaluation {
    pub loss: Estimate,
    pub gradients: Vec<Vec<Estimate>>,
}

impl Evaluation {
    /// Multiplies the loss by one factor and the gradients by another.
    pub fn scaled(mut self, loss: f64, gradients: f64) -> Self {
        self.loss = self.loss.times(loss);
        self.gradients.iter_mut().flatten().for_each(|x| *x = x.times(gradients));
        self
    }

    /// Replaces the gradients.
    pub fn with_gradients(mut self, gradients: Vec<Vec<Estimate>>) -> Self {
        self.gradients = gradients;
        self
    }
}

/// A known mistake: its description, and the loss that it produces.
pub(super) struct Mistake<'a> {
    pub words: String,
    pub evaluate: Box<dyn Fn() -> Result<Evaluation, LossError> + 'a>,
}
