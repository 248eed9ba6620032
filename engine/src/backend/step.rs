//! What an optimiser's step is given, and what is decided about it.

/// The constants of one AdamW step (Loshchilov and Hutter 2019, algorithm 2), with both bias corrections and the clipping factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamwStep {
    /// Step size η times the schedule's factor.
    pub learning_rate: f64,
    /// Decay β₁ of the first moment, in [0, 1).
    pub beta1: f64,
    /// Decay β₂ of the second moment, in [0, 1).
    pub beta2: f64,
    /// Added to √v̂.
    pub epsilon: f64,
    /// Decoupled weight decay λ: the parameter is first multiplied by 1 − ηλ.
    pub weight_decay: f64,
    /// Which step this is, from 1; fixes the bias corrections 1 − βᵗ.
    pub step: u64,
    /// The gradient is multiplied by this first (global-norm clipping, averaging).
    pub gradient_scale: f64,
}

/// A parameter in an AdamW step: its value θ and moments m and v, which the step changes, its gradient g, all of one shape, and the
/// constants.
pub struct AdamwPart<'a, A> {
    /// θ.
    pub theta: &'a mut A,
    /// The first moment.
    pub m: &'a mut A,
    /// The second moment.
    pub v: &'a mut A,
    /// g.
    pub gradient: &'a A,
    /// The constants for this parameter.
    pub step: AdamwStep,
}

/// The constants of one step of gradient descent with momentum (Polyak 1964, with the learning rate outside of the velocity).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// η.
    pub learning_rate: f64,
    /// μ in [0, 1): what the velocity keeps.
    pub momentum: f64,
    /// The gradient is multiplied by this first (global-norm clipping, averaging).
    pub gradient_scale: f64,
}

/// What became of an optimiser's step that is decided where its numbers are ([`Update::step_control`](super::Update::step_control)).
#[derive(Clone, Debug, PartialEq)]
pub struct StepDecision {
    /// What the gradients are multiplied by: 1/weight, less where the norm is clipped.
    pub scale: f64,
    /// True if the loss and all squares are finite. If not, the step is not made.
    pub finite: bool,
    /// Σ of the losses.
    pub loss: f64,
    /// √ΣΣ g² / weight.
    pub norm: f64,
    /// Σ g² of each gradient.
    pub squares: Vec<f64>,
}

impl StepDecision {
    /// The decision from Σ of the losses, Σ g² of each gradient, what the sums are means over, and the largest norm.
    pub fn new(loss: f64, squares: Vec<f64>, weight: f64, clip: f64) -> Self {
        let norm = squares.iter().sum::<f64>().sqrt() * (1.0 / weight);
        let scale = if norm > clip { clip / norm } else { 1.0 } / weight;
        let finite = loss.is_finite() && squares.iter().all(|x| x.is_finite());
        Self { scale, finite, loss, norm, squares }
    }

    /// [scale, finite (1 or 0), loss, norm, squares…]: how it lies on a device.
    pub fn numbers(&self) -> Vec<f64> {
        [&[self.scale, f64::from(u8::from(self.finite)), self.loss, self.norm], &self.squares[..]].concat()
    }

    /// The inverse of [`StepDecision::numbers`].
    ///
    /// # Panics
    /// If there are fewer than four.
    pub fn from_numbers(numbers: &[f64]) -> Self {
        let [scale, finite, loss, norm, squares @ ..] = numbers else { panic!("a step's decision has at least four numbers: {numbers:?}") };
        Self { scale: *scale, finite: *finite != 0.0, loss: *loss, norm: *norm, squares: squares.to_vec() }
    }
}
