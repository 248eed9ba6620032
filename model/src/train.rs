//! The optimiser step that every training run shares: gradients of micro-batches added up, averaged, clipped and applied. [`run()`] is the
//! loop of a run.

mod run;

pub use run::{Ended, Participant, Plan, run};

use crate::decoder::Decoder;
use crate::diagnosis;
use crate::error::{Error, Result};
use crate::optimizer::{Optimizer, Rule, Schedule, clip_factor, gradient_norm};
use crate::parallel::{Parallel, Share};
use engine::profile::{self, Pass};
use engine::{Backend, Gradients, Tensor};
use losses::Running;

/// Policy for a step whose loss or gradient is not finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnNonFinite {
    /// End the run before the step.
    #[default]
    Stop,
    /// Leave the weights and moments as they are and go on with the next step's rows.
    Skip,
}

/// A decoder in training.
pub struct Trainer<B: Backend> {
    /// The decoder as of the last step.
    pub decoder: Decoder<B>,
    /// The optimiser with its moments.
    pub optimizer: Optimizer<B>,
    /// The learning rate over the steps.
    pub schedule: Schedule,
    /// The largest global norm of a gradient; larger gradients are scaled down to it.
    pub clip: f64,
    /// Policy for a loss or a gradient that is not finite.
    pub on_non_finite: OnNonFinite,
    /// Steps that were skipped so far.
    pub skipped: u64,
    /// What losses whose settings follow from earlier steps remember.
    pub running: Running,
    /// The reference of an alignment that moves it with the policy. Checkpoints keep it.
    pub moving_reference: Option<Decoder<B>>,
    /// True if the next step counts the weights that it changes, which costs a copy of the weights.
    pub count_changes: bool,
    /// The other processes that make the same steps, if there are any.
    pub parallel: Option<Parallel<B>>,
}

/// Result of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOutcome {
    /// Number of the step, from 1.
    pub step: u64,
    /// The loss before the step: the sum of the micro-batches' losses over their weight.
    pub loss: f64,
    /// The global norm of its gradient before clipping.
    pub gradient_norm: f64,
    /// η of the step.
    pub learning_rate: f64,
    /// The reason, if the step was skipped.
    pub skipped: Option<String>,
    /// The fraction of the weights that the step changed, in [0, 1], if it was requested.
    pub changed: Option<f64>,
}

/// (mean loss, norm of its gradient) of a step that was made, or (loss, what is not finite) of one that was not.
type Made = std::result::Result<(f64, f64), (f64, String)>;

fn nothing_to_learn() -> Error {
    Error::bad_config("a step needs at least one micro-batch, and something to predict in it")
}
fn loss_not_finite(loss: f64) -> String {
    format!("the loss is {loss}")
}
fn gradient_not_finite(loss: f64, name: &str) -> String {
    format!("the loss is {loss}, but the gradient of {name} is not finite")
}

/// The sum of the gradients so far and those of one more micro-batch.
fn added<B: Backend>(before: Option<Gradients<B>>, more: Gradients<B>) -> Gradients<B> {
    match before {
        None => more,
        Some(mut before) => {
            before.accumulate(more);
            before
        }
    }
}

/// The mean loss of a batch with the sum of its gradients.
struct Mean<B: Backend> {
    loss: f64,
    weight: f64,
    gradients: Gradients<B>,
    norm: f64,
}

impl<B: Backend> Trainer<B> {
    /// A trainer before its first step, which stops at a step that is not finite.
    pub fn new(decoder: Decoder<B>, rule: Rule, schedule: Schedule, clip: f64) -> Self {
        let on_non_finite = OnNonFinite::Stop;
        let (optimizer, running) = (Optimizer::new(rule), Running::default());
        let (moving_reference, parallel) = (None, None);
        Self { decoder, optimizer, schedule, clip, on_non_finite, skipped: 0, running, moving_reference, count_changes: false, parallel }
    }

    /// Number of steps made or skipped.
    pub fn steps(&self) -> u64 {
        self.optimizer.steps() + self.skipped
    }

    /// (this process's number, the number of processes): (0, 1) for a process by itself.
    pub fn place(&self) -> (usize, usize) {
        self.parallel.as_ref().map_or((0, 1), |parallel| (parallel.processes.rank(), parallel.processes.size()))
    }

