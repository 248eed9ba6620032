//! The optimiser step that every training command shares: gradients of micro-batches added up, averaged, clipped and applied.

use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::optimizer::{Optimizer, Rule, Schedule, clip_factor, gradient_norm};
use engine::profile::{self, Pass};
use engine::{Backend, Gradients, Tensor};

/// A decoder in training.
pub struct Trainer<B: Backend> {
    /// The decoder as of the last step.
    pub decoder: Decoder<B>,
    /// The optimiser with its moments.
    pub optimizer: Optimizer<B>,
    /// The learning rate over the steps.
    pub schedule: Schedule,
    /// The largest global norm of a gradient; longer ones are shortened to it.
    pub clip: f64,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOutcome {
    /// Which step, from 1.
    pub step: u64,
    /// The loss before the step: the sum of the micro-batches' losses over their weight.
    pub loss: f64,
    /// The global norm of its gradient before clipping.
    pub gradient_norm: f64,
    /// η of the step.
    pub learning_rate: f64,
}

impl<B: Backend> Trainer<B> {
    /// A trainer that has made no step.
    pub fn new(decoder: Decoder<B>, rule: Rule, schedule: Schedule, clip: f64) -> Self {
        Self { decoder, optimizer: Optimizer::new(rule), schedule, clip }
    }

    /// One step on `micro_batches` micro-batches. `loss` gives the sum of a micro-batch's losses and their number (of tokens, sequences or
    /// pairs); the step is along the gradient of the mean over the whole batch, so it does not depend on how the batch is split.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for a loss or a gradient that is NaN or infinite (the parameters are then as before); those of `loss`.
    pub fn step(
        &mut self,
        micro_batches: usize,
        mut loss: impl FnMut(&Decoder<B>, usize) -> Result<(Tensor<B>, f64)>,
    ) -> Result<StepOutcome> {
        let step = self.optimizer.steps() + 1;
        let (mut total, mut weight, mut gradients): (f64, f64, Option<Gradients<B>>) = (0.0, 0.0, None);
        for micro_batch in 0..micro_batches {
            let (sum, count) = loss(&self.decoder, micro_batch)?;
            total += sum.item();
            weight += count;
            if !total.is_finite() {
                return Err(Error::NotFinite { step, what: format!("the loss is {}", total / weight) });
            }
            let new = sum.backward();
            match &mut gradients {
                Some(gradients) => gradients.accumulate(new),
                None => gradients = Some(new),
            }
        }
        let loss = total / weight;
        let gradients = gradients.ok_or_else(|| Error::bad_config("a step needs at least one micro-batch"))?;
        let norm = gradient_norm(&self.decoder, &gradients, 1.0 / weight);
        if let Some(name) = norm.not_finite {
            return Err(Error::NotFinite { step, what: format!("the loss is {loss}, but the gradient of {name} is not finite") });
        }
        profile::mark(Pass::Update, "gradient norm", || 0);
        let learning_rate = self.schedule.at(step);
        let scale = clip_factor(norm.norm, self.clip) / weight;
        self.optimizer.step(&mut self.decoder, gradients, scale, learning_rate);
        profile::mark(Pass::Update, "optimizer", || 0);
        Ok(StepOutcome { step, loss, gradient_norm: norm.norm, learning_rate })
    }
}
