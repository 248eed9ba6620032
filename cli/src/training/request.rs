//! What a command asks of its run, besides the steps themselves.

use crate::arguments::{Layers, RunControl};
use model::train::{OnNonFinite, Plan};
use std::path::{Path, PathBuf};

/// Where a run is kept, when it saves, and how it goes on.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// The run's folder.
    pub out: PathBuf,
    /// Its steps, evaluations and checkpoints.
    pub plan: Plan,
    /// Number of checkpoints that are kept, from 1.
    pub keep: usize,
    /// Policy for a loss or gradient that is not finite.
    pub on_non_finite: OnNonFinite,
    /// True if the run continues from its newest checkpoint.
    pub resume: bool,
    /// True if the run may continue although it began with other data or settings.
    pub change: bool,
    /// True if a table shows where the time of one step goes.
    pub profile: bool,
    /// Warnings to print before the first step.
    pub remarks: Vec<String>,
    /// The settings that came from files.
    pub layers: Layers,
    /// The folder of the model that training starts from, if it starts from one.
    pub base: Option<PathBuf>,
}

impl RunRequest {
    /// The request of a command with these arguments.
    pub fn new(out: &Path, plan: Plan, control: &RunControl, base: Option<&Path>, remarks: Vec<String>) -> Self {
        Self {
            out: out.to_owned(),
            plan,
            keep: control.keep,
            on_non_finite: if control.on_nonfinite == "skip" { OnNonFinite::Skip } else { OnNonFinite::Stop },
            resume: control.resume,
            change: control.change,
            profile: control.profile,
            remarks,
            layers: control.layers.clone(),
            base: base.map(Path::to_owned),
        }
    }
}
