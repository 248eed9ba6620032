//! `slpo study`: compares the losses where their policies are equally far from the reference, in worlds that can be enumerated
//! and in a small language. Its parts that know nothing of worlds also run `slpo compare`.

pub mod design;
pub mod document;
pub mod driver;
mod estimate;
pub mod figures;
pub mod hypotheses;
mod once;
pub mod record;
mod report;
pub mod results;
mod stages;
pub mod store;
pub mod tables;
mod workers;
mod worlds;

use crate::arguments::{Shared, Study};
use crate::failure::Failure;
use crate::output::Output;
use design::Design;
use driver::Driver;
use serde_json::{Value, json};
use std::path::Path;
use store::Store;
use worlds::{Languages, Worlds};

/// Runs the study, or writes its report again.
pub fn run(arguments: &Study, shared: &Shared) -> Result<(), Failure> {
    let out = Output::new(shared.json);
    let folder = match (&arguments.out, &arguments.report) {
        (Some(folder), _) => folder,
        (None, report) => return write_report(report.as_deref().unwrap_or(Path::new("")), out),
    };
    let design = match (arguments.tier, arguments.quick) {
        (2, true) => Design::quick_language(),
        (2, false) => Design::language(),
        (_, true) => Design::quick(),
        (_, false) => Design::full(),
    };
    let mut store = if arguments.resume { Store::resume(folder, &design)? } else { Store::begin(folder, &design)? };
    let threads = shared.threads.unwrap_or_else(rayon::current_num_threads);
    let again = "the same command with --resume".to_owned();
    let driver = Driver { design: &design, folder, threads, json: shared.json, again };
    let device = crate::device::processor()?;
    if design.tier == 2 {
        let languages = Languages::new(design.clone(), device);
        driver.make(&mut store, |key| languages.run(key))?;
    } else {
        let worlds = Worlds::new(design.clone(), device);
        driver.make(&mut store, |key| worlds.run(key))?;
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
