//! The loop that `train`, `sft` and `align` share: steps, metrics, evaluations, checkpoints, stopping, and what is left in the run's
//! folder.

mod plan;
mod resumed;

pub use plan::Plan;

use crate::arguments::{RunSettings, Shared};
use crate::failure::Failure;
use crate::interrupt;
use crate::number::fixed;
use crate::output::Output;
use crate::processes;
use crate::profile_table;
use crate::progress::Progress;
use crate::report::Report;
use crate::run_folder::{Metrics, Record, RunFolder, read_metrics};
use engine::Device;
use model::adapter;
use model::checkpoint::{self, RunState};
use model::decoder::Decoder;
use model::evaluate::Check;
use model::model_folder::{self, ModelFolder};
use model::parallel::{Parallel, Processes, start};
use model::tokenizer::Tokenizer;
use model::train::{StepOutcome, Trainer};
use resumed::Remarks;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;
use toml::Table;

/// Named numbers of a step or an evaluation, as they go into the metrics.
pub type Values = Vec<(&'static str, f64)>;

/// What training does that the loop does not know.
pub trait Job {
    /// What fixes the run's data and random numbers besides the step.
    fn state(&self) -> RunState;
    /// What is to be done before the first step of a new run, in its folder, which only the first of several processes has; warnings.
    fn prepare(&mut self, _trainer: &Trainer<Device>, _folder: Option<&Path>, _new: bool) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }
    /// One step; what it did, the values to log beside loss, norm and learning rate, and the tokens that went through the decoder, of all
    /// processes together.
    fn step(&mut self, trainer: &mut Trainer<Device>, step: u64) -> Result<(StepOutcome, Values, usize), Failure>;
    /// Warnings that follow from what was logged, each once in a run.
    fn watch(&mut self, _step: u64, _values: &[(&str, f64)]) -> Vec<String> {
        Vec::new()
    }
    /// Values on data that is not trained on; ends early with the error of `go_on`.
    fn evaluate(&self, trainer: &Trainer<Device>, go_on: Check<'_>) -> Result<Values, Failure>;
    /// The report page, from everything that was logged.
    fn report(&self, records: &[Record], summary: &Value) -> Report;
}

/// The step of a run that is profiled: buffers are filled, the processor has sped up.
const PROFILED: u64 = 3;

/// Runs a job to its end, or to the step at which it is interrupted. Of several processes the first one writes and says everything.
pub fn run(
    job: &mut dyn Job,
    trainer: &mut Trainer<Device>,
    tokenizer: &Tokenizer,
    plan: &Plan,
    settings: &RunSettings,
    shared: &Shared,
) -> Result<(), Failure> {
    let started = Instant::now();
    trainer.on_non_finite = plan.on_non_finite;
    if let Some(processes) = processes::current() {
        assemble(processes, job, trainer, plan, settings)?;
        if processes.rank() > 0 {
            return follow(processes, job, trainer, plan);
        }
    }
    let mut run = Run::open(job, trainer, plan, settings, shared)?;
    if !run.log_first_evaluation(job, trainer)? {
        return Err(run.interrupted(run.first)?);
    }
    for step in run.first + 1..=plan.steps {
        run.step(job, trainer, step)?;
        let evaluated = !plan.is_due(plan.eval_every, step) || run.log_evaluation(job, trainer, step)?;
        let stop = !evaluated || (processes::stop_requested()? && step < plan.steps);
        if plan.is_due(plan.checkpoint_every, step) || stop {
            run.save(trainer)?;
        }
        if stop {
            return Err(run.interrupted(step)?);
        }
    }
    run.bar.finish();
    run.finish(job, trainer, tokenizer, started.elapsed().as_secs_f64())?;
    meet()
}

/// Makes one trainer of several processes, once all were found to have been started alike.
fn assemble(
    processes: &Processes,
    job: &dyn Job,
    trainer: &mut Trainer<Device>,
    plan: &Plan,
    settings: &RunSettings,
) -> Result<(), Failure> {
    let (state, size) = (job.state(), processes.size());
    let own = serde_json::to_string_pretty(&state).map_err(|error| Failure::Failed(format!("cannot write down the settings: {error}")))?;
    let settings = settings.lines();
    let settings = settings.iter().map(String::as_str);
    let lines: Vec<&str> = settings.chain(own.lines()).chain([if plan.resume { "--resume" } else { "no --resume" }]).collect();
    start::agree(processes, &lines.join("\n"))?;
    if state.rows_per_step < size as u64 {
        let rows = state.rows_per_step;
        return Err(Failure::Usage(format!(
            "{size} processes cannot share a step of {rows} rows: take larger batches, or fewer processes"
        )));
    }
    trainer.parallel = Some(Parallel::on_device(processes.clone(), &trainer.decoder)?);
    Ok(())
}

/// A process after the first: it makes the same steps on its share of the rows, and leaves what is to be written and said to the first.
fn follow(processes: &Processes, job: &mut dyn Job, trainer: &mut Trainer<Device>, plan: &Plan) -> Result<(), Failure> {
    start::follow_first(processes, trainer)?;
    let first = trainer.steps();
    interrupt::save_first();
    job.prepare(trainer, None, first == 0)?;
    let mut evaluated = processes::wait_for_first()?;
    for step in first + 1..=plan.steps {
        if !evaluated {
            break;
        }
        job.step(trainer, step)?;
        evaluated = !plan.is_due(plan.eval_every, step) || processes::wait_for_first()?;
        if evaluated && processes::stop_requested()? && step < plan.steps {
            evaluated = false;
        }
    }
    meet()?;
    if evaluated { Ok(()) } else { Err(Failure::Interrupted("the first process says what is saved".to_owned())) }
}

/// Waits until every process has come so far.
fn meet() -> Result<(), Failure> {
    Ok(processes::current().map_or(Ok(()), Processes::meet)?)
}

/// A run that is going on.
struct Run<'a> {
    plan: &'a Plan,
    folder: RunFolder,
    metrics: Metrics,
    /// The text of config.toml.
    config: String,
    /// The step it goes on from; 0 for a new run.
    first: u64,
    state: RunState,
    bar: Progress,
    out: Output,
    /// What was warned of.
    warnings: Vec<String>,
}

