//! The loop that `train`, `sft` and `align` share: steps, metrics, evaluations, checkpoints, stopping, and what is left in the run's folder.

use crate::arguments::Shared;
use crate::failure::Failure;
use crate::interrupt;
use crate::output::Output;
use crate::progress::Progress;
use crate::report::Report;
use crate::run_folder::{Metrics, Record, RunFolder, read_metrics};
use engine::Cpu;
use model::adapter;
use model::checkpoint;
use model::decoder::Decoder;
use model::model_folder::ModelFolder;
use model::tokenizer::Tokenizer;
use model::train::{StepOutcome, Trainer};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Named numbers of a step or an evaluation, as they go into the metrics.
pub type Values = Vec<(&'static str, f64)>;

/// What training does that the loop does not know.
pub trait Job {
    /// One step; what it did, the values to log beside loss, norm and learning rate, and the tokens that went through the decoder.
    fn step(&mut self, trainer: &mut Trainer<Cpu<f32>>, step: u64) -> Result<(StepOutcome, Values, usize), Failure>;
    /// Values on data that is not trained on.
    fn evaluate(&self, trainer: &Trainer<Cpu<f32>>) -> Result<Values, Failure>;
    /// The report page, from everything that was logged.
    fn report(&self, records: &[Record], summary: &Value) -> Report;
}

/// A run's settings, as its config.toml keeps them.
#[derive(Serialize)]
pub struct Settings<'a, C> {
    /// The command's own.
    #[serde(flatten)]
    pub command: &'a C,
    /// Those of every command.
    #[serde(flatten)]
    pub shared: &'a Shared,
}

/// When to stop, look and save.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The run's folder.
    pub out: PathBuf,
    /// Steps in all.
    pub steps: u64,
    /// Evaluate after every so many steps and after the last; 0 for the last only.
    pub eval_every: u64,
    /// Save a checkpoint after every so many steps and after the last; 0 for the last only.
    pub checkpoint_every: u64,
    /// Go on from the newest checkpoint.
    pub resume: bool,
}

/// Runs a job to its end, or to the step at which it is interrupted.
pub fn run(
    job: &mut dyn Job,
    trainer: &mut Trainer<Cpu<f32>>,
    tokenizer: &Tokenizer,
    plan: &Plan,
    settings: &impl Serialize,
    shared: &Shared,
) -> Result<(), Failure> {
    let started = Instant::now();
    let out = Output::new(shared.json);
    let (folder, mut metrics, first) = open(trainer, plan, settings)?;
    let mut bar = Progress::new(plan.steps, !shared.json);
    if first == 0 {
        log_evaluation(job, trainer, &mut metrics, 0, &mut bar)?;
    }
    for step in first + 1..=plan.steps {
        let (outcome, values, tokens) = job.step(trainer, step)?;
        let own = [("loss", outcome.loss), ("gradient_norm", outcome.gradient_norm), ("learning_rate", outcome.learning_rate)];
        let all: Values = own.into_iter().chain(values).collect();
        metrics.log(step, &all)?;
        bar.step(step, &[("loss", outcome.loss)], tokens);
        if step == plan.steps || (plan.eval_every > 0 && step.is_multiple_of(plan.eval_every)) {
            log_evaluation(job, trainer, &mut metrics, step, &mut bar)?;
        }
        if step == plan.steps || (plan.checkpoint_every > 0 && step.is_multiple_of(plan.checkpoint_every)) {
            checkpoint::save(folder.path(), trainer)?;
        }
        if interrupt::requested() && step < plan.steps {
            bar.finish();
            checkpoint::save(folder.path(), trainer)?;
            let folder = show(folder.path());
            return Err(Failure::Interrupted(format!(
                "step {step} is saved in {folder}; the same command with --resume goes on from there"
            )));
        }
    }
    bar.finish();
    finish(job, trainer, tokenizer, &folder, plan, started.elapsed().as_secs_f64(), out)
}

/// The run's folder, its metrics, and the step to go on from.
fn open(trainer: &mut Trainer<Cpu<f32>>, plan: &Plan, settings: &impl Serialize) -> Result<(RunFolder, Metrics, u64), Failure> {
    if plan.resume {
        let folder = RunFolder::resume(&plan.out)?;
        let step = checkpoint::restore(folder.path(), trainer)?;
        let metrics = folder.resume_metrics(step)?;
        return Ok((folder, metrics, step));
    }
    let folder = RunFolder::create(&plan.out)?;
    folder.write_config(settings)?;
    let metrics = folder.metrics()?;
    Ok((folder, metrics, 0))
}

fn log_evaluation(job: &dyn Job, trainer: &Trainer<Cpu<f32>>, metrics: &mut Metrics, step: u64, bar: &mut Progress) -> Result<(), Failure> {
    let values = job.evaluate(trainer)?;
    if values.is_empty() {
        return Ok(());
    }
    metrics.log(step, &values)?;
    let shown: Vec<String> = values.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
    bar.line(&format!("step {step}: {}", shown.join(", ")));
    Ok(())
}

fn finish(
    job: &dyn Job,
    trainer: &Trainer<Cpu<f32>>,
    tokenizer: &Tokenizer,
    folder: &RunFolder,
    plan: &Plan,
    seconds: f64,
    out: Output,
) -> Result<(), Failure> {
    save_trained(folder.path(), &trainer.decoder, tokenizer)?;
    let records = read_metrics(&folder.file("metrics.jsonl"))?;
    let last = last_values(&records);
    let summary = json!({ "model": folder.path(), "steps": plan.steps, "seconds": seconds, "last": last });
    let report = folder.file("report.html");
    job.report(&records, &summary).write(&report)?;
    out.result(&summary, |text| {
        writeln!(text, "{} steps in {seconds:.0} s: the model, its metrics and report.html are in {}", plan.steps, show(folder.path()))
    })
}

/// Leaves what was trained in a run's folder: the model, or its adapter with the tokenizer.
fn save_trained(folder: &Path, decoder: &Decoder<Cpu<f32>>, tokenizer: &Tokenizer) -> Result<(), Failure> {
    if decoder.adapter().is_some() {
        tokenizer.save(folder)?;
        adapter::save(folder, decoder)?;
        return Ok(());
    }
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

/// (step, value) of one metric, for a chart.
pub fn series(records: &[Record], name: &str) -> Vec<(f64, f64)> {
    let value = |record: &Record| record.values.iter().find(|(key, _)| *key == name).map(|(_, value)| (record.step as f64, *value));
    records.iter().filter_map(value).collect()
}

/// A report's window for smoothing a curve of so many points.
pub fn smoothing(points: usize) -> usize {
    (points / 40).clamp(1, 50)
}
