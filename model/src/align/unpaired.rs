//! Alignment on labelled rows, for the losses that need no pairs: kto and its relatives.
//!
//! A step is that of [`Alignment::step`](super::Alignment::step), with rows in place of pairs. The reference is run at every step: its
//! log-probabilities are not kept.
//!
//! kto compares each log-ratio with z, an estimate of the divergence from the reference:
//!
//! 1. Row i's prompt is joined to the completion of row i + 1 of the step; the last row takes the first one's.
//! 2. z is the mean of ln π/π_ref of these mismatched completions over the whole step, brought up to 0.
//!
//! z is computed before the step, without gradient and without dropout. So it does not depend on micro-batches or processes.

use super::start::Start;
use super::step::Alignment;
use crate::batch::Batch;
use crate::boundary::Sequence;
use crate::data::{LabelledSequence, PreferencePair};
use crate::decoder::{Decoder, ForwardOptions};
use crate::error::{Error, Result};
use crate::evaluate::unpaired::RatioSums;
use crate::parallel::Processes;
use crate::train::{StepOutcome, Trainer};
use engine::{Backend, Tensor, no_grad};
use losses::{Need, Objective, RowInputs};

/// The name of [`RowMetrics::desirable_log_ratio`].
pub const DESIRABLE_LOG_RATIO: &str = "desirable_log_ratio";
/// The name of [`RowMetrics::undesirable_log_ratio`].
pub const UNDESIRABLE_LOG_RATIO: &str = "undesirable_log_ratio";
/// The name of [`RowMetrics::divergence`].
pub const MISMATCHED_KL: &str = "mismatched_kl";

/// Means over the rows of a step, before the step, with t = ln π(y|x)/π_ref(y|x) in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowMetrics {
    /// Mean t of the desirable rows; `None` without such rows.
    pub desirable_log_ratio: Option<f64>,
    /// Mean t of the undesirable rows; `None` without such rows.
    pub undesirable_log_ratio: Option<f64>,
    /// The fraction of rows whose t has the label's sign; 0 counts as wrong.
    pub accuracy: f64,
    /// z, for the losses that read it.
    pub divergence: Option<f64>,
}

impl RowMetrics {
    /// Returns the means with their names, in the order in which they are logged.
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        let named = [
            (DESIRABLE_LOG_RATIO, self.desirable_log_ratio),
            (UNDESIRABLE_LOG_RATIO, self.undesirable_log_ratio),
            (super::metrics::ACCURACY, Some(self.accuracy)),
            (MISMATCHED_KL, self.divergence),
        ];
        named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Result of one step of alignment on labelled rows.
#[derive(Clone, Debug, PartialEq)]
pub struct AlignedRows {
    /// Outcome of the optimiser's step.
    pub outcome: StepOutcome,
    /// Metrics of the rows of all processes, before the step; `None` if the step was skipped.
    pub rows: Option<RowMetrics>,
}

/// Takes each pair as two rows, the chosen completion first.
pub fn rows_of_pairs<'a>(pairs: impl IntoIterator<Item = &'a PreferencePair>) -> Vec<LabelledSequence> {
    let row = |line, sequence: &Sequence, is_desirable| LabelledSequence { line, sequence: sequence.clone(), is_desirable };
    pairs.into_iter().flat_map(|pair| [row(pair.line, &pair.chosen, true), row(pair.line, &pair.rejected, false)]).collect()
}

/// Rows packed into one batch, with their labels.
struct RowBatch {
    batch: Batch,
    labels: Vec<bool>,
}

impl RowBatch {
    fn new(rows: &[&LabelledSequence]) -> Self {
        Self { batch: Batch::of_sequences(rows.iter().map(|row| &row.sequence)), labels: rows.iter().map(|row| row.is_desirable).collect() }
    }
}

