//! Alignment on labelled rows: a completion alone, which is desirable or undesirable. Pairs are taken as two rows each.

use super::page;
use super::prepared::{Measured, Mixing, Prepared, restore_reference, start_differs};
use crate::arguments::{Align, Shared};
use crate::commands::common::{EVALUATED_AT_ONCE, options, request, schedule_and_rule, steps};
use crate::commands::notices;
use crate::failure::Failure;
use crate::report::Report;
use crate::run_folder::Record;
use crate::training::{self, Job, Values};
use crate::watch::Watch;
use engine::{Device, Generator};
use losses::Need;
use model::align::metrics::{KL, WEIGHTS_CHANGED, held_out};
use model::align::{AlignedRows, Alignment};
use model::checkpoint::RunState;
use model::data::{Balance, LabelledSequence, LabelledSet};
use model::evaluate::{self, Check};
use model::fingerprint::{fingerprint, sequence_words};
use model::order::Order;
use model::train::{StepOutcome, Trainer};
use std::path::Path;

/// Aligns the model on the labelled rows of `--data`.
pub fn run(prepared: Prepared, arguments: &Align, shared: &Shared) -> Result<(), Failure> {
    let Prepared { objective, decoder, tokenizer, reference, mixing, limits, chat } = prepared;
    let settings = &arguments.training;
    let rows_per_step = settings.batch * settings.accumulate;
    if objective.needs(Need::Divergence) && rows_per_step < 2 {
        let reason = format!("{objective} joins each row's prompt to the next row's completion: give --batch 2 or more");
        return Err(Failure::Usage(reason));
    }
    let load = |path: &Path| -> Result<Vec<LabelledSequence>, Failure> {
        let set = LabelledSet::load(path, &tokenizer, &chat, &limits)?;
        notices::of_rows(&set.report, shared.json);
        Ok(set.rows)
    };
    let train = load(&settings.data)?;
    let held_out = settings.eval_data.as_deref().map(load).transpose()?.unwrap_or_default();
    let steps = steps(settings, train.len())?;
    let (schedule, rule) = schedule_and_rule(settings, steps);
    let mut trainer = Trainer::new(decoder, rule, schedule, settings.clip);
    trainer.moving_reference = mixing.and_then(|_| reference.decoder().cloned());
    let mut job = RowJob {
        watch: Watch::new(objective.loss(), schedule.warmup, trainer.decoder.parameter_count()),
        description: format!("{} on {} with {objective}", settings.model.display(), settings.data.display()),
        alignment: Alignment { objective, reference, at_once: settings.batch },
        order: Order::new(shared.seed, train.len(), rows_per_step),
        train,
        held_out,
        measured: Measured { steps, eval_every: settings.eval_every, warmup: schedule.warmup },
        dropout: settings.dropout,
        rows_per_step,
        mixing,
        seed: shared.seed,
        same_reference: arguments.reference.is_none(),
        generator: Generator::new(shared.seed),
    };
    training::run(&mut job, &mut trainer, &tokenizer, &request(settings, steps), &arguments.run_settings(shared)?, shared)
}

/// Optimisation on labelled rows against a fixed reference.
struct RowJob {
    alignment: Alignment<Device>,
    train: Vec<LabelledSequence>,
    held_out: Vec<LabelledSequence>,
    order: Order,
    measured: Measured,
    dropout: f64,
    rows_per_step: usize,
    mixing: Option<Mixing>,
    seed: u64,
    /// True if the model starts as its own reference.
    same_reference: bool,
    watch: Watch,
    generator: Generator,
    description: String,
}

impl RowJob {
    /// Measures KL(π‖π_ref) of the next token on a step's rows, if it is due.
    fn divergence(&self, trainer: &Trainer<Device>, step: u64, rows: &[&LabelledSequence]) -> Result<Option<f64>, Failure> {
        let is_due = self.measured.measures_divergence(step);
        let Some(reference) = self.alignment.reference.decoder().filter(|_| is_due) else { return Ok(None) };
        let rows: Vec<LabelledSequence> = rows.iter().map(|&row| row.clone()).collect();
        let score = evaluate::unpaired::rows(&trainer.decoder, reference, &rows, self.alignment.at_once, &evaluate::to_the_end)?;
        Ok(Some(score.kl))
    }
}

