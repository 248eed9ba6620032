//! One function for each reader of files: it takes any bytes and must return, never panic, and never allocate far more than it was given.
//!
//! The functions are run by cargo-fuzz (`fuzz_targets/`, nightly) and by `mutate` (stable): see README.md. A target is one file in
//! `targets/` with `fuzz` and `seeds`, a line in [`TARGETS`], and a line in `fuzz_targets/`.

pub mod targets;

// Readers of the command line, which is no library: their own sources.
#[path = "../../../cli/src/arguments/mod.rs"]
#[allow(dead_code, unused_imports)]
mod arguments;
mod failure;
#[path = "../../../cli/src/run_folder/record.rs"]
mod record;

/// A reader under test.
pub struct Target {
    /// The name on the command line.
    pub name: &'static str,
    /// Gives the reader some bytes.
    pub fuzz: fn(&[u8]),
    /// Well-formed files to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        /// Every reader.
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), fuzz: targets::$name::fuzz, seeds: targets::$name::seeds }),*];
    };
}

targets![
    safetensors,
    gguf,
    llama2c,
    llama2c_tokenizer,
    config_json,
    generation_config,
    tokenizer_json,
    tokenizer_config,
    chat_template,
    index_json,
    adapter_config,
    data_rows,
    parquet,
    checkpoint,
    settings,
    metrics,
    preferences,
    reference_cache,
];