impl<B: Backend> Alignment<B> {
    /// Computes the sum of the losses of some rows and their number, recorded for gradients: one micro-batch of a step. `divergence` is z
    /// of the whole step ([`Alignment::mismatched_divergence`]); losses without [`Need::Divergence`] do not read it.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for a loss of pairs, or without a reference.
    pub fn total_of_rows(
        &self,
        policy: &Decoder<B>,
        rows: &[&LabelledSequence],
        divergence: f64,
        options: &ForwardOptions,
    ) -> Result<(Tensor<B>, f64)> {
        sum_of_losses(&self.objective, self.row_inputs(policy, &RowBatch::new(rows), options)?.with_divergence(divergence))
    }

    /// The log-probabilities of rows under both models, the policy's recorded for gradients.
    fn row_inputs(&self, policy: &Decoder<B>, rows: &RowBatch, options: &ForwardOptions) -> Result<RowInputs<B>> {
        let reference = self.row_reference()?;
        let reference = no_grad(|| rows.batch.sequence_log_probs(reference, &ForwardOptions::default()));
        let policy = rows.batch.sequence_log_probs(policy, options);
        RowInputs::new(&policy, &reference, &rows.labels).map_err(|error| Error::bad_config(error.to_string()))
    }

    fn row_reference(&self) -> Result<&Decoder<B>> {
        self.reference.decoder().ok_or_else(|| Error::bad_config(format!("{} needs a reference", self.objective)))
    }

    /// Makes one step of the trainer's decoder on `rows`, in micro-batches of at most [`Alignment::at_once`] rows. Each micro-batch has a
    /// dropout stream of its own, derived from the stream of `options`. With several processes, all pass the same rows and each takes its
    /// share.
    ///
    /// # Errors
    /// As [`Trainer::step`], [`Alignment::total_of_rows`] and [`Alignment::mismatched_divergence`].
    ///
    /// # Panics
    /// If [`Alignment::at_once`] is 0.
    pub fn step_on_rows(&self, trainer: &mut Trainer<B>, rows: &[&LabelledSequence], options: &ForwardOptions) -> Result<AlignedRows> {
        let divergence = self.mismatched_divergence(trainer, rows)?;
        let objective = self.objective.after(&trainer.running);
        let share = trainer.share(rows.len(), self.at_once);
        let parts: Vec<RowBatch> = share.micro_batches.into_iter().map(|part| RowBatch::new(&rows[part])).collect();
        let mut seen = Vec::new();
        let outcome = trainer.step(parts.len(), |decoder, index| {
            let part = &parts[index];
            let inputs = self.row_inputs(decoder, part, &options.of_micro_batch(share.before + index))?;
            seen.push((&part.labels, no_grad(|| inputs.log_ratios())));
            sum_of_losses(&objective, inputs.with_divergence(divergence.unwrap_or(0.0)))
        })?;
        if outcome.skipped.is_some() {
            return Ok(AlignedRows { outcome, rows: None });
        }
        let mut sums = RatioSums::default();
        for (labels, log_ratios) in seen {
            labels.iter().zip(log_ratios.to_f64()).for_each(|(&label, ratio)| sums.add(label, ratio));
        }
        let sums = of_all(sums, processes_of(trainer))?;
        trainer.running.remember_rows(sums.mean());
        let [desirable_log_ratio, undesirable_log_ratio] = sums.means();
        let rows = RowMetrics { desirable_log_ratio, undesirable_log_ratio, accuracy: sums.accuracy(), divergence };
        Ok(AlignedRows { outcome, rows: Some(rows) })
    }

    /// Computes z of a step's rows, if the loss reads it: max(0, mean of ln π/π_ref of each row's prompt with the next row's completion).
    /// Every process computes its share.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for fewer than two rows; [`Error::Lost`].
    pub fn mismatched_divergence(&self, trainer: &Trainer<B>, rows: &[&LabelledSequence]) -> Result<Option<f64>> {
        if !self.objective.needs(Need::Divergence) {
            return Ok(None);
        }
        let own = trainer.share(rows.len(), self.at_once).micro_batches;
        let sum = self.mismatched_sum(&trainer.decoder, rows, own)?;
        let sum = match processes_of(trainer) {
            Some(processes) => processes.sum(&[sum])?[0],
            None => sum,
        };
        Ok(Some((sum / rows.len() as f64).max(0.0)))
    }

