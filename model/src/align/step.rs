//! One step of alignment: runs policy and reference over the pairs, forms the loss, makes the optimiser's step and reports metrics.

use super::metrics::{PairMetrics, Sums, log_probs};
use super::objective::total;
use super::reference::Reference;
use super::start::{Start, expected};
use crate::data::PreferencePair;
use crate::decoder::{Decoder, ForwardOptions};
use crate::error::{Error, Result};
use crate::evaluate;
use crate::preference::{PairBatch, Scored};
use crate::train::{StepOutcome, Trainer};
use engine::{Backend, Tensor};
use losses::{Objective, logaddexp};

/// A loss against a reference: everything about alignment that does not change from step to step.
pub struct Alignment<B: Backend> {
    /// What is minimised.
    pub objective: Objective,
    /// The model that the policy is compared with.
    pub reference: Reference<B>,
    /// Largest number of pairs in a micro-batch, at least 1.
    pub at_once: usize,
}

/// Result of one step of alignment.
#[derive(Clone, Debug, PartialEq)]
pub struct AlignedStep {
    /// Outcome of the optimiser's step.
    pub outcome: StepOutcome,
    /// Metrics of the pairs of all processes, before the step; `None` if the step was skipped.
    pub pairs: Option<PairMetrics>,
}

impl<B: Backend> Alignment<B> {
    /// Computes the sum of the losses of some pairs and their number, recorded for gradients: one micro-batch of a step.
    ///
    /// # Errors
    /// As [`total`].
    pub fn total(&self, policy: &Decoder<B>, pairs: &[&PreferencePair], options: &ForwardOptions) -> Result<(Tensor<B>, f64)> {
        let batch = PairBatch::new(pairs.iter().copied());
        total(&self.objective, &Scored::policy(&batch, policy, options), &self.reference.scored(&batch, pairs, policy), None)
    }

    /// Makes one step of the trainer's decoder on `pairs`, in micro-batches of at most [`Alignment::at_once`] pairs. Each micro-batch has a
    /// dropout stream of its own, derived from the stream of `options`. With several processes, all pass the same pairs and each takes its
    /// share.
    ///
    /// # Errors
    /// As [`Trainer::step`] and [`total`]; [`Error::BadConfig`] for a loss of the batch if the step has several micro-batches or processes.
    ///
    /// # Panics
    /// If [`Alignment::at_once`] is 0.
    pub fn step(&self, trainer: &mut Trainer<B>, pairs: &[&PreferencePair], options: &ForwardOptions) -> Result<AlignedStep> {
        let share = trainer.share(pairs.len(), self.at_once);
        if self.objective.is_of_batch() && share.micro_batches.len() * trainer.place().1 > 1 {
            let reason = format!("{} compares the pairs of a step with each other, so a step cannot be split", self.objective);
            return Err(Error::bad_config(format!("{reason}: make it one micro-batch of one process")));
        }
        let objective = self.objective.after(&trainer.running);
        let own = share.micro_batches.into_iter().map(|part| &pairs[part]);
        let parts: Vec<(&[&PreferencePair], PairBatch)> = own.map(|pairs| (pairs, PairBatch::new(pairs.iter().copied()))).collect();
        let chosen_tokens: usize = pairs.iter().map(|pair| pair.chosen.completion().len()).sum();
        let mean_chosen_length = chosen_tokens as f64 / pairs.len() as f64;
        let mut seen = Vec::new();
        let outcome = trainer.step(parts.len(), |decoder, index| {
            let (pairs, batch) = &parts[index];
            let reference = self.reference.scored(batch, pairs, decoder);
            let policy = Scored::policy(batch, decoder, &options.of_micro_batch(share.before + index));
            seen.push(log_probs(&policy, &reference));
            total(&objective, &policy, &reference, Some(mean_chosen_length))
        })?;
        if outcome.skipped.is_some() {
            return Ok(AlignedStep { outcome, pairs: None });
        }
        let mut sums = Sums::default();
        seen.iter().for_each(|log_probs| sums.add(log_probs));
        let sums = sums.of_all(trainer.parallel.as_ref().map(|parallel| &parallel.processes))?;
        let means = sums.means();
        trainer.running.remember(means.chosen_log_ratio, means.margin, self.objective.hyperparameters());
        Ok(AlignedStep { outcome, pairs: Some(means) })
    }

    /// Computes the mean loss of some pairs before the first step, without dropout, and what theory gives for a policy that is its own
    /// reference.
    ///
    /// # Errors
    /// As [`total`].
    pub fn start(&self, policy: &Decoder<B>, pairs: &[&PreferencePair]) -> Result<Start> {
        let batch = PairBatch::new(pairs.iter().copied());
        let (sum, count) = total(&self.objective, &Scored::reference(&batch, policy), &self.reference.scored(&batch, pairs, policy), None)?;
        let reference = self.reference.decoder().unwrap_or(policy);
        Ok(Start { found: sum.item() / count, expected: expected(&self.objective, &batch, reference)? })
    }

    /// Returns the largest ln m of some pairs, m = π_ref(y_w|x) + π_ref(y_l|x); 0 without a reference. The SLPO
    /// sequence form weights a pair's gradient by m.
    pub fn largest_log_mass(&self, pairs: &[&PreferencePair]) -> f64 {
        let batch = PairBatch::new(pairs.iter().copied());
        let Some(reference) = self.reference.decoder() else { return 0.0 };
        let (chosen, rejected) = self.reference.scored(&batch, pairs, reference).sequence_log_probs();
        let masses = chosen.to_f64().into_iter().zip(rejected.to_f64()).map(|(w, l)| logaddexp(w, l));
        masses.fold(f64::NEG_INFINITY, f64::max)
    }

    /// Computes KL(π‖π_ref) of the next token in nats, exact over the vocabulary: the mean over all tokens of all completions. `None`
    /// without a reference.
    ///
    /// # Errors
    /// As [`evaluate::pairs`].
    pub fn divergence(&self, policy: &Decoder<B>, pairs: &[&PreferencePair]) -> Result<Option<f64>> {
        let Some(reference) = self.reference.decoder() else { return Ok(None) };
        let pairs: Vec<PreferencePair> = pairs.iter().map(|&pair| pair.clone()).collect();
        let score = evaluate::pairs(policy, Some(reference), &pairs, self.at_once, &evaluate::to_the_end)?;
        Ok(score.kl)
    }
}
