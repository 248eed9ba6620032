//! The readers, one file each.

pub mod adapter_config;
pub mod config_json;
pub mod gguf;
pub mod index_json;
pub mod llama2c;
pub mod llama2c_tokenizer;
pub mod safetensors;
pub mod tokenizer_json;
pub mod checkpoint;
pub mod settings;
pub mod metrics;
pub mod preferences;
pub mod reference_cache;
