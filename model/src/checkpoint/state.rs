//! What `state.json` holds: everything that is neither weight nor moment.

use crate::optimizer::{Rule, Schedule};
use engine::Precision;
use losses::Running;
use serde::{Deserialize, Serialize};

/// The values that, together with the step, determine a run's random numbers and data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunState {
    /// The seed.
    pub seed: u64,
    /// A fingerprint of the training data, as it goes into the model.
    pub data: String,
    /// Rows of an optimiser step, over all its micro-batches.
    pub rows_per_step: u64,
    /// Rows of a micro-batch.
    pub rows_at_once: u64,
}

/// The state of a run that is neither weight nor moment.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Steps that were made or skipped.
    pub step: u64,
    /// Steps that were skipped because their gradient was not finite.
    pub skipped: u64,
    pub precision: String,
    /// Name of the device's precision, which says how it rounded products.
    #[serde(default = "unrounded", skip_serializing_if = "is_unrounded")]
    pub rounding: String,
    pub rule: Rule,
    pub schedule: Schedule,
    pub clip: f64,
    pub run: RunState,
    /// What losses whose settings follow from earlier steps remember.
    #[serde(default, skip_serializing_if = "is_new")]
    pub running: Running,
    /// Number of processes that made the steps.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub processes: usize,
}

fn unrounded() -> String {
    Precision::F32.name().to_owned()
}

fn is_unrounded(rounding: &str) -> bool {
    rounding == Precision::F32.name()
}

fn is_new(running: &Running) -> bool {
    *running == Running::default()
}

fn one() -> usize {
    1
}

fn is_one(processes: &usize) -> bool {
    *processes == 1
}
