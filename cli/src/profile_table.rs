//! The profile of a step as a table: its time and bytes by op.

use engine::profile::{Line, Pass};
use std::fmt::Write;

/// Formats one line for each op and pass, the costliest first.
pub fn table(lines: &[Line]) -> String {
    let total: f64 = lines.iter().map(|line| line.seconds).sum();
    let mut text = format!("{:<10} {:<24} {:>6} {:>9} {:>6} {:>10}\n", "pass", "op", "calls", "ms", "share", "MiB made");
    for line in lines {
        let pass = match line.pass {
            Pass::Forward => "forward",
            Pass::Backward => "backward",
            Pass::Update => "update",
        };
        let (share, mib) = (100.0 * line.seconds / total, line.bytes as f64 / f64::from(1 << 20));
        let _ = writeln!(text, "{pass:<10} {:<24} {:>6} {:>9.3} {share:>5.1}% {mib:>10.2}", line.name, line.calls, 1e3 * line.seconds);
    }
    let _ = writeln!(text, "{:<10} {:<24} {:>6} {:>9.3}", "", "all", "", 1e3 * total);
    text
}