/// Says that all rows have one label, which leaves nothing to compare.
fn one_sided(Balance { desirable, undesirable }: Balance) -> Option<String> {
    let label = match (desirable, undesirable) {
        (_, 0) => "desirable",
        (0, _) => "undesirable",
        _ => return None,
    };
    Some(format!("every row is {label}: the loss can only move all completions the same way; give rows of both labels"))
}

impl Job for RowJob {
    fn state(&self) -> RunState {
        let words = |row: &LabelledSequence| sequence_words(&row.sequence).chain([u32::from(row.is_desirable)]).collect::<Vec<u32>>();
        let data = fingerprint(self.train.iter().flat_map(words));
        RunState { seed: self.seed, data, rows_per_step: self.rows_per_step as u64, rows_at_once: self.alignment.at_once as u64 }
    }

    fn prepare(&mut self, trainer: &Trainer<Device>, folder: Option<&Path>, new: bool) -> Result<Vec<String>, Failure> {
        restore_reference(&mut self.alignment, trainer);
        if !new || folder.is_none() {
            return Ok(Vec::new());
        }
        let one_sided = one_sided(Balance::of(&self.train));
        let rows = self.order.rows_of(1).into_iter().take(self.alignment.at_once.max(2)).map(|row| &self.train[row]);
        let start = self.alignment.start_on_rows(&trainer.decoder, &rows.collect::<Vec<_>>())?;
        let start = (self.same_reference && !start.agrees()).then(|| start_differs(&self.alignment, start));
        Ok(one_sided.into_iter().chain(start).collect())
    }

    fn step(&mut self, trainer: &mut Trainer<Device>, step: u64) -> Result<(StepOutcome, Values, usize), Failure> {
        let options = options(self.dropout, false, self.generator.stream(step));
        let rows: Vec<&LabelledSequence> = self.order.rows_of(step).into_iter().map(|row| &self.train[row]).collect();
        let kl = self.divergence(trainer, step, &rows)?.map(|kl| (KL, kl));
        trainer.count_changes = self.measured.counts_changes(step);
        let AlignedRows { outcome, rows: metrics } = self.alignment.step_on_rows(trainer, &rows, &options)?;
        let tokens = rows.iter().map(|row| row.sequence.tokens.len() - 1).sum();
        if let Some(mixing) = self.mixing {
            mixing.move_reference(step, &mut self.alignment, trainer);
        }
        let Some(metrics) = metrics else { return Ok((outcome, Vec::new(), tokens)) };
        let changed = outcome.changed.map(|changed| (WEIGHTS_CHANGED, changed));
        Ok((outcome, metrics.named().into_iter().chain(kl).chain(changed).collect(), tokens))
    }

    fn watch(&mut self, step: u64, values: &[(&str, f64)]) -> Vec<String> {
        self.watch.see(step, values, f64::NEG_INFINITY)
    }

    fn evaluate(&self, trainer: &Trainer<Device>, go_on: Check<'_>) -> Result<Values, Failure> {
        let Some(reference) = self.alignment.reference.decoder().filter(|_| !self.held_out.is_empty()) else { return Ok(Vec::new()) };
        let score = evaluate::unpaired::rows(&trainer.decoder, reference, &self.held_out, EVALUATED_AT_ONCE, go_on)?;
        let values = [
            (held_out::ACCURACY, Some(score.accuracy)),
            (held_out::DESIRABLE_LOG_RATIO, score.desirable_log_ratio),
            (held_out::UNDESIRABLE_LOG_RATIO, score.undesirable_log_ratio),
            (held_out::KL, Some(score.kl)),
        ];
        Ok(values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }

    fn prompts(&self) -> Vec<Vec<u32>> {
        let rows = if self.held_out.is_empty() { &self.train } else { &self.held_out };
        rows.iter().map(|row| row.sequence.prompt().to_vec()).collect()
    }

    fn report(&self, records: &[Record]) -> Report {
        page::report_of_rows(self.alignment.objective.loss(), self.description.clone(), records)
    }
}
