//! Notices on standard error about content of files that was not used. Each is printed once.

use crate::processes;
use crate::progress::Progress;
use crate::terminal;
use losses::Objective;
use model::data::DataReport;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Prints each remark as a warning, only at its first occurrence. Of several processes only the first prints.
pub fn warn(remarks: &[String]) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    for remark in remarks.iter().filter(|_| processes::is_first()) {
        if said.insert(remark.clone()) {
            terminal::say(&terminal::line(&format!("warning: {remark}")));
        }
    }
}

/// Says what the losses' names compute where other programs mean something else. Of several processes only the first prints.
pub fn of_losses(objective: &Objective) {
    for note in objective.terms().iter().filter_map(|(loss, _)| loss.note()).filter(|_| processes::is_first()) {
        terminal::say(&terminal::line(&format!("note: {note}")));
    }
}

/// Warns about remarks on a data file.
pub fn of_file(path: &Path, remarks: &[String]) {
    warn(&remarks.iter().map(|remark| format!("{}: {remark}", path.display())).collect::<Vec<_>>());
}

/// Reports how a file's rows were used, unless the output is JSON, and warns about content that was not used.
pub fn of_rows(report: &DataReport, json: bool) {
    Progress::new(0, !json && processes::is_first()).line(&report.to_string());
    of_file(&report.path, &report.remarks);
}
