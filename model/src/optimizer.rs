//! Optimisers and what goes with them: the learning-rate schedule, the global norm of a gradient and clipping by it.

use crate::decoder::{Decoder, Parameter};
use crate::error::{Error, Result};
use engine::{AdamwPart, AdamwStep, Backend, Gradients, SgdStep, StepDecision, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The rule that turns a gradient into a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "lowercase", deny_unknown_fields)]
pub enum Rule {
    /// AdamW (Loshchilov and Hutter 2019, algorithm 2).
    Adamw {
        /// Decay of the first moment, in [0, 1).
        beta1: f64,
        /// Decay of the second moment, in [0, 1).
        beta2: f64,
        /// Added to the root of the second moment, above 0.
        epsilon: f64,
        /// Decoupled weight decay λ, at least 0.
        weight_decay: f64,
        /// True if vectors (gains and biases) decay too.
        decay_vectors: bool,
    },
    /// θ ← θ − η·u with u ← μ·u + g.
    Sgd {
        /// μ, in [0, 1); 0 is plain gradient descent.
        momentum: f64,
    },
}

impl Rule {
    /// Makes AdamW with the default β₁, β₂ and ε and this decay of matrices.
    pub fn adamw(weight_decay: f64) -> Self {
        Self::Adamw { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay, decay_vectors: false }
    }
}

impl Default for Rule {
    /// Makes AdamW with β₁ = 0.9, β₂ = 0.95, ε = 1e-8 and λ = 0.1 on matrices.
    fn default() -> Self {
        Self::adamw(0.1)
    }
}

/// A linear warm-up to the peak, then half a cosine down to a final fraction of it (Loshchilov and Hutter 2017, eq. 5).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// η at the peak.
    pub learning_rate: f64,
    /// Steps of the warm-up: step s of them has η·s/warmup.
    pub warmup: u64,
    /// Number of steps in total.
    pub steps: u64,
    /// η at the last step as a fraction of the peak, in [0, 1].
    pub final_fraction: f64,
}

impl Schedule {
    /// Makes a schedule of `steps` steps with one learning rate.
    pub fn constant(learning_rate: f64, steps: u64) -> Self {
        Self { learning_rate, warmup: 0, steps, final_fraction: 1.0 }
    }

    /// Returns η of step `step`, counted from 1.
    pub fn at(&self, step: u64) -> f64 {
        if step <= self.warmup {
            return self.learning_rate * step as f64 / self.warmup as f64;
        }
        let span = self.steps.saturating_sub(self.warmup).max(1) as f64;
        let progress = ((step - self.warmup) as f64 / span).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        self.learning_rate * (self.final_fraction + (1.0 - self.final_fraction) * cosine)
    }
}

/// What an optimiser moves: a [`Decoder`], or a person's own `Vec` of parameters, each under a name of its own.
pub trait Parameters<B: Backend> {
    /// Returns the parameters.
    fn parameters(&self) -> Vec<&Parameter<B>>;
    /// Returns the same parameters in the same order, to be changed.
    fn parameters_mut(&mut self) -> Vec<&mut Parameter<B>>;
}

impl<B: Backend> Parameters<B> for Decoder<B> {
    fn parameters(&self) -> Vec<&Parameter<B>> {
        Self::parameters(self)
    }
    fn parameters_mut(&mut self) -> Vec<&mut Parameter<B>> {
        Self::parameters_mut(self)
    }
}

impl<B: Backend> Parameters<B> for Vec<Parameter<B>> {
    fn parameters(&self) -> Vec<&Parameter<B>> {
        self.iter().collect()
    }
    fn parameters_mut(&mut self) -> Vec<&mut Parameter<B>> {
        self.iter_mut().collect()
    }
}

/// Moments of one parameter: (m, v) of AdamW, (u, unused) of SGD.
struct Moments<B: Backend>([B::Array; 2]);

/// An optimiser with its state.
///
/// ```
/// use engine::{Cpu, Tensor};
/// use model::decoder::Parameter;
/// use model::optimizer::{Optimizer, Rule};
///
/// // The x that minimises (x − 3)².
/// let cpu = Cpu::<f64>::new();
/// let mut parameters = vec![Parameter { name: "x".to_owned(), tensor: Tensor::parameter(&cpu, &[0.0], &[]) }];
/// let mut optimizer = Optimizer::new(Rule::adamw(0.0));
/// for step in 0..300 {
///     let error = &parameters[0].tensor - 3.0;
///     let gradients = (&error * &error).backward();
///     optimizer.step(&mut parameters, gradients, 1.0, 0.1 / (1.0 + 0.1 * f64::from(step)));
/// }
/// assert!((parameters[0].tensor.item() - 3.0).abs() < 0.01);
/// ```
pub struct Optimizer<B: Backend> {
    rule: Rule,
    step: u64,
    moments: BTreeMap<String, Moments<B>>,
}