    /// This process's share of a step's rows, in micro-batches of at most `at_once`.
    pub fn share(&self, rows: usize, at_once: usize) -> Share {
        let (rank, size) = self.place();
        Share::of(rows, at_once, rank, size)
    }

    /// One step on `micro_batches` micro-batches. `loss` returns the sum of a micro-batch's losses and their number (of tokens, sequences
    /// or pairs). The step follows the gradient of the mean over the whole batch, so it does not depend on how the batch is split. `loss`
    /// must be a function of its arguments: after a step that is not finite it is called again, to find the op at fault. With several
    /// processes, each passes its own micro-batches, the batch is that of all, and all make the same step.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for a batch without rows, or without a target in them; [`Error::NotFinite`] for a loss or a gradient that is
    /// NaN or infinite, unless such steps are skipped (the parameters are as before in either case), in every process alike; those of
    /// `loss`; [`Error::Lost`].
    pub fn step(&mut self, micro_batches: usize, loss: impl FnMut(&Decoder<B>, usize) -> Result<(Tensor<B>, f64)>) -> Result<StepOutcome> {
        let backend = self.decoder.backend().clone();
        backend.keep_awake(|| self.step_awake(micro_batches, loss))
    }

    fn step_awake(
        &mut self,
        micro_batches: usize,
        mut loss: impl FnMut(&Decoder<B>, usize) -> Result<(Tensor<B>, f64)>,
    ) -> Result<StepOutcome> {
        let (step, learning_rate) = (self.steps() + 1, self.schedule.at(self.steps() + 1));
        let before: Option<Vec<Tensor<B>>> =
            self.count_changes.then(|| self.decoder.parameters().into_iter().map(|p| p.tensor.clone()).collect());
        let by_device = self.decoder.backend().is_queued() && self.parallel.as_mut().is_none_or(Parallel::is_queued);
        let made = if by_device {
            self.decided_by_device(micro_batches, &mut loss, learning_rate)?
        } else {
            self.decided_here(micro_batches, &mut loss, learning_rate)?
        };
        let (mean, gradient_norm) = match made {
            Ok(made) => made,
            Err((value, what)) => {
                let what = format!("{what}; {}", self.explain(micro_batches, loss)?);
                if self.on_non_finite == OnNonFinite::Stop {
                    return Err(Error::NotFinite { step, what });
                }
                self.skipped += 1;
                let (gradient_norm, skipped) = (f64::NAN, Some(what));
                return Ok(StepOutcome { step, loss: value, gradient_norm, learning_rate, skipped, changed: None });
            }
        };
        let changed = before.map(|before| changed(&before, &self.decoder));
        Ok(StepOutcome { step, loss: mean, gradient_norm, learning_rate, skipped: None, changed })
    }

    /// A step whose scale and finiteness the host decides first.
    fn decided_here(
        &mut self,
        micro_batches: usize,
        loss: impl FnMut(&Decoder<B>, usize) -> Result<(Tensor<B>, f64)>,
        learning_rate: f64,
    ) -> Result<Made> {
        let mean = match self.mean(micro_batches, loss)? {
            Ok(mean) => mean,
            Err(not_finite) => return Ok(Err(not_finite)),
        };
        let scale = clip_factor(mean.norm, self.clip) / mean.weight;
        self.optimizer.step(&mut self.decoder, mean.gradients, scale, learning_rate);
        profile::mark(Pass::Update, "optimizer", || 0);
        Ok(Ok((mean.loss, mean.norm)))
    }

