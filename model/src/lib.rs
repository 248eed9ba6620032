//! The decoder's surroundings: configurations, tokenizers, datasets and files.
//!
//! | module | what |
//! |---|---|
//! | [`config`] | one description of every supported architecture; Hugging Face `config.json` in and out; presets |
//! | [`tokenizer`] | byte-level or `tokenizer.json`; streaming decode |
//! | [`boundary`] | exact tokenisation of a prompt and its completion |
//! | [`data`] | text, completions and preference pairs, each with a report of what was kept and what was dropped |
//! | [`evaluate`] | how well a decoder predicts text, completions and preference pairs |
//! | [`safetensors_file`] | tensors in and out of `.safetensors` |
//! | [`model_folder`] | a folder as Hugging Face lays it out |
//! | [`convert`] | other formats into such a folder |
//! | [`atomic`] | files that are either wholly written or not there |
#![forbid(unsafe_code)]

pub mod atomic;
pub mod batch;
pub mod boundary;
pub mod config;
pub mod convert;
pub mod data;
pub mod decoder;
pub mod error;
pub mod evaluate;
pub mod generate;
pub mod language;
pub mod model_folder;
pub mod optimizer;
pub mod safetensors_file;
pub mod tokenizer;

#[cfg(test)]
mod test_data;

pub use error::{Error, Result};
