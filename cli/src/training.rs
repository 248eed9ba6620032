//! What `train`, `sft` and `align` share: a run with its folder, metrics, evaluations and checkpoints, which can stop and resume.

mod follower;
mod opened;
mod request;
mod resumed;
mod run;

pub use request::RunRequest;

use crate::arguments::{RunSettings, Shared};
use crate::failure::Failure;
use crate::interrupt;
use crate::processes;
use crate::report::Report;
use crate::run_folder::Record;
use engine::Device;
use follower::Follower;
use model::checkpoint::RunState;
use model::evaluate::Check;
use model::parallel::{Parallel, Processes, start};
use model::tokenizer::Tokenizer;
use model::train::{self, Ended, StepOutcome, Trainer};
use run::Run;
use serde_json::Value;
use std::path::Path;
use std::time::Instant;

/// Named numbers of a step or an evaluation, as they go into the metrics.
pub type Values = Vec<(&'static str, f64)>;

/// The part of a run that differs from command to command.
pub trait Job {
    /// What fixes the run's data and random numbers besides the step.
    fn state(&self) -> RunState;
    /// Prepares the first step, in the run's folder, which only the first of several processes has. Returns warnings.
    fn prepare(&mut self, _trainer: &Trainer<Device>, _folder: Option<&Path>, _new: bool) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }
    /// Makes one step. Returns its outcome, the values to log beside loss, norm and learning rate, and the number of tokens that went
    /// through the decoder in all processes together.
    fn step(&mut self, trainer: &mut Trainer<Device>, step: u64) -> Result<(StepOutcome, Values, usize), Failure>;
    /// Returns the warnings that follow from the logged values, each once in a run.
    fn watch(&mut self, _step: u64, _values: &[(&str, f64)]) -> Vec<String> {
        Vec::new()
    }
    /// Evaluates on data that is not trained on. Ends early with the error of `go_on`.
    fn evaluate(&self, trainer: &Trainer<Device>, go_on: Check<'_>) -> Result<Values, Failure>;
    /// The report page, from everything that was logged.
    fn report(&self, records: &[Record], summary: &Value) -> Report;
}

/// Runs a job to its end, or to the step at which it is interrupted. Of several processes the first one writes and says everything.
pub fn run(
    job: &mut dyn Job,
    trainer: &mut Trainer<Device>,
    tokenizer: &Tokenizer,
    request: &RunRequest,
    settings: &RunSettings,
    shared: &Shared,
) -> Result<(), Failure> {
    let started = Instant::now();
    trainer.on_non_finite = request.on_non_finite;
    if let Some(processes) = processes::current() {
        assemble(processes, job, trainer, request, settings)?;
        if processes.rank() > 0 {
            return follow(processes, job, trainer, request);
        }
    }
    let mut run = Run::open(job, trainer, request, settings, shared)?;
    let ended = match run.evaluate_first()? {
        true => train::run(&request.plan, run.done(), &mut run)?,
        false => Ended::Stopped(run.done()),
    };
    if let Ended::Stopped(step) = ended {
        return Err(run.interrupted(step)?);
    }
    run.finish(tokenizer, started.elapsed().as_secs_f64())?;
    meet()
}

/// Makes one trainer of several processes, after a check that all were started alike.
fn assemble(
    processes: &Processes,
    job: &dyn Job,
    trainer: &mut Trainer<Device>,
    request: &RunRequest,
    settings: &RunSettings,
) -> Result<(), Failure> {
    let (state, size) = (job.state(), processes.size());
    let own = serde_json::to_string_pretty(&state).map_err(|error| Failure::Failed(format!("cannot write down the settings: {error}")))?;
    let settings = settings.lines();
    let settings = settings.iter().map(String::as_str);
    let lines: Vec<&str> = settings.chain(own.lines()).chain([if request.resume { "--resume" } else { "no --resume" }]).collect();
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

/// Runs a process after the first.
fn follow(processes: &Processes, job: &mut dyn Job, trainer: &mut Trainer<Device>, request: &RunRequest) -> Result<(), Failure> {
    start::follow_first(processes, trainer)?;
    let done = trainer.steps();
    interrupt::save_first();
    job.prepare(trainer, None, done == 0)?;
    let ended = match processes::wait_for_first()? {
        true => train::run(&request.plan, done, &mut Follower::new(job, trainer))?,
        false => Ended::Stopped(done),
    };
    meet()?;
    match ended {
        Ended::Finished => Ok(()),
        Ended::Stopped(_) => Err(Failure::Interrupted("the first process says what is saved".to_owned())),
    }
}

/// Waits until every process has arrived here.
fn meet() -> Result<(), Failure> {
    Ok(processes::current().map_or(Ok(()), Processes::meet)?)
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
