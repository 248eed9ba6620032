//! The optimizer's step, in place.

use super::core::Core;
use super::step::{AdamwPart, SgdStep, StepDecision};
use crate::formula::{Add, Div, Mul, Sub};
use crate::functions::Sqrt;
use crate::scalar::Scalar;

/// What an optimizer needs: norms, decisions and rules.
pub trait Update: Core {
    /// Σ x² of each array, as host numbers in f64 arithmetic, with one answer from the device for all: for the norm of a gradient.
    fn sums_of_squares(&self, arrays: &[&Self::Array]) -> Vec<f64> {
        let of = |x: &&Self::Array| self.to_vec(x).iter().map(|v| v.to_f64() * v.to_f64()).sum();
        arrays.iter().map(of).collect()
    }

    /// One AdamW step of each parameter in place (Loshchilov and Hutter 2019, algorithm 2): with g scaled ([`Update::step_scale`]),
    /// m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², θ ← (1 − ηλ)θ − η·m̂/(√v̂ + ε), m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ).
    ///
    /// # Panics
    /// If the shapes of a parameter's arrays differ.
    fn adamw(&self, parts: Vec<AdamwPart<'_, Self::Array>>, control: Option<&Self::Array>) {
        for AdamwPart { theta, m, v, gradient, step } in parts {
            let Some(scale) = self.step_scale(step.gradient_scale, control) else { return };
            let power = |beta: f64| 1.0 - beta.powf(step.step as f64);
            let g = self.scale(gradient, scale);
            let mix = |old: &Self::Array, new: &Self::Array, beta: f64| self.zip(Add, &self.scale(old, beta), &self.scale(new, 1.0 - beta));
            *m = mix(m, &g, step.beta1);
            *v = mix(v, &self.zip(Mul, &g, &g), step.beta2);
            let root = self.map(Sqrt, &self.scale(v, 1.0 / power(step.beta2)));
            let denominator = self.zip(Add, &root, &self.full(step.epsilon, &[]));
            let update = self.scale(&self.zip(Div, m, &denominator), step.learning_rate / power(step.beta1));
            *theta = self.zip(Sub, &self.scale(theta, 1.0 - step.learning_rate * step.weight_decay), &update);
        }
    }

    /// One step of gradient descent in place: with g scaled ([`Update::step_scale`]), u ← μu + g, θ ← θ − ηu.
    ///
    /// # Panics
    /// If the arrays' shapes differ.
    fn sgd(
        &self,
        theta: &mut Self::Array,
        velocity: &mut Self::Array,
        gradient: &Self::Array,
        step: &SgdStep,
        control: Option<&Self::Array>,
    ) {
        let Some(scale) = self.step_scale(step.gradient_scale, control) else { return };
        *velocity = self.accumulate(self.scale(velocity, step.momentum), &self.scale(gradient, scale));
        *theta = self.zip(Sub, theta, &self.scale(velocity, step.learning_rate));
    }

    /// What a gradient is multiplied by: `scale`, or what a control ([`Update::step_control`]) has in its place; `None` where that says
    /// that not all is finite, so that nothing changes. Reads the control: a device with a queue leaves that to its kernels.
    fn step_scale(&self, scale: f64, control: Option<&Self::Array>) -> Option<f64> {
        match control.map(|control| self.step_decision(control)) {
            None => Some(scale),
            Some(decision) => decision.finite.then_some(decision.scale),
        }
    }

    /// The [`StepDecision`] for a step from the sums of micro-batches' losses (one element each), the gradients, what the sums are means
    /// over (above 0), and the largest norm: as an array that only [`Update::adamw`], [`Update::sgd`] and
    /// [`Update::step_decision`] understand.
    fn step_control(&self, losses: &[&Self::Array], gradients: &[&Self::Array], weight: f64, clip: f64) -> Self::Array {
        let loss = losses.iter().map(|loss| self.to_vec(loss)[0].to_f64()).sum();
        let numbers = StepDecision::new(loss, self.sums_of_squares(gradients), weight, clip).numbers();
        let shape = [numbers.len()];
        self.from_vec(numbers.into_iter().map(Self::Scalar::from_f64).collect(), &shape)
    }

    /// What [`Update::step_control`] came to.
    fn step_decision(&self, control: &Self::Array) -> StepDecision {
        StepDecision::from_numbers(&self.to_vec(control).iter().map(|x| x.to_f64()).collect::<Vec<_>>())
    }
}
