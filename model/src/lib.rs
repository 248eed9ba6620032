//! The decoder and its surroundings: configurations, tokenizers, datasets, training and files.
//!
//! | module | what |
//! |---|---|
//! | [`config`] | one description of every supported architecture; Hugging Face `config.json` in and out; presets |
//! | [`decoder`] | the transformer, written once for every backend; key-value cache; layouts of the families' files |
//! | [`generate`] | greedy, temperature, top-k and top-p sampling of several sequences at once |
//! | [`session`], [`generation_config`] | a conversation that keeps its cache; what a folder says about sampling and stopping |
//! | [`chat_template`] | a conversation as the text its model was trained on |
//! | [`batch`], [`preference`] | what a step runs on: packed sequences, and pairs of them |
//! | [`align`] | a decoder held to a reference and moved by one of the losses: the step, its metrics, the reference's cache |
//! | [`optimizer`], [`train`], [`checkpoint`] | AdamW, SGD, schedule, clipping; the step; stopping and going on |
//! | [`parallel`] | the same step on several processes, each with a share of the batch |
//! | [`diagnosis`] | which op made a step not finite |
//! | [`tokenizer`], [`boundary`] | byte-level or `tokenizer.json`; exact tokenisation of a prompt and its completion |
//! | [`data`] | text, completions and preference pairs, each with a report of what was kept and what was dropped |
//! | [`evaluate`] | how well a decoder predicts text, completions and preference pairs |
//! | [`gradcheck`] | the whole decoder as something whose gradient can be checked |
//! | [`language`] | a small generated language whose distribution and reward are known in closed form |
//! | [`model_folder`], [`safetensors_file`], [`convert`] | a folder as Hugging Face lays it out; other formats into such a folder |
//! | [`adapter`] | LoRA adapters as peft keeps them |
//! | [`gguf`], [`half_precision`] | GGUF files; the 16-bit types of weight files |
//! | [`keys`] | the keys of configurations, each read, known or named |
//! | [`fingerprint`] | data as a short text that other data do not have |
//! | [`foreign`] | other projects' decoders, whose panics are errors |
//! | [`files`], [`atomic`] | files that are read as a whole, within bounds; files that are either wholly written or not there |
//! | [`whole_folder`] | a folder with a model that is either wholly there or not |
//! | [`memory`] | how much there is |
#![forbid(unsafe_code)]

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
pub mod half_precision;
pub mod keys;
pub mod language;
pub mod memory;
pub mod model_folder;
pub mod optimizer;
pub mod order;
pub mod parallel;
pub mod preference;
pub mod safetensors_file;
pub mod session;
pub mod tokenizer;
pub mod train;
pub mod whole_folder;

#[cfg(test)]
mod test_data;

pub use error::{Error, Result};
