//! What is said of a check, on the terminal and on the page.

use engine::gradcheck::{Check, Report};

/// The largest part of what is allowed that an error is.
pub fn of_allowed(check: &Check) -> f64 {
    check.max_rel_error / check.tolerance
}

/// What a person needs to find the bug: each failed check with a command that shows it again.
pub fn failures(report: &Report) -> String {
    let mut text = String::new();
    for check in report.checks.iter().filter(|check| !check.passed) {
        text += &format!("{check}\n");
        if let Some(seed) = check.worst.as_ref().and_then(|worst| worst.seed) {
            text += &format!("  again: slpo gradcheck {} --seed {seed} --samples 1\n", check.name);
        }
    }
    text
}
