//! A loss and its gradients, each number with the error that rounding may have given it; and what simple mistakes make of them.

use crate::error::LossError;

/// A number and how far another program's may be from it.
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

    /// The number times an exact factor.
    pub fn times(self, factor: f64) -> Self {
        Self { value: self.value * factor, tolerance: self.tolerance * factor.abs() }
    }

    /// The sum of two.
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
    /// The loss times one factor, the gradients times another.
    pub fn scaled(mut self, loss: f64, gradients: f64) -> Self {
        self.loss = self.loss.times(loss);
        self.gradients.iter_mut().flatten().for_each(|x| *x = x.times(gradients));
        self
    }

    /// With another's gradients.
    pub fn with_gradients(mut self, gradients: Vec<Vec<Estimate>>) -> Self {
        self.gradients = gradients;
        self
    }
}

/// A known mistake: what to say of it, and the loss that it makes.
pub(super) struct Mistake<'a> {
    pub words: String,
    pub evaluate: Box<dyn Fn() -> Result<Evaluation, LossError> + 'a>,
}