/// The norm of a gradient over all parameters.
pub struct GradientNorm {
    /// √Σ g², of the gradient as given, times the scale.
    pub norm: f64,
    /// The first parameter whose gradient is not finite.
    pub not_finite: Option<String>,
}

/// Returns the parameters that have a gradient, with their gradients.
fn with_gradients<'a, B: Backend>(
    parameters: &'a impl Parameters<B>,
    gradients: &'a Gradients<B>,
) -> (Vec<&'a Parameter<B>>, Vec<&'a B::Array>) {
    let parameters = parameters.parameters().into_iter();
    parameters.filter_map(|parameter| Some((parameter, gradients.array(&parameter.tensor)?))).unzip()
}

/// Returns the name of the first parameter whose Σ g² is not finite.
fn first_not_finite<B: Backend>(parameters: &[&Parameter<B>], squares: &[f64]) -> Option<String> {
    parameters.iter().zip(squares).find(|(_, squares)| !squares.is_finite()).map(|(parameter, _)| parameter.name.clone())
}

/// Computes the global norm of scale·gradients.
pub fn gradient_norm<B: Backend>(parameters: &impl Parameters<B>, gradients: &Gradients<B>, scale: f64) -> GradientNorm {
    let (parameters, arrays) = with_gradients(parameters, gradients);
    let squares = parameters.first().map_or_else(Vec::new, |first| first.tensor.backend().sums_of_squares(&arrays));
    let norm = squares.iter().sum::<f64>().sqrt() * scale;
    GradientNorm { norm, not_finite: first_not_finite(&parameters, &squares) }
}

/// Returns the factor that brings a norm down to `limit`, at most 1.
pub fn clip_factor(norm: f64, limit: f64) -> f64 {
    if norm > limit { limit / norm } else { 1.0 }
}

impl<B: Backend> Optimizer<B> {
    /// Makes an optimiser that has made no step.
    pub fn new(rule: Rule) -> Self {
        Self { rule, step: 0, moments: BTreeMap::new() }
    }

    /// Returns the rule that it follows.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Returns the number of steps that it has made.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Moves every parameter that has a gradient: one step with η = `learning_rate` along `scale`·gradient.
    pub fn step(&mut self, parameters: &mut impl Parameters<B>, gradients: Gradients<B>, scale: f64, learning_rate: f64) {
        self.update(parameters, gradients, scale, None, learning_rate);
    }

    /// Like [`Optimizer::step`], with the scale formed on the device. The scale divides the gradients of the sum of `losses` by `weight`
    /// and clips them to `clip`. The host waits only at the end, for the decision. If the loss or a gradient is not finite, no step is
    /// made. The first parameter with such a gradient is then named, if there is one.
    pub fn step_by_device(
        &mut self,
        decoder: &mut Decoder<B>,
        gradients: Gradients<B>,
        losses: &[&B::Array],
        [weight, clip, learning_rate]: [f64; 3],
    ) -> (StepDecision, Option<String>) {
        let backend = decoder.backend().clone();
        let control = backend.step_control(losses, &with_gradients(decoder, &gradients).1, weight, clip);
        let places: Vec<bool> = decoder.parameters().iter().map(|parameter| gradients.array(&parameter.tensor).is_some()).collect();
        self.update(decoder, gradients, 1.0, Some(&control), learning_rate);
        let decision = backend.step_decision(&control);
        self.step -= u64::from(!decision.finite);
        let parameters: Vec<&Parameter<B>> =
            decoder.parameters().into_iter().zip(places).filter(|(_, used)| *used).map(|(p, _)| p).collect();
        let not_finite = first_not_finite(&parameters, &decision.squares);
        (decision, not_finite)
    }

