//! The texts about a check, for the terminal and for the page.

use engine::gradcheck::{Check, Report};

/// Returns the largest error relative to the allowed error.
pub fn of_allowed(check: &Check) -> f64 {
    check.max_rel_error / check.tolerance
}

/// Lists what a person needs to find the bug: each failed check, with a command that repeats it.
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