    /// A step that is queued whole on the device, which decides both; the host waits for the result.
    fn decided_by_device(
        &mut self,
        micro_batches: usize,
        mut loss: impl FnMut(&Decoder<B>, usize) -> Result<(Tensor<B>, f64)>,
        learning_rate: f64,
    ) -> Result<Made> {
        let backend = self.decoder.backend().clone();
        let (mut losses, mut weight, mut gradients): (Vec<B::Array>, f64, Option<Gradients<B>>) = (Vec::new(), 0.0, None);
        for micro_batch in 0..micro_batches {
            let (sum, count) = loss(&self.decoder, micro_batch)?;
            losses.push(sum.array().clone());
            weight += count;
            let parallel = self.parallel.as_mut().filter(|_| micro_batch + 1 == micro_batches);
            gradients = Some(match (parallel, gradients.take()) {
                (Some(parallel), before) => {
                    let own = losses.drain(..).reduce(|sum, loss| backend.accumulate(sum, &loss)).expect("this micro-batch's");
                    let whole;
                    (whole, losses, weight) = parallel.backward_on_device(&self.decoder, sum, before, (&own, weight))?;
                    whole
                }
                (None, before) => added(before, sum.backward_freeing()),
            });
        }
        let gradients = gradients.filter(|_| weight > 0.0).ok_or_else(nothing_to_learn)?;
        let losses: Vec<&B::Array> = losses.iter().collect();
        let numbers = [weight, self.clip, learning_rate];
        let (decision, not_finite) = self.optimizer.step_by_device(&mut self.decoder, gradients, &losses, numbers);
        profile::mark(Pass::Update, "optimizer", || 0);
        let mean = decision.loss / weight;
        Ok(match (decision.finite, not_finite) {
            (true, _) => Ok((mean, decision.norm)),
            (false, Some(name)) if decision.loss.is_finite() => Err((mean, gradient_not_finite(mean, &name))),
            (false, _) => Err((decision.loss, loss_not_finite(decision.loss))),
        })
    }

    /// The mean loss and its gradient. The inner error is the loss with the name of what is not finite.
    #[allow(clippy::type_complexity)]
    fn mean(
        &mut self,
        micro_batches: usize,
        mut loss: impl FnMut(&Decoder<B>, usize) -> Result<(Tensor<B>, f64)>,
    ) -> Result<std::result::Result<Mean<B>, (f64, String)>> {
        let (mut total, mut weight, mut gradients): (f64, f64, Option<Gradients<B>>) = (0.0, 0.0, None);
        for micro_batch in 0..micro_batches {
            let (sum, count) = loss(&self.decoder, micro_batch)?;
            total += sum.item();
            weight += count;
            // All processes learn whether the step can be made before any of them makes the last part of it.
            let parallel = self.parallel.as_mut().filter(|_| micro_batch + 1 == micro_batches || !total.is_finite());
            if let Some(parallel) = &parallel {
                (total, weight) = parallel.whole_batch(total, weight)?;
            }
            if !total.is_finite() {
                return Ok(Err((total, loss_not_finite(total))));
            }
            gradients = Some(match (parallel, gradients.take()) {
                (Some(parallel), before) => parallel.backward(&self.decoder, sum, before)?,
                (None, before) => added(before, sum.backward_freeing()),
            });
        }
        let gradients = gradients.filter(|_| weight > 0.0).ok_or_else(nothing_to_learn)?;
        let (loss, norm) = (total / weight, gradient_norm(&self.decoder, &gradients, 1.0 / weight));
        profile::mark(Pass::Update, "gradient norm", || 0);
        Ok(match norm.not_finite {
            Some(name) => Err((loss, gradient_not_finite(loss, &name))),
            None => Ok(Mean { loss, weight, gradients, norm: norm.norm }),
        })
    }

    /// The cause of a step that is not finite, from this process or the first one that knows it.
    fn explain(&self, micro_batches: usize, loss: impl FnMut(&Decoder<B>, usize) -> Result<(Tensor<B>, f64)>) -> Result<String> {
        let own = diagnosis::explain(&self.decoder, micro_batches, loss)?;
        let found = match &self.parallel {
            None => own,
            Some(Parallel { processes, .. }) => {
                let all = processes.gather_text(&own.unwrap_or_default())?;
                let first = (0..).zip(all).find(|(_, found)| !found.is_empty());
                first.map(|(rank, found)| if rank == 0 { found } else { format!("process {rank}, {found}") })
            }
        };
        Ok(found.unwrap_or_else(|| "each micro-batch by itself is finite, so their sum overflows".to_owned()))
    }
}

/// The fraction of the weights that changed.
fn changed<B: Backend>(before: &[Tensor<B>], decoder: &Decoder<B>) -> f64 {
    let (mut changed, mut all) = (0, 0);
    for (old, new) in before.iter().zip(decoder.parameters()) {
        let (old, new) = (old.to_f64(), new.tensor.to_f64());
        all += new.len();
        changed += old.iter().zip(&new).filter(|(old, new)| old != new).count();
    }
    changed as f64 / all as f64
}