    fn update(
        &mut self,
        parameters: &mut impl Parameters<B>,
        mut gradients: Gradients<B>,
        scale: f64,
        control: Option<&B::Array>,
        learning_rate: f64,
    ) {
        self.step += 1;
        let Some(backend) = parameters.parameters().first().map(|first| first.tensor.backend().clone()) else { return };
        let mut moving: Vec<Moving<'_, B>> = Vec::new();
        for parameter in parameters.parameters_mut() {
            let Some(gradient) = gradients.take(&parameter.tensor) else { continue };
            let (name, moments) = self.moments.remove_entry(&parameter.name).unwrap_or_else(|| {
                let zeros = std::array::from_fn(|_| backend.full(0.0, parameter.tensor.shape()));
                (parameter.name.clone(), Moments(zeros))
            });
            moving.push(Moving { decayed: parameter.tensor.rank() > 1, theta: parameter.take_array(), parameter, name, moments, gradient });
        }
        match self.rule {
            Rule::Adamw { beta1, beta2, epsilon, weight_decay, decay_vectors } => {
                let step = AdamwStep { learning_rate, beta1, beta2, epsilon, weight_decay, step: self.step, gradient_scale: scale };
                backend.adamw(moving.iter_mut().map(|moving| moving.adamw_part(&step, decay_vectors)).collect(), control);
            }
            Rule::Sgd { momentum } => {
                let step = SgdStep { learning_rate, momentum, gradient_scale: scale };
                for Moving { theta, moments: Moments([velocity, _]), gradient, .. } in &mut moving {
                    backend.sgd(theta, velocity, gradient, &step, control);
                }
            }
        }
        for Moving { parameter, name, theta, moments, .. } in moving {
            parameter.set_array(&backend, theta);
            self.moments.insert(name, moments);
        }
    }

    /// Returns the moments by name, for a checkpoint: `m.NAME` and `v.NAME`.
    pub fn state(&self, backend: &B) -> Vec<(String, Tensor<B>)> {
        let entry = |prefix: &str, name: &str, array: &B::Array| (format!("{prefix}.{name}"), Tensor::from_array(backend, array.clone()));
        self.moments.iter().flat_map(|(name, Moments([m, v]))| [entry("m", name, m), entry("v", name, v)]).collect()
    }

    /// Restores the moments of [`Optimizer::state`] and the number of steps from a checkpoint. `find` gives a named tensor of a shape.
    ///
    /// # Errors
    /// Those of `find`; the optimiser is then as before.
    pub fn restore(
        &mut self,
        decoder: &Decoder<B>,
        step: u64,
        mut find: impl FnMut(&str, &[usize]) -> Result<Vec<f64>, Error>,
    ) -> Result<()> {
        let backend = decoder.backend();
        let mut found = BTreeMap::new();
        for parameter in decoder.parameters() {
            let mut part = |prefix: &str| -> Result<B::Array> {
                let data = find(&format!("{prefix}.{}", parameter.name), parameter.tensor.shape())?;
                Ok(Tensor::constant(backend, &data, parameter.tensor.shape()).into_array())
            };
            found.insert(parameter.name.clone(), Moments([part("m")?, part("v")?]));
        }
        (self.moments, self.step) = (found, step);
        Ok(())
    }
}

/// A parameter borrowed for one update, with its moments and its gradient.
struct Moving<'a, B: Backend> {
    parameter: &'a mut Parameter<B>,
    name: String,
    theta: B::Array,
    moments: Moments<B>,
    gradient: B::Array,
    /// True if weight decay applies (rank ≥ 2).
    decayed: bool,
}

impl<B: Backend> Moving<'_, B> {
    fn adamw_part(&mut self, step: &AdamwStep, decay_vectors: bool) -> AdamwPart<'_, B::Array> {
        let weight_decay = if decay_vectors || self.decayed { step.weight_decay } else { 0.0 };
        let [m, v] = &mut self.moments.0;
        AdamwPart { theta: &mut self.theta, m, v, gradient: &self.gradient, step: AdamwStep { weight_decay, ..*step } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_warms_up_peaks_and_ends_at_its_final_fraction() {
        let schedule = Schedule { learning_rate: 2.0, warmup: 10, steps: 110, final_fraction: 0.1 };
        assert_eq!(schedule.at(5), 1.0);
        assert_eq!(schedule.at(10), 2.0);
        assert!((schedule.at(60) - 1.1).abs() < 1e-12, "half way down");
        assert!((schedule.at(110) - 0.2).abs() < 1e-12);
        assert!((schedule.at(500) - 0.2).abs() < 1e-12, "and it stays there");
    }

    #[test]
    fn clipping_only_shortens() {
        assert_eq!(clip_factor(0.5, 1.0), 1.0);
        assert_eq!(clip_factor(4.0, 1.0), 0.25);
    }
}
