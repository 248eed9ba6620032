//! The decoder and its surroundings: configurations, tokenizers, datasets, training and files.
//!
#![cfg_attr(any(doc, doctest), doc = include_str!("../README.md"))]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod adapter;
pub mod align;
pub mod atomic;
pub mod batch;
pub mod boundary;
pub mod chat_template;
pub mod checkpoint;
pub mod config;
pub mod convert;
pub mod data;
pub mod decoder;
pub mod diagnosis;
pub mod error;
pub mod evaluate;
pub mod files;
pub mod fingerprint;
pub mod foreign;
pub mod generate;
pub mod generation_config;
pub mod gguf;
pub mod gradcheck;
pub mod keys;
pub mod language;
pub mod memory;
pub mod model_folder;
pub mod optimizer;
pub mod order;
pub mod parallel;
pub mod preference;
pub mod prelude;
pub mod safetensors_file;
pub mod session;
pub mod study;
pub mod tokenizer;
pub mod train;
pub mod whole_folder;

#[cfg(test)]
mod test_data;

pub use error::{Error, Result};
