//! The arguments of `slpo study`.

use clap::{ArgGroup, Args};
use std::path::PathBuf;

/// Arguments of `slpo study`.
#[derive(Debug, Clone, Args)]
#[command(
    group(ArgGroup::new("place").required(true).args(["out", "report"])),
    after_help = "Examples:\n  slpo study --out study --quick\n  slpo study --out study\n  slpo study --out study --resume\n  \
                  slpo study --out study-2 --tier 2\n  slpo study --report study"
)]
pub struct Study {
    /// The folder for the runs and the report
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write the report of the runs in this folder again, and run nothing
    #[arg(long, value_name = "DIR", conflicts_with_all = ["quick", "resume"])]
    pub report: Option<PathBuf>,
    /// Where the losses are compared: 1, in small worlds; 2, in the language of slpo demo. Tier 3, real pairs and a model of
    /// yours, is slpo compare
    #[arg(long, value_name = "TIER", default_value_t = 1, value_parser = tier, conflicts_with = "report")]
    pub tier: u8,
    /// A small study of a minute or two: shorter runs, fewer seeds and cells
    #[arg(long)]
    pub quick: bool,
    /// Go on with the study in --out; its runs are the same as without the stop
    #[arg(long)]
    pub resume: bool,
}

fn tier(text: &str) -> Result<u8, String> {
    match text {
        "1" => Ok(1),
        "2" => Ok(2),
        "3" => Err("tier 3 is on real pairs and a model of yours: slpo compare --data PAIRS --model MODEL --out DIR runs it".to_owned()),
        _ => Err("must be 1 or 2".to_owned()),
    }
}
