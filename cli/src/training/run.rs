//! A training run as its first process makes it.
//!
//! Steps and evaluations are logged and shown, and checkpoints are saved. At the end the model and the report are written.

use super::job::{Job, Values};
use super::opened::Opened;
use super::page::{self, Ran};
use super::request::RunRequest;
use super::texts::Prompts;

use crate::arguments::{RunSettings, Shared};
use crate::card::{self, Card, How};
use crate::failure::Failure;
use crate::interrupt;
use crate::number::fixed;
use crate::output::Output;
use crate::processes;
use crate::profile_table;
use crate::progress::Progress;
use crate::run_folder::{Metrics, Record, RunFolder, read_metrics};
use crate::terminal;
use engine::Device;
use model::adapter;
use model::checkpoint::{self, RunState};
use model::decoder::Decoder;
use model::evaluate::Check;
use model::model_folder::{self, ModelFolder};
use model::parallel::start;
use model::tokenizer::Tokenizer;
use model::train::{Participant, StepOutcome, Trainer};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The step whose time `--profile` shows: the buffers are filled and the processor runs at its full clock.
const PROFILED: u64 = 3;

/// A training run in its first process.
pub struct Run<'a> {
    job: &'a mut dyn Job,
    trainer: &'a mut Trainer<Device>,
    tokenizer: &'a Tokenizer,
    /// The prompts whose continuations the page shows.
    prompts: Prompts<'a>,
    request: &'a RunRequest,
    folder: RunFolder,
    metrics: Metrics,
    /// The text of config.toml.
    config: String,
    /// The steps that were done before this process started; 0 for a new run.
    done: u64,
    state: RunState,
    bar: Progress,
    out: Output,
    /// All warnings, for the summary.
    warnings: Vec<String>,
}

impl<'a> Run<'a> {
    /// Opens the run's folder and prepares the job.
    ///
    /// # Errors
    /// Those of the folder, of the job, and of the other processes.
    pub fn open(
        job: &'a mut dyn Job,
        trainer: &'a mut Trainer<Device>,
        tokenizer: &'a Tokenizer,
        request: &'a RunRequest,
        settings: &RunSettings,
        shared: &Shared,
    ) -> Result<Self, Failure> {
        let (state, bar) = (job.state(), Progress::new(request.plan.steps, !shared.json));
        let opened = if request.resume { Opened::resume(request, trainer, &state, settings)? } else { Opened::create(request, settings)? };
        let Opened { folder, metrics, done, notes, warnings, config } = opened;
        notes.iter().for_each(|note| bar.note(note));
        if let Some(processes) = processes::current() {
            start::follow_first(processes, trainer)?;
        }
        let out = Output::new(shared.json);
        let prompts = Prompts::choose(job.prompts(), &trainer.decoder, tokenizer);
        let mut run =
            Self { job, trainer, tokenizer, prompts, request, folder, metrics, config, done, state, bar, out, warnings: Vec::new() };
        if done > 0 {
            run.replay_metrics()?;
        }
        interrupt::save_first();
        let prepared = run.job.prepare(run.trainer, Some(run.folder.path()), done == 0)?;
        run.warn(request.remarks.iter().chain(&request.layers.notes).cloned().chain(warnings).chain(prepared).collect());
        Ok(run)
    }

    /// The steps that were done before this process started.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Replays the metrics logged so far. Warnings are dropped: they were printed before the stop.
    fn replay_metrics(&mut self) -> Result<(), Failure> {
        for record in read_metrics(&self.folder.file("metrics.jsonl"))? {
            self.job.watch(record.step, &record.named());
        }
        Ok(())
    }

    fn warn(&mut self, warnings: Vec<String>) {
        warnings.iter().for_each(|warning| self.bar.warn(warning));
        self.warnings.extend(warnings);
    }

    /// Makes one step and shows on standard error where its time went.
    fn profile(&mut self, step: u64) -> Result<(StepOutcome, Values, usize), Failure> {
        let (done, lines) = engine::profile::profiled(|| crate::device::current().wait(), || self.job.step(self.trainer, step));
        self.bar.note(&format!("step {step}, by op:\n{}", profile_table::table(&lines)));
        done
    }

    fn log(&mut self, step: u64, values: Values) -> Result<(), Failure> {
        if !self.metrics.are_there() {
            self.metrics = self.folder.make_again(&self.metrics, &self.config)?;
            let folder = show(self.folder.path());
            let remark = "its metrics.jsonl was moved or removed while the run went on; it is written again, with all metrics so far";
            self.warn(vec![format!("step {step}: {folder}: {remark}, and checkpoints follow when they are due")]);
        }
        self.metrics.log(step, &values)?;
        let warnings = self.job.watch(step, &values).into_iter().map(|warning| format!("step {step}: {warning}")).collect();
        self.warn(warnings);
        Ok(())
    }

    /// Evaluates before the first step of a new run, and after the step of a checkpoint if its evaluation was due and is not logged. False
    /// if a request to stop ended the evaluation.
    ///
    /// # Errors
    /// As [`Participant::evaluate`].
    pub fn evaluate_first(&mut self) -> Result<bool, Failure> {
        let step = self.done;
        let is_due = step == 0 || (self.request.plan.evaluates_after(step) && !self.has_evaluation(step)?);
        if is_due { self.evaluate(step) } else { Ok(processes::alone(|_| Ok(()))?.is_some()) }
    }

