//! `slpo study`: compares the losses where their policies are equally far from the reference, in worlds that can be enumerated.

mod record;
mod stages;
mod store;
mod workers;

use crate::arguments::{Shared, Study};
use crate::failure::Failure;
use crate::interrupt;
use crate::output::Output;
use crate::progress::Progress;
use record::Key;
use stages::{Records, Scale, Stage};
use std::path::Path;
use std::time::Instant;
use store::Store;
use workers::{Worlds, run_all};

/// Runs the study, or writes its report again.
pub fn run(arguments: &Study, shared: &Shared) -> Result<(), Failure> {
    let out = Output::new(shared.json);
    let Some(folder) = &arguments.out else {
        return Ok(());
    };
    let scale = if arguments.quick { Scale::quick() } else { Scale::full() };
    let mut store = if arguments.resume { Store::resume(folder, &scale)? } else { Store::begin(folder, &scale)? };
    interrupt::save_first();
    let device = crate::device::processor()?;
    let threads = shared.threads.unwrap_or_else(rayon::current_num_threads);
    let worlds = Worlds::default();
    let started = Instant::now();
    while let Some(stage) = stages::next(&scale, store.records()) {
        let keys = unfinished(&stage, store.records());
        out.stream(&format!("{}: {} runs on {threads} threads\n", stage.name, keys.len()))?;
        let mut bar = Progress::new(keys.len() as u64, !shared.json);
        let mut made = 0;
        let is_whole = run_all(&worlds, &device, &keys, threads, interrupt::requested, |record, path| {
            made += 1;
            bar.step(made, &[("reward", record.end.values[0]), ("kl", record.end.divergence)], 0);
            store.add(record, &path)
        })?;
        bar.finish();
        if !is_whole {
            return Err(stopped(folder, store.records().len()));
        }
    }
    out.stream(&format!("{} runs in {:.0} s\n", store.records().len(), started.elapsed().as_secs_f64()))?;
    Ok(())
}

/// The runs of a stage that are not made yet, world by world.
fn unfinished(stage: &Stage, records: &Records) -> Vec<Key> {
    let mut keys: Vec<Key> = stage.keys.iter().copied().filter(|key| !records.contains_key(key)).collect();
    keys.sort_by_key(|key| (key.cell, key.seed));
    keys
}

fn stopped(folder: &Path, runs: usize) -> Failure {
    let place = folder.display();
    Failure::Interrupted(format!("{runs} runs are saved in {place}; slpo study --out {place} --resume goes on from there"))
}
