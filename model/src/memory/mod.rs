//! The memory that this process may use.

mod control_groups;

use std::fs;

/// Returns the bytes that this process may still take, or `None` if the system does not say. The result is the smallest of three numbers:
///
/// - what the machine has free
/// - what its container leaves it
/// - its own limit (`ulimit -v`)
pub fn available() -> Option<f64> {
    [free(), control_groups::left(), address_space()].into_iter().flatten().reduce(f64::min)
}

fn free() -> Option<f64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse::<f64>().ok();
    Some(1024.0 * (field("MemAvailable:")? + field("SwapFree:").unwrap_or(0.0)))
}

/// Returns the bytes of addresses that this process may use (`ulimit -v`); `None` without a limit.
pub fn address_space() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find_map(|line| line.strip_prefix("Max address space"))?.split_whitespace().next()?.parse().ok()
}

/// Writes bytes in words: `12 bytes`, `12 KiB`, `16 MiB`, `1.5 GiB`.
pub fn size(bytes: f64) -> String {
    let kibibytes = bytes / 1024.0;
    match kibibytes {
        ..1.0 => format!("{bytes:.0} bytes"),
        ..1024.0 => format!("{kibibytes:.0} KiB"),
        ..1_048_576.0 => format!("{:.0} MiB", kibibytes / 1024.0),
        _ => format!("{:.1} GiB", kibibytes / 1_048_576.0),
    }
}
