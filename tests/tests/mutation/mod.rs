//! The suite's reports on mutants: planted around any operation ([`engine::gradcheck::mutation`]), and in copies of vector-Jacobian
//! products ([`copies`]).

pub mod copies;

use engine::gradcheck::mutation::Mistake;
use engine::gradcheck::{Entry, Method, Report, check_entry};

/// Samples of each mutant, and the largest extent of their axes.
pub const SAMPLES: u64 = 6;
const EXTENT: usize = 4;

/// The suite's report on an entry.
pub fn report(entry: &Entry) -> Report {
    check_entry(entry, 0..SAMPLES, EXTENT)
}

/// The suite's report on one sample of an entry.
pub fn report_of(entry: &Entry, sample: u64) -> Report {
    check_entry(entry, [sample], EXTENT)
}

/// The methods that a report says see a mistake.
pub fn seen_by(report: &Report) -> Vec<Method> {
    report.checks.iter().filter(|check| !check.passed).map(|check| check.method).collect()
}

/// A line of the table of mutants: who saw the mistake.
pub fn line(name: &str, op: &str, mistake: Mistake, report: &Report) -> String {
    let seen: Vec<&str> = seen_by(report).iter().map(|method| method.name()).collect();
    format!("{name:<20} {op:<18} {:<12} {}", format!("{mistake:?}"), seen.join(", "))
}
