//! `slpo study`: compares the losses where their policies are equally far from the reference, in worlds that can be enumerated.

mod document;
mod estimate;
mod figures;
mod hypotheses;
mod record;
mod report;
mod results;
mod stages;
mod store;
mod workers;

use crate::arguments::{Shared, Study};
use crate::failure::Failure;
use crate::interrupt;
use crate::output::Output;
use crate::progress::Progress;
use record::Key;
use serde_json::{Value, json};
use stages::{Records, Scale, Stage};
use std::path::Path;
use store::Store;
use workers::{Worlds, run_all};

/// Runs the study, or writes its report again.
pub fn run(arguments: &Study, shared: &Shared) -> Result<(), Failure> {
    let out = Output::new(shared.json);
    let folder = match (&arguments.out, &arguments.report) {
        (Some(folder), _) => folder,
        (None, report) => return write_report(report.as_deref().unwrap_or(Path::new("")), out),
    };
    let scale = if arguments.quick { Scale::quick() } else { Scale::full() };
    let mut store = if arguments.resume { Store::resume(folder, &scale)? } else { Store::begin(folder, &scale)? };
    interrupt::save_first();
    let device = crate::device::processor()?;
    let threads = shared.threads.unwrap_or_else(rayon::current_num_threads);
    let worlds = Worlds::default();
    out.stream(&format!("{}\n", estimate::of(&worlds, &device, &scale, store.records(), threads)?))?;
    while let Some(stage) = stages::next(&scale, store.records()) {
        let keys = unfinished(&stage, store.records());
        let is_drawn = stages::drawn(&stage, &scale, store.records());
        out.stream(&format!("{}: {} runs on {threads} threads\n", stage.name, keys.len()))?;
        let mut bar = Progress::new(keys.len() as u64, !shared.json);
        let mut made = 0;
        let is_whole = run_all(&worlds, &device, &keys, threads, interrupt::requested, |record, path| {
            made += 1;
            bar.step(made, &[("reward", record.end.values[0]), ("kl", record.end.divergence)], 0);
            let is_drawn = is_drawn.contains(&record.key);
            store.add(record, &path, is_drawn)
        })?;
        bar.finish();
        if !is_whole {
            return Err(stopped(folder, store.records().len()));
        }
    }
    write_report(folder, out)
}

fn write_report(folder: &Path, out: Output) -> Result<(), Failure> {
    let answers = report::write(folder)?;
    let report = folder.join("report.html");
    let named: serde_json::Map<String, Value> = answers.iter().map(|(name, verdict)| ((*name).to_owned(), (*verdict).into())).collect();
    out.result(&json!({ "report": report, "answers": named }), |to| {
        answers.iter().try_for_each(|(name, verdict)| writeln!(to, "{name} {verdict}"))?;
        writeln!(to, "The report with its figures: {}", report.display())
    })
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
