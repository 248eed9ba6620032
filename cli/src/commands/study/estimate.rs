//! An estimate of a study's time, from the runs that are made, or from the first one.

use super::design::{Design, Key};
use super::record::Record;
use super::stages::{self, LONG, Records};
use crate::failure::Failure;
use model::study::grid::first;
use model::study::path::Moment;

/// The growth of the lattices, in first trials.
const WIDER: f64 = 1.8;
/// The settings of an arm that are reported: the best ones at some divergences are the same.
const REPORTED: usize = 4;

/// A run that was made to be timed, with its path.
pub type Timed = (Record, Vec<Moment>);

/// Says how many runs are to be made and how long they may take. Where none is made, makes one of the first stage, and returns it too. It
/// has an arm's middle setting: runs with small steps take longer than most, and those with large ones end early.
///
/// # Errors
/// Those of a run.
pub fn of(
    run: &impl Fn(Key) -> Result<Timed, Failure>,
    design: &Design,
    records: &Records,
    threads: usize,
) -> Result<(String, Option<Timed>), Failure> {
    let Some(stage) = stages::next(design, records) else { return Ok(("all runs are made".to_owned(), None)) };
    let trials = first(&design.arms[0]);
    let timed = if records.is_empty() { Some(run(design.key(0, trials[trials.len() / 2], design.tuning_seeds[0]))?) } else { None };
    let made = records.values().chain(timed.iter().map(|(record, _)| record));
    let of_run = made.clone().map(|record| record.seconds).sum::<f64>() / made.count() as f64;
    let unfinished = stage.keys.iter().filter(|key| !records.contains_key(key)).count();
    let left = (runs(design) - records.len() as f64).max(unfinished as f64);
    let minutes = (left * of_run / threads as f64 / 60.0).max(1.0);
    let sentence =
        format!("some {left:.0} runs of {of_run:.1} s: about {minutes:.0} minutes on {threads} threads; it can be stopped at any time");
    Ok((sentence, timed))
}

/// The runs of a whole study, long ones counted as what they take.
fn runs(design: &Design) -> f64 {
    let tuning: usize = design.arms.iter().map(|arm| first(arm).len()).sum::<usize>() * design.tuning_seeds.len();
    let reported = design.arms.len() * design.divergences.len().min(REPORTED);
    let in_cells: usize = design.cells.iter().skip(1).map(|cell| design.arms_in(cell).len()).sum();
    let long = design.long_arms().len() * LONG as usize;
    WIDER * tuning as f64 + ((reported + in_cells + long) * design.fresh_seeds.len()) as f64
}
