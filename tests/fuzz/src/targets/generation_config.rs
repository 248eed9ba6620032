//! `generation_config.json`.

use super::in_folder;
use model::generation_config::{FILE, GenerationConfig};

/// Reads the settings.
pub fn fuzz(data: &[u8]) {
    in_folder("generation_config", |folder| {
        std::fs::write(folder.join(FILE), data).expect("a temporary folder can be written");
        if let Ok(GenerationConfig { sampling: Some(sampling), .. }) = GenerationConfig::read(folder) {
            sampling.validate().expect("what was read is valid");
        }
    });
}

/// Settings as transformers writes them.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![br#"{"bos_token_id":1,"eos_token_id":[2,3],"do_sample":true,"temperature":0.6,"top_k":20,"top_p":0.95,"transformers_version":"5.0"}"#.to_vec()]
}
