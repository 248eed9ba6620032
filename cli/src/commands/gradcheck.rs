//! `slpo gradcheck`: every op, loss and the whole decoder against everything that can tell whether a gradient is true.

use crate::arguments::{Gradcheck, Shared};
use crate::failure::Failure;
use crate::output::{Number, Output};
use engine::gradcheck::{Check, Entry, Report, check_entry};
use serde::Serialize;

/// Samples that are drawn of each op and loss, and their largest extent.
const SAMPLES: u64 = 12;
const EXTENT: usize = 4;

/// Samples that are drawn of a decoder, which has hundreds of parameters.
const DECODER_SAMPLES: u64 = 2;

#[derive(Serialize)]
struct Checked<'a> {
    checks: Vec<Line<'a>>,
    passed: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    method: &'static str,
    max_abs_error: Number,
    max_rel_error: Number,
    tolerance: Number,
    passed: bool,
}

impl<'a> From<&'a Check> for Line<'a> {
    fn from(check: &'a Check) -> Self {
        Self {
            name: &check.name,
            method: check.method.name(),
            max_abs_error: Number(check.max_abs_error),
            max_rel_error: Number(check.max_rel_error),
            tolerance: Number(check.tolerance),
            passed: check.passed,
        }
    }
}

/// Checks what is named, or everything.
///
/// # Errors
/// [`Failure::Usage`] for a name that nothing has, [`Failure::Failed`] where a check fails.
pub fn run(arguments: &Gradcheck, shared: &Shared) -> Result<(), Failure> {
    let entries = chosen(&arguments.names)?;
    let output = Output::new(shared.json);
    let mut reports = Vec::with_capacity(entries.len());
    output.stream(&format!("{:<20} {:>7} {:>12}  slowest\n", "", "methods", "of allowed"))?;
    for (entry, samples) in &entries {
        let seeds = (0..*samples).map(|i| shared.seed.wrapping_add(i));
        let report = check_entry(entry, seeds, EXTENT);
        output.stream(&row(&report))?;
        reports.push(report);
    }
    let checks: Vec<&Check> = reports.iter().flat_map(|report| &report.checks).collect();
    let failed = checks.iter().filter(|check| !check.passed).count();
    let checked = Checked { checks: checks.iter().map(|check| Line::from(*check)).collect(), passed: failed == 0 };
    output.result(&checked, |to| writeln!(to, "{} of {} checks passed", checks.len() - failed, checks.len()))?;
    if failed > 0 {
        return Err(Failure::Failed(format!("{failed} of {} checks failed", checks.len())));
    }
    Ok(())
}

/// One line for a person; more for what failed.
fn row(report: &Report) -> String {
    let of_allowed = report.checks.iter().map(|check| check.max_rel_error / check.tolerance).fold(0.0, f64::max);
    let slowest = report.checks.iter().max_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let slowest = slowest.map_or(String::new(), |check| format!("{} {:.0} ms", check.method, 1e3 * check.seconds));
    let line = format!("{:<20} {:>7} {:>11.3}%  {slowest}\n", report.name, report.checks.len(), 100.0 * of_allowed);
    if report.passed() { line } else { format!("{line}{report}\n") }
}

/// The entries with these names, or all, each with its number of samples.
fn chosen(names: &[String]) -> Result<Vec<(Entry, u64)>, Failure> {
    let small = engine::ops::registry().into_iter().chain(losses::registry()).map(|entry| (entry, SAMPLES));
    let decoders = model::gradcheck::registry().into_iter().map(|entry| (entry, DECODER_SAMPLES));
    let all: Vec<(Entry, u64)> = small.chain(decoders).collect();
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|(entry, _)| entry.name == **name)) {
        let known: Vec<&str> = all.iter().map(|(entry, _)| entry.name).collect();
        return Err(Failure::Usage(format!("nothing to check is called {unknown:?}; there are {}", known.join(", "))));
    }
    Ok(all.into_iter().filter(|(entry, _)| names.is_empty() || names.iter().any(|name| name == entry.name)).collect())
}
