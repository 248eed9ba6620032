//! What `train`, `sft` and `align` share: a run with its folder, metrics, evaluations and checkpoints, which can stop and resume.

mod follower;
mod job;
mod opened;
mod page;
mod request;
mod resumed;
mod run;
mod texts;

pub use job::{Job, Values};
pub use page::is_tie;
pub use request::RunRequest;

use crate::arguments::{RunSettings, Shared};
use crate::failure::Failure;
use crate::interrupt;
use crate::processes;
use crate::run_folder::Record;
use engine::Device;
use follower::Follower;
use model::parallel::{Parallel, Processes, start};
use model::tokenizer::Tokenizer;
use model::train::{self, Ended, Trainer};
use run::Run;
use std::time::Instant;

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
    let mut run = Run::open(job, trainer, tokenizer, request, settings, shared)?;
    let ended = match run.evaluate_first()? {
        true => train::run(&request.plan, run.done(), &mut run)?,
        false => Ended::Stopped(run.done()),
    };
    if let Ended::Stopped(step) = ended {
        return Err(run.interrupted(step)?);
    }
    run.finish(started.elapsed().as_secs_f64())?;
    processes::meet()
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
    processes::meet()?;
    match ended {
        Ended::Finished => Ok(()),
        Ended::Stopped(_) => Err(Failure::Interrupted("the first process says what is saved".to_owned())),
    }
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
