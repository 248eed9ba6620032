//! When a run stops, looks and saves.

use crate::arguments::{Layers, RunControl};
use model::train::OnNonFinite;
use std::path::{Path, PathBuf};

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
    /// Checkpoints that are kept, from 1.
    pub keep: usize,
    /// What to do where a loss or gradient is not finite.
    pub on_non_finite: OnNonFinite,
    /// Go on from the newest checkpoint.
    pub resume: bool,
    /// Go on although the run was begun with other data or settings.
    pub change: bool,
    /// Print where the time of one step goes.
    pub profile: bool,
    /// What is to be said before the first step.
    pub remarks: Vec<String>,
    /// What came from files of settings.
    pub layers: Layers,
    /// The folder of the model that training starts from, where it starts from one.
    pub base: Option<PathBuf>,
}

impl Plan {
    /// The plan of a command: `every` how many steps it evaluates and saves.
    pub fn new(out: &Path, steps: u64, every: (u64, u64), control: &RunControl, base: Option<&Path>, remarks: Vec<String>) -> Self {
        Self {
            out: out.to_owned(),
            steps,
            eval_every: every.0,
            checkpoint_every: every.1,
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

    /// Whether what is done after every so many steps, and after the last, is due after this one.
    pub fn is_due(&self, every: u64, step: u64) -> bool {
        step == self.steps || (every > 0 && step.is_multiple_of(every))
    }
}
