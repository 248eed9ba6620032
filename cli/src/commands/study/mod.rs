//! `slpo study`: compares the losses where their policies are equally far from the reference, in worlds that can be enumerated. Its
//! parts that know nothing of worlds also run `slpo compare`.

pub mod design;
pub mod document;
pub mod driver;
mod estimate;
pub mod figures;
pub mod hypotheses;
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
use worlds::Worlds;

/// Runs the study, or writes its report again.
pub fn run(arguments: &Study, shared: &Shared) -> Result<(), Failure> {
    let out = Output::new(shared.json);
    let folder = match (&arguments.out, &arguments.report) {
        (Some(folder), _) => folder,
        (None, report) => return write_report(report.as_deref().unwrap_or(Path::new("")), out),
    };
    let design = if arguments.quick { Design::quick() } else { Design::full() };
    let mut store = if arguments.resume { Store::resume(folder, &design)? } else { Store::begin(folder, &design)? };
    let worlds = Worlds::new(design.clone(), crate::device::processor()?);
    let threads = shared.threads.unwrap_or_else(rayon::current_num_threads);
    let again = format!("slpo study --out {} --resume", folder.display());
    Driver { design: &design, folder, threads, json: shared.json, again }.make(&mut store, |key| worlds.run(key))?;
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
