//! An estimate of a study's time, from one moment and some steps of its most usual run.

use super::record::Key;
use super::stages::{self, Records, Scale};
use super::workers::Worlds;
use crate::failure::Failure;
use engine::Device;
use model::study::arms::ARMS;
use model::study::cells::CELLS;
use model::study::path::moments;

/// Steps of the run that is timed.
const TIMED: u64 = 24;
/// Runs that the later stages have for each run of the first one: lattices grow, and chosen settings differ between divergences.
const LATER: f64 = 4.0;

/// Says how many runs are to be made and how long they may take.
///
/// # Errors
/// Those of a run.
pub fn of(worlds: &Worlds, device: &Device, scale: &Scale, records: &Records, threads: usize) -> Result<String, Failure> {
    let Some(stage) = stages::next(scale, records) else { return Ok("all runs are made".to_owned()) };
    let (timed, _) = worlds.run(device, Key { steps: TIMED, ..stages::first_key(scale) })?;
    let parts = |steps: u64| (moments(steps).len() as u64 + steps) as f64;
    let of_run = timed.seconds * parts(scale.steps) / parts(TIMED);
    let first = ARMS.iter().map(|arm| model::study::grid::first(arm).len()).sum::<usize>() * scale.tuning_seeds.len();
    let all = (1.0 + LATER) * first as f64 * scale.cells.len() as f64 / CELLS.len() as f64;
    let left = (all - records.len() as f64).max(stage.keys.iter().filter(|key| !records.contains_key(key)).count() as f64);
    let minutes = left * of_run / threads as f64 / 60.0;
    Ok(format!(
        "some {left:.0} runs of {of_run:.1} s: about {:.0} minutes on {threads} threads; it can be stopped at any time",
        minutes.max(1.0)
    ))
}