impl<'a> Run<'a> {
    /// The run's folder, its metrics, and the step to go on from.
    fn open(
        job: &mut dyn Job,
        trainer: &mut Trainer<Device>,
        plan: &'a Plan,
        settings: &RunSettings,
        shared: &Shared,
    ) -> Result<Self, Failure> {
        let (state, bar) = (job.state(), Progress::new(plan.steps, !shared.json));
        let opened = if plan.resume { Opened::again(plan, trainer, &state, settings)? } else { Opened::anew(plan, settings)? };
        let Opened { folder, metrics, first, notes, warnings, config } = opened;
        notes.iter().for_each(|note| bar.note(note));
        if let Some(processes) = processes::current() {
            start::follow_first(processes, trainer)?;
        }
        let mut run = Self { plan, folder, metrics, config, first, state, bar, out: Output::new(shared.json), warnings: Vec::new() };
        if first > 0 {
            run.recall(job)?;
        }
        interrupt::save_first();
        let prepared = job.prepare(trainer, Some(run.folder.path()), first == 0)?;
        run.warn(plan.remarks.iter().chain(&plan.layers.notes).cloned().chain(warnings).chain(prepared).collect());
        Ok(run)
    }

    /// Shows the job what was logged before the run was stopped; what it says to that was said then.
    fn recall(&self, job: &mut dyn Job) -> Result<(), Failure> {
        for record in read_metrics(&self.folder.file("metrics.jsonl"))? {
            let values: Vec<(&str, f64)> = record.values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            job.watch(record.step, &values);
        }
        Ok(())
    }

    fn warn(&mut self, warnings: Vec<String>) {
        warnings.iter().for_each(|warning| self.bar.warn(warning));
        self.warnings.extend(warnings);
    }

