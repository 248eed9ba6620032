//! What was noticed in a file and not used, said once on standard error.

use crate::processes;
use crate::progress::Progress;
use model::data::DataReport;

/// Warns of each remark; of several processes the first one speaks.
pub fn warn(remarks: &[String]) {
    if processes::is_first() {
        let screen = Progress::new(0, false);
        remarks.iter().for_each(|remark| screen.warn(remark));
    }
}

/// Says what became of a file's rows, unless the output is JSON, and warns of what was not used.
pub fn of_rows(report: &DataReport, json: bool) {
    Progress::new(0, !json && processes::is_first()).line(&report.to_string());
    warn(&report.remarks.iter().map(|remark| format!("{}: {remark}", report.path.display())).collect::<Vec<_>>());
}
