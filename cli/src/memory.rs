//! Refuses a run that cannot fit into memory before it starts: compares the least memory that it needs with the memory available.

use crate::failure::Failure;
use model::config::{Config, MlpKind};
use model::memory::{available, size};
use std::path::Path;

/// Bytes per number in training.
const FLOAT: f64 = 4.0;

/// Refuses a run that needs more memory than is available. `tokens` go through the decoder at once, and their activations are kept for the
/// backward pass unless they are `recomputed`.
///
/// Only memory that every run needs is counted. A run that fits is therefore never refused, and an accepted run can still be too large. A
/// GPU reports its own lack of memory.
///
/// # Errors
/// [`Failure::Failed`] with both numbers and advice for a smaller run.
pub fn check(config: &Config, tokens: usize, recomputed: bool) -> Result<(), Failure> {
    let activations = if recomputed { "" } else { ", activations" };
    refuse_too_large(&Need {
        bytes: least(config, 4, tokens, recomputed),
        of_what: format!("weights, gradients, two moments{activations}"),
        advice: "take a smaller model or batch (with --accumulate for the same step), or --checkpoint-activations",
    })
}

/// Refuses to fine-tune the model in a folder if that needs more memory than is available: for the weights, a `reference` copy of them,
/// and, unless only an `adapter` is trained, gradients and two moments.
///
/// Must be called before the model is read, while its memory still counts as free. A folder that cannot be read passes, because its reader
/// refuses it.
///
/// # Errors
/// As [`check`].
pub fn check_fine_tuning(model: &Path, adapter: bool, reference: bool) -> Result<(), Failure> {
    let Ok(config) = Config::read(&model.join("config.json")) else { return Ok(()) };
    refuse_too_large(&fine_tuning(&config, adapter, reference))
}

/// The least memory of a run, and advice for a smaller one.
struct Need {
    bytes: f64,
    of_what: String,
    advice: &'static str,
}

fn fine_tuning(config: &Config, adapter: bool, reference: bool) -> Need {
    let (trained, copies, advice) = match adapter {
        true => ("weights", 1, "take a smaller model"),
        false => ("weights, gradients, two moments", 4, "take a smaller model, or train an adapter (--lora-rank)"),
    };
    let (also, copies) = if reference { (", the reference", copies + 1) } else { ("", copies) };
    Need { bytes: least(config, copies, 0, true), of_what: format!("{trained}{also}"), advice }
}

fn refuse_too_large(need: &Need) -> Result<(), Failure> {
    if crate::device::current().kind() == "cuda" {
        return Ok(());
    }
    match available() {
        Some(available) if need.bytes > available => Err(refusal(need, available)),
        _ => Ok(()),
    }
}

fn refusal(need: &Need, available: f64) -> Failure {
    let Need { bytes, of_what, advice } = need;
    let (needed, available) = (size(*bytes), size(available));
    Failure::Failed(format!("not enough memory: this run needs at least {needed} ({of_what}) and {available} can be had; {advice}"))
}

/// Computes the least number of bytes of a run that holds this many copies of the weights.
fn least(config: &Config, copies: u32, tokens: usize, recomputed: bool) -> f64 {
    let Config { hidden_size, intermediate_size, layers, .. } = *config;
    // Each block saves for a token: its two inputs, the two normalised inputs, queries, keys, values, and the feed-forward part.
    let block = 4 * hidden_size + config.query_size() + 2 * config.kv_size() + 2 * intermediate_size;
    let kept = if recomputed { hidden_size } else { block };
    FLOAT * (f64::from(copies) * parameters(config) + (tokens * layers * kept) as f64)
}

/// Counts the elements of a decoder's matrices. Its vectors are negligible.
fn parameters(config: &Config) -> f64 {
    let Config { hidden_size, intermediate_size, vocab_size, .. } = *config;
    let attention = 2 * hidden_size * (config.query_size() + config.kv_size());
    let matrices = if config.mlp == MlpKind::SwiGlu { 3 } else { 2 };
    let block = attention + matrices * hidden_size * intermediate_size;
    let embeddings = if config.tied_head { 1 } else { 2 };
    (config.layers * block + embeddings * vocab_size * hidden_size) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_below_what_is_known_to_be_used_and_a_run_past_all_memory_is_refused() {
        let nano = Config::preset("nano").unwrap();
        // nano's parameters, counted by hand: 4·(4·64² + 3·64·192) + 512·64 in matrices.
        assert_eq!(parameters(&nano), (4 * (4 * 64 * 64 + 3 * 64 * 192) + 512 * 64) as f64);
        check(&nano, 1024, false).unwrap();
        let huge = Config { layers: 1_000_000, ..nano };
        let message = check(&huge, 1 << 20, false).unwrap_err().to_string();
        assert!(message.starts_with("not enough memory: this run needs at least "), "{message}");
    }

    #[test]
    fn an_adapter_needs_the_weights_and_no_gradient_of_them() {
        let nano = Config::preset("nano").unwrap();
        let weights = FLOAT * parameters(&nano);
        for (adapter, reference, copies) in [(true, false, 1.0), (true, true, 2.0), (false, false, 4.0), (false, true, 5.0)] {
            let need = fine_tuning(&nano, adapter, reference);
            assert_eq!(need.bytes, copies * weights);
            let message = refusal(&need, weights).to_string();
            assert_eq!((message.contains("--lora-rank"), message.contains("the reference")), (!adapter, reference), "{message}");
        }
    }

    #[test]
    fn fine_tuning_past_all_memory_is_refused_by_the_configuration_alone() {
        let folder = tempfile::tempdir().unwrap();
        check_fine_tuning(folder.path(), false, false).unwrap();
        let gpt2s = Config::preset("gpt2s").unwrap();
        let huge = Config { layers: 300, intermediate_size: 1 << 24, ..gpt2s };
        huge.write(&folder.path().join("config.json")).unwrap();
        let message = check_fine_tuning(folder.path(), true, false).unwrap_err().to_string();
        assert!(message.starts_with("not enough memory: this run needs at least "), "{message}");
    }
}
