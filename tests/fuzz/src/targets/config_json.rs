//! `config.json`: what is read is valid, and is read again from what is written.

use model::config::Config;

/// Reads a configuration and writes it.
pub fn fuzz(data: &[u8]) {
    let Ok(value) = serde_json::from_slice(data) else { return };
    if let Ok(config) = Config::from_json(&value) {
        config.validate().expect("what was read is valid");
        config.parameter_count();
        let _ = Config::from_json(&config.to_json());
    }
}

/// One of each family.
pub fn seeds() -> Vec<Vec<u8>> {
    let llama = r#"{"model_type":"llama","hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,"vocab_size":9,"max_position_embeddings":16,"rope_theta":10000.0,"rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8},"eos_token_id":[1,2]}"#;
    let gpt2 = r#"{"model_type":"gpt2","n_embd":8,"n_layer":1,"n_head":2,"vocab_size":9,"n_positions":4}"#;
    let neox = r#"{"model_type":"gpt_neox","hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":2,"vocab_size":9,"max_position_embeddings":16,"rope_parameters":{"rope_theta":10000,"partial_rotary_factor":0.5}}"#;
    let others = ["mistral", "qwen2", "qwen3"].map(|name| llama.replace("\"llama\"", &format!("{name:?}")));
    [llama, gpt2, neox].map(str::to_owned).into_iter().chain(others).map(String::into_bytes).collect()
}
