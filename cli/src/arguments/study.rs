//! The arguments of `slpo study`.

use clap::{ArgGroup, Args};
use std::path::PathBuf;

/// Arguments of `slpo study`.
#[derive(Debug, Clone, Args)]
#[command(
    group(ArgGroup::new("place").required(true).args(["out", "report"])),
    after_help = "Examples:\n  slpo study --out study --quick\n  slpo study --out study\n  slpo study --out study --resume\n  \
                  slpo study --report study"
)]
pub struct Study {
    /// The folder for the runs and the report
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write the report of the runs in this folder again, and run nothing
    #[arg(long, value_name = "DIR", conflicts_with_all = ["quick", "resume"])]
    pub report: Option<PathBuf>,
    /// A small study of a minute or two: shorter runs, fewer seeds and cells
    #[arg(long)]
    pub quick: bool,
    /// Go on with the study in --out; its runs are the same as without the stop
    #[arg(long)]
    pub resume: bool,
}
