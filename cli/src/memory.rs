//! Whether a run can fit into memory, asked before it starts: what it needs at the least, and what the system gives.

use crate::failure::Failure;
use model::config::{Config, MlpKind};
use std::fs;

/// Bytes of a number in training.
const FLOAT: f64 = 4.0;

/// Refuses a run that needs more memory than there is. `tokens` go through the decoder at once; their activations are kept for the backward
/// pass unless they are `recomputed`; a `reference` is a second set of weights. What is counted is what no run can do without, so a run that
/// is let through can still be too large, but none that fits is refused. A GPU says so itself.
///
/// # Errors
/// [`Failure::Failed`] with both numbers and what makes the run smaller.
pub fn check(config: &Config, tokens: usize, recomputed: bool, reference: bool) -> Result<(), Failure> {
    if crate::device::current().kind() == "cuda" {
        return Ok(());
    }
    let (needed, Some(available)) = (least(config, tokens, recomputed, reference), available()) else { return Ok(()) };
    if needed <= available {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "not enough memory: this run needs at least {} (weights, gradients, two moments{}{}) and {} can be had; \
         take a smaller model or batch (with --accumulate for the same step), or --checkpoint-activations where there is that flag",
        size(needed),
        if reference { ", the reference" } else { "" },
        if recomputed || tokens == 0 { "" } else { ", activations" },
        size(available)
    )))
}

/// Bytes that a run needs at the least.
fn least(config: &Config, tokens: usize, recomputed: bool, reference: bool) -> f64 {
    let copies = if reference { 5.0 } else { 4.0 };
    let Config { hidden_size, intermediate_size, layers, .. } = *config;
    // What each block saves for a token: its two inputs, the two normalised ones, queries, keys, values, and the feed-forward part.
    let block = 4 * hidden_size + config.query_size() + 2 * config.kv_size() + 2 * intermediate_size;
    let kept = if recomputed { hidden_size } else { block };
    FLOAT * (copies * parameters(config) + (tokens * layers * kept) as f64)
}

/// The numbers in a decoder's matrices; vectors do not count against them.
fn parameters(config: &Config) -> f64 {
    let Config { hidden_size, intermediate_size, vocab_size, .. } = *config;
    let attention = 2 * hidden_size * (config.query_size() + config.kv_size());
    let matrices = if config.mlp == MlpKind::SwiGlu { 3 } else { 2 };
    let block = attention + matrices * hidden_size * intermediate_size;
    let embeddings = if config.tied_head { 1 } else { 2 };
    (config.layers * block + embeddings * vocab_size * hidden_size) as f64
}

/// Bytes that this process may still take: the smallest of what the machine has free, its container's limit and its own (`ulimit -v`).
/// `None` where the system does not say.
fn available() -> Option<f64> {
    [free(), container(), address_space()].into_iter().flatten().reduce(f64::min)
}

fn free() -> Option<f64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse::<f64>().ok();
    Some(1024.0 * (field("MemAvailable:")? + field("SwapFree:").unwrap_or(0.0)))
}

fn container() -> Option<f64> {
    fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?.trim().parse().ok()
}

fn address_space() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find_map(|line| line.strip_prefix("Max address space"))?.split_whitespace().next()?.parse().ok()
}

fn size(bytes: f64) -> String {
    let mebibytes = bytes / (1 << 20) as f64;
    if mebibytes < 1024.0 { format!("{mebibytes:.0} MiB") } else { format!("{:.1} GiB", mebibytes / 1024.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_below_what_is_known_to_be_used_and_a_run_past_all_memory_is_refused() {
        let nano = Config::preset("nano").unwrap();
        // nano's parameters, counted by hand: 4·(4·64² + 3·64·192) + 512·64 in matrices.
        assert_eq!(parameters(&nano), (4 * (4 * 64 * 64 + 3 * 64 * 192) + 512 * 64) as f64);
        check(&nano, 1024, false, true).unwrap();
        let huge = Config { layers: 1_000_000, ..nano };
        let message = check(&huge, 1 << 20, false, false).unwrap_err().to_string();
        assert!(message.starts_with("not enough memory: this run needs at least "), "{message}");
    }
}
