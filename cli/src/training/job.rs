//! What a command gives its run: the steps, the evaluations and the report.

use crate::failure::Failure;
use crate::report::Report;
use crate::run_folder::Record;
use engine::Device;
use model::checkpoint::RunState;
use model::evaluate::Check;
use model::train::{StepOutcome, Trainer};
use std::path::Path;

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
    /// Prompts of the run's data in tokens, best of what is not trained on: what the model makes of some is shown.
    fn prompts(&self) -> Vec<Vec<u32>>;
    /// The report page, from everything that was logged. The run ends it with what all runs tell.
    fn report(&self, records: &[Record]) -> Report;
}