    fn step(&mut self, job: &mut dyn Job, trainer: &mut Trainer<Device>, step: u64) -> Result<(), Failure> {
        let profiled = self.plan.profile && step == (self.first + PROFILED).min(self.plan.steps);
        let (outcome, values, tokens) = if profiled { self.profiled(job, trainer, step)? } else { job.step(trainer, step)? };
        let own = [("loss", outcome.loss), ("gradient_norm", outcome.gradient_norm), ("learning_rate", outcome.learning_rate)];
        let mut all: Values = own.into_iter().chain(values).collect();
        if let Some(why) = &outcome.skipped {
            all.push(("skipped", 1.0));
            self.warn(vec![format!("step {step} is skipped: {why}")]);
        }
        self.log(job, step, all)?;
        self.bar.step(step, &[("loss", outcome.loss)], tokens);
        Ok(())
    }

    /// One step, and on standard error where its time went.
    fn profiled(&self, job: &mut dyn Job, trainer: &mut Trainer<Device>, step: u64) -> Result<(StepOutcome, Values, usize), Failure> {
        let (done, lines) = engine::profile::profiled(|| crate::device::current().wait(), || job.step(trainer, step));
        self.bar.note(&format!("step {step}, by op:\n{}", profile_table::table(&lines)));
        done
    }

    fn log(&mut self, job: &mut dyn Job, step: u64, values: Values) -> Result<(), Failure> {
        if !self.metrics.are_there() {
            self.metrics = self.folder.make_again(&self.metrics, &self.config)?;
            let folder = show(self.folder.path());
            let remark = "its metrics.jsonl was moved or removed while the run went on; it is written again, with all metrics so far";
            self.warn(vec![format!("step {step}: {folder}: {remark}, and checkpoints follow when they are due")]);
        }
        self.metrics.log(step, &values)?;
        let warnings = job.watch(step, &values).into_iter().map(|warning| format!("step {step}: {warning}")).collect();
        self.warn(warnings);
        Ok(())
    }

    /// Evaluates before the first step of a new run, or after the step at which a run was stopped before the evaluation that was due.
    fn log_first_evaluation(&mut self, job: &mut dyn Job, trainer: &Trainer<Device>) -> Result<bool, Failure> {
        let step = self.first;
        let is_due = step == 0 || (self.plan.is_due(self.plan.eval_every, step) && !self.has_evaluation(step)?);
        if is_due { self.log_evaluation(job, trainer, step) } else { Ok(processes::alone(|_| Ok(()))?.is_some()) }
    }

    /// Whether an evaluation after a step is logged: a record without a step's own values.
    fn has_evaluation(&self, step: u64) -> Result<bool, Failure> {
        let is_step = |record: &Record| record.values.iter().any(|(name, _)| name == "loss");
        Ok(read_metrics(&self.folder.file("metrics.jsonl"))?.iter().any(|record| record.step == step && !is_step(record)))
    }

    /// Evaluates while the other processes wait; false where a request to stop ended it.
    fn log_evaluation(&mut self, job: &mut dyn Job, trainer: &Trainer<Device>, step: u64) -> Result<bool, Failure> {
        let Some(values) = processes::alone(|go_on| job.evaluate(trainer, go_on))? else { return Ok(false) };
        if values.is_empty() {
            return Ok(true);
        }
        let shown: Vec<String> = values.iter().map(|(name, value)| format!("{name} {}", fixed(*value, 4))).collect();
        self.bar.line(&format!("step {step}: {}", shown.join(", ")));
        self.log(job, step, values)?;
        Ok(true)
    }

    fn save(&self, trainer: &Trainer<Device>) -> Result<(), Failure> {
        self.metrics.sync()?;
        Ok(checkpoint::save(self.folder.path(), trainer, &self.state, self.plan.keep)?)
    }

    /// How to go on after a stop, once every process has come so far.
    fn interrupted(&self, step: u64) -> Result<Failure, Failure> {
        self.bar.finish();
        meet()?;
        let folder = show(self.folder.path());
        Ok(Failure::Interrupted(match step {
            0 => format!("no step was made; the same command with --resume begins in {folder}"),
            _ => format!("step {step} is saved in {folder}; the same command with --resume goes on from there"),
        }))
    }

