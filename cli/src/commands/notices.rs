//! What was noticed in a file and not used, said once on standard error.

use crate::processes;
use crate::progress::Progress;
use crate::terminal;
use model::data::DataReport;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Warns of each remark, once however often a command comes upon it. Of several processes only the first speaks.
pub fn warn(remarks: &[String]) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    for remark in remarks.iter().filter(|_| processes::is_first()) {
        if said.insert(remark.clone()) {
            terminal::say(&terminal::line(&format!("warning: {remark}")));
        }
    }
}

/// Warns of what was noticed in a data file.
pub fn of_file(path: &Path, remarks: &[String]) {
    warn(&remarks.iter().map(|remark| format!("{}: {remark}", path.display())).collect::<Vec<_>>());
}

/// Says what became of a file's rows, unless the output is JSON, and warns of what was not used.
pub fn of_rows(report: &DataReport, json: bool) {
    Progress::new(0, !json && processes::is_first()).line(&report.to_string());
    of_file(&report.path, &report.remarks);
}
