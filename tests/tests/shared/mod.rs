//! The shared data that does not ship: where it is, and reading its JSON.
#![allow(dead_code)]

use serde_json::Value;
use std::path::{Path, PathBuf};

/// The models of random weights in `data/tiny-random`, one of each architecture.
pub const ARCHITECTURES: [&str; 7] = [
    "gpt2",
    "gptneox-parallel-partial-rotary",
    "llama-gqa-untied",
    "llama3-rope-scaling",
    "mistral-sliding-window",
    "qwen2-qkv-bias",
    "qwen3-qk-norm",
];

/// A file or folder of the shared data, or `None` with a line that says so.
pub fn shared(relative: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SLPO_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let path = root.join(relative);
    if !path.exists() {
        println!("skipped: {} is not here", path.display());
        return None;
    }
    Some(path)
}

/// A JSON file.
pub fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The numbers of an array; null counts as NaN.
pub fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
}

/// Token ids.
pub fn tokens(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect()
}
