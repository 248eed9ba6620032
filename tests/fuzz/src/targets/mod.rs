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

use model::data::parquet::THREAD;
use std::panic::{set_hook, take_hook};
use std::path::Path;
use std::sync::Once;

/// Runs a reader of folders in a temporary one that the process keeps.
fn in_folder(target: &str, read: impl FnOnce(&Path)) {
    let folder = std::env::temp_dir().join(format!("slpo-fuzz-{target}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    read(&folder);
}

/// Keeps a panic of another project's decoder from ending the process (libfuzzer's hook would): its caller makes an error of it.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = take_hook();
        set_hook(Box::new(move |panic| {
            if !model::foreign::is_contained() && std::thread::current().name() != Some(THREAD) {
                hook(panic);
            }
        }));
    });
}
