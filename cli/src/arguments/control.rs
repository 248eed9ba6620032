//! What every training command takes to keep, stop and go on with a run.

use super::change::Layers;
use super::headings::RUN;
use super::values;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// How a run is kept, and how it goes on.
#[derive(Debug, Clone, Args, Serialize)]
pub struct RunControl {
    /// Checkpoints that are kept, from 1; a damaged newest one falls back to the one before it
    #[arg(
        long,
        alias = "save-total-limit",
        value_name = "N",
        help_heading = RUN,
        default_value_t = 2,
        value_parser = values::count::<usize>()
    )]
    pub keep: usize,
    /// The names in metrics.csv and TensorBoard: the program's own, or TRL's, whose rewards are β times the log-ratios (β 1 for a loss
    /// without one); metrics.jsonl keeps the program's own
    #[arg(long, value_name = "WHOSE", help_heading = RUN, default_value = "slpo", value_parser = ["slpo", "trl"])]
    pub metric_names: String,
    /// What to do where a loss or gradient is not finite: stop the run, or skip the step
    #[arg(long, value_name = "WHAT", help_heading = RUN, default_value = "stop", value_parser = ["stop", "skip"])]
    pub on_nonfinite: String,
    /// Print the time and bytes of one step by op: the third step, when every buffer is allocated, or the last step of a shorter run
    #[arg(long, help_heading = RUN)]
    #[serde(skip)]
    pub profile: bool,
    /// Go on from the last checkpoint in --out, with the settings of its config.toml; flags win over it, and each difference is reported
    #[arg(long, help_heading = RUN)]
    #[serde(skip)]
    pub resume: bool,
    /// With --resume: also change what the result depends on (data, model, loss, batch, seed …), which is refused otherwise
    #[arg(long, help_heading = RUN)]
    #[serde(skip)]
    pub change: bool,
    /// A TOML file of these settings, such as a run's config.toml; flags win over it. Relative paths in it start at its
    /// working_directory, or else at the current folder
    #[arg(long, value_name = "FILE.toml", help_heading = RUN)]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// The findings about settings from files.
    #[arg(skip)]
    #[serde(skip)]
    pub layers: Layers,
}