    fn finish(self, job: &dyn Job, trainer: &Trainer<Device>, tokenizer: &Tokenizer, seconds: f64) -> Result<(), Failure> {
        let Self { plan, folder, out, warnings, .. } = self;
        if trainer.skipped == plan.steps {
            let last = warnings.last().map_or("", String::as_str);
            return Err(Failure::Failed(format!("every step was skipped, and nothing was learned: no model is written; the last: {last}")));
        }
        save_trained(folder.path(), &trainer.decoder, tokenizer, plan.base.as_deref())?;
        let records = read_metrics(&folder.file("metrics.jsonl"))?;
        let last = last_values(&records);
        let summary = json!({
            "model": folder.path(), "steps": plan.steps, "skipped": trainer.skipped, "seconds": seconds, "last": last, "warnings": warnings
        });
        let report = folder.file("report.html");
        job.report(&records, &summary).write(&report)?;
        out.result(&summary, |text| {
            writeln!(text, "{} steps in {seconds:.0} s: the model, its metrics and report.html are in {}", plan.steps, show(folder.path()))
        })
    }
}

/// A run's folder, opened, and where the run is.
struct Opened {
    folder: RunFolder,
    metrics: Metrics,
    /// The step it goes on from; 0 for a new run.
    first: u64,
    /// Changes that change no result.
    notes: Vec<String>,
    warnings: Vec<String>,
    /// The text of its config.toml.
    config: String,
}

impl Opened {
    /// Of a new run.
    fn anew(plan: &Plan, settings: &RunSettings) -> Result<Self, Failure> {
        let folder = RunFolder::create(&plan.out)?;
        let config = folder.write_config(settings.to_toml(&[]))?;
        let metrics = folder.metrics()?;
        Ok(Self { folder, metrics, first: 0, notes: Vec::new(), warnings: Vec::new(), config })
    }

    /// Of a run that was stopped; nothing is changed in it where it cannot go on.
    fn again(plan: &Plan, trainer: &mut Trainer<Device>, state: &RunState, settings: &RunSettings) -> Result<Self, Failure> {
        let folder = RunFolder::resume(&plan.out)?;
        let restored = match checkpoint::exists(folder.path())? {
            true => Some(checkpoint::restore(folder.path(), trainer, state)?),
            false => None,
        };
        let first = restored.as_ref().map_or(0, |restored| restored.step);
        let Remarks { notes, warnings, entry } = Remarks::of(plan, restored.as_ref())?;
        let metrics = folder.resume_metrics(restored.map(|restored| restored.step))?;
        let history: Vec<Table> = plan.layers.history.iter().cloned().chain(entry).collect();
        let config = folder.write_config(settings.to_toml(&history))?;
        checkpoint::drop_old(folder.path(), first, plan.keep)?;
        Ok(Self { folder, metrics, first, notes, warnings, config })
    }
}

/// Leaves what was trained in a run's folder: the model, or its adapter with the tokenizer; and what its base's folder has besides.
fn save_trained(folder: &Path, decoder: &Decoder<Device>, tokenizer: &Tokenizer, base: Option<&Path>) -> Result<(), Failure> {
    let (of_tokenizer, of_model) = (model_folder::TOKENIZER_COMPANIONS, model_folder::MODEL_COMPANIONS);
    let carry = |names: &[&str]| base.map_or(Ok(()), |base| model_folder::carry(names, base, folder));
    carry(&of_tokenizer)?;
    if decoder.adapter().is_some() {
        tokenizer.save(folder)?;
        adapter::save(folder, decoder)?;
        return Ok(());
    }
    carry(&of_model)?;
    ModelFolder::save(folder, decoder.config(), &decoder.to_tensors(), tokenizer)?;
    Ok(())
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// The last value of every metric.
fn last_values(records: &[Record]) -> Value {
    let mut last = serde_json::Map::new();
    for record in records {
        for (name, value) in &record.values {
            last.insert(name.clone(), json!(value));
        }
    }
    Value::Object(last)
}

/// (step, value) of one metric where it is finite, for a chart.
pub fn series(records: &[Record], name: &str) -> Vec<(f64, f64)> {
    let value = |record: &Record| record.values.iter().find(|(key, _)| *key == name).map(|(_, value)| (record.step as f64, *value));
    records.iter().filter_map(value).filter(|(_, value)| value.is_finite()).collect()
}

/// A report's window for smoothing a curve of so many points.
pub fn smoothing(points: usize) -> usize {
    (points / 40).clamp(1, 50)
}