    /// True if the metrics have an evaluation after this step: a record without a step's own values.
    fn has_evaluation(&self, step: u64) -> Result<bool, Failure> {
        let is_step = |record: &Record| record.values.iter().any(|(name, _)| name == "loss");
        Ok(read_metrics(&self.folder.file("metrics.jsonl"))?.iter().any(|record| record.step == step && !is_step(record)))
    }

    /// The failure that says how to resume after a stop. Waits until every process has stopped.
    ///
    /// # Errors
    /// [`Failure::Model`] if a process is lost.
    pub fn interrupted(&self, step: u64) -> Result<Failure, Failure> {
        self.bar.finish();
        processes::meet()?;
        let folder = show(self.folder.path());
        Ok(Failure::Interrupted(match step {
            0 => format!("no step was made; the same command with --resume begins in {folder}"),
            _ => format!("step {step} is saved in {folder}; the same command with --resume goes on from there"),
        }))
    }

    /// Writes the trained model, the report and the summary.
    ///
    /// # Errors
    /// [`Failure::Failed`] if every step was skipped; those of writing.
    pub fn finish(self, seconds: f64) -> Result<(), Failure> {
        self.bar.finish();
        let Self { job, trainer, tokenizer, prompts, request, folder, metrics, out, mut warnings, config, .. } = self;
        let steps = request.plan.steps;
        if trainer.skipped == steps {
            let last = warnings.last().map_or("", String::as_str);
            return Err(Failure::Failed(format!("every step was skipped, and nothing was learned: no model is written; the last: {last}")));
        }
        save_trained(folder.path(), &trainer.decoder, tokenizer, request.base.as_deref())?;
        let records = read_metrics(&folder.file("metrics.jsonl"))?;
        metrics.write_table(&records)?;
        let last = last_values(&records);
        let texts = prompts.after(folder.path(), &trainer.decoder)?;
        let (base, is_adapter) = (request.base.as_deref(), trainer.decoder.adapter().is_some());
        let settings: toml::Table = config.parse().unwrap_or_default();
        let card = Card {
            base,
            is_adapter,
            command: settings.get("command").and_then(toml::Value::as_str).unwrap_or("train"),
            parameters: format!("{} trained parameters", trainer.decoder.parameter_count()),
            how: How::Run { steps, config: &config, last: &last },
            warnings: &warnings,
        };
        if !card.write(folder.path(), folder.path())? {
            let warning = card::not_written(folder.path());
            terminal::say(&terminal::line(&format!("warning: {warning}")));
            warnings.push(warning);
        }
        let summary = json!({
            "model": folder.path(), "steps": steps, "skipped": trainer.skipped, "seconds": seconds, "last": last, "warnings": warnings,
        });
        let ran = Ran {
            out: folder.path(),
            base,
            is_adapter,
            steps,
            skipped: trainer.skipped,
            seconds,
            settings: &settings,
            records: &records,
            texts: &texts,
            warnings: &warnings,
        };
        page::end(job.report(&records), &ran).write(folder.file("report.html"))?;
        out.result(&summary, |text| {
            writeln!(text, "{steps} steps in {seconds:.0} s: the model, its metrics and report.html are in {}", show(folder.path()))
        })
    }
}

impl Participant for Run<'_> {
    type Error = Failure;

    fn step(&mut self, step: u64) -> Result<(), Failure> {
        let is_profiled = self.request.profile && step == (self.done + PROFILED).min(self.request.plan.steps);
        let (outcome, values, tokens) = if is_profiled { self.profile(step)? } else { self.job.step(self.trainer, step)? };
        let own = [("loss", outcome.loss), ("gradient_norm", outcome.gradient_norm), ("learning_rate", outcome.learning_rate)];
        let mut all: Values = own.into_iter().chain(values).collect();
        if let Some(why) = &outcome.skipped {
            all.push(("skipped", 1.0));
            self.warn(vec![format!("step {step} is skipped: {why}")]);
        }
        self.log(step, all)?;
        self.bar.step(step, &[("loss", outcome.loss)], tokens);
        Ok(())
    }

    /// Evaluates while the other processes wait.
    fn evaluate(&mut self, step: u64) -> Result<bool, Failure> {
        let work = |go_on: Check<'_>| {
            if step == 0 {
                self.prompts.before(self.folder.path(), &self.trainer.decoder, go_on)?;
            }
            self.job.evaluate(self.trainer, go_on)
        };
        let Some(values) = processes::alone(work)? else { return Ok(false) };
        if values.is_empty() {
            return Ok(true);
        }
        let shown: Vec<String> = values.iter().map(|(name, value)| format!("{name} {}", fixed(*value, 4))).collect();
        self.bar.line(&format!("step {step}: {}", shown.join(", ")));
        self.log(step, values)?;
        Ok(true)
    }

    fn is_stop_requested(&mut self) -> Result<bool, Failure> {
        Ok(processes::stop_requested()?)
    }

    fn save(&mut self) -> Result<(), Failure> {
        self.metrics.sync()?;
        Ok(checkpoint::save(self.folder.path(), self.trainer, &self.state, self.request.keep)?)
    }
}

/// Writes what was trained into a run's folder, the model or its adapter with the tokenizer, and copies the other files of its base.
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
fn last_values(records: &[Record]) -> Map<String, Value> {
    let mut last = Map::new();
    for record in records {
        for (name, value) in &record.values {
            last.insert(name.clone(), json!(value));
        }
    }
    last
}