    /// The sum of ln π/π_ref over the mismatched completions of some micro-batches of a step.
    fn mismatched_sum(
        &self,
        policy: &Decoder<B>,
        rows: &[&LabelledSequence],
        micro_batches: impl IntoIterator<Item = std::ops::Range<usize>>,
    ) -> Result<f64> {
        if rows.len() < 2 {
            let reason = format!("{} joins each row's prompt to the next row's completion", self.objective);
            return Err(Error::bad_config(format!("{reason}, so a step needs at least 2 rows: make the batch larger")));
        }
        let (mismatched, reference) = (mismatched(rows), self.row_reference()?);
        let options = ForwardOptions::default();
        let mut sum = 0.0;
        for part in micro_batches {
            let batch = Batch::of_sequences(&mismatched[part]);
            let log_probs = |decoder: &Decoder<B>| no_grad(|| batch.sequence_log_probs(decoder, &options)).to_f64();
            sum += log_probs(policy).iter().zip(log_probs(reference)).map(|(policy, reference)| policy - reference).sum::<f64>();
        }
        Ok(sum)
    }

    /// Computes the mean loss of some rows before the first step, without dropout, and what theory gives for a policy that is its own
    /// reference.
    ///
    /// # Errors
    /// As [`Alignment::total_of_rows`].
    pub fn start_on_rows(&self, policy: &Decoder<B>, rows: &[&LabelledSequence]) -> Result<Start> {
        let needs_divergence = self.objective.needs(Need::Divergence) && rows.len() > 1;
        let sum = if needs_divergence { self.mismatched_sum(policy, rows, std::iter::once(0..rows.len()))? } else { 0.0 };
        let divergence = (sum / rows.len() as f64).max(0.0);
        let (found, count) = no_grad(|| self.total_of_rows(policy, rows, divergence, &ForwardOptions::default()))?;
        let expected: f64 = rows.iter().filter_map(|row| self.objective.at_start_of_row(row.is_desirable)).sum();
        Ok(Start { found: found.item() / count, expected: expected / count })
    }
}

/// Computes the sum of the losses of rows and their number.
fn sum_of_losses<B: Backend>(objective: &Objective, inputs: RowInputs<B>) -> Result<(Tensor<B>, f64)> {
    let losses = objective.unpaired(&inputs).map_err(|error| Error::bad_config(error.to_string()))?;
    Ok((losses.sum_all(), losses.len() as f64))
}

/// Joins each row's prompt to the completion of the next row; the last row takes the first one's. None is longer than the longest row.
fn mismatched(rows: &[&LabelledSequence]) -> Vec<Sequence> {
    let longest = rows.iter().map(|row| row.sequence.tokens.len()).max().unwrap_or(0);
    let next = rows.iter().cycle().skip(1);
    let join = |(row, next): (&&LabelledSequence, &&LabelledSequence)| {
        let prompt = row.sequence.prompt();
        let mut tokens = [prompt, next.sequence.completion()].concat();
        tokens.truncate(longest);
        Sequence::new(tokens, prompt.len())
    };
    rows.iter().zip(next).map(join).collect()
}

fn processes_of<B: Backend>(trainer: &Trainer<B>) -> Option<&Processes> {
    trainer.parallel.as_ref().map(|parallel| &parallel.processes)
}

/// Adds up the sums of all processes, in the order of ranks.
fn of_all(sums: RatioSums, processes: Option<&Processes>) -> Result<RatioSums> {
    let Some(processes) = processes else { return Ok(sums) };
    let numbers = processes.sum(&sums.to_numbers())?;
    Ok(RatioSums::from_numbers(numbers.try_into().expect("as many sums as numbers")))
}

#[cfg(test)]
mod tests;
