//! peft's `adapter_config.json`.

use model::adapter::from_json;

/// Reads the settings.
pub fn fuzz(data: &[u8]) {
    let Ok(value) = serde_json::from_slice(data) else { return };
    let _ = from_json(&value);
}

/// Settings as peft writes them.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![
        br#"{"peft_type":"LORA","r":8,"lora_alpha":16,"target_modules":["q_proj"],"bias":"none","use_rslora":false,"rank_pattern":{}}"#
            .to_vec(),
    ]
}
