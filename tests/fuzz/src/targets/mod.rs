//! The readers, one file each.

pub mod adapter_config;
pub mod chat_template;
pub mod checkpoint;
pub mod config_json;
pub mod data_rows;
pub mod generation_config;
pub mod gguf;
pub mod index_json;
pub mod llama2c;
pub mod llama2c_tokenizer;
pub mod metrics;
pub mod parquet;
pub mod preferences;
pub mod reference_cache;
pub mod safetensors;
pub mod settings;
pub mod tokenizer_config;
pub mod tokenizer_json;
