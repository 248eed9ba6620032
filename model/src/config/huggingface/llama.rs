//! The Llama family: Llama, Mistral, Qwen2, Qwen3.

use super::keys::{Keys, unsupported};
use super::{object, rope};
use crate::config::{Architecture, Config, MlpKind, PositionKind};
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};

pub fn read(architecture: Architecture, keys: &Keys) -> Result<Config> {
    check_activation(keys)?;
    let hidden_size = keys.required_size("hidden_size")?;
    let heads = keys.required_size("num_attention_heads")?;
    let layers = keys.required_size("num_hidden_layers")?;
    let head_dim = head_dim(architecture, keys, hidden_size, heads)?;
    let attention_bias = keys.flag("attention_bias")?.unwrap_or(false);
    let (qkv_bias, attention_output_bias) = match architecture {
        Architecture::Qwen2 => (true, false),
        Architecture::Mistral => (false, false),
        _ => (attention_bias, attention_bias),
    };
    Ok(Config {
        architecture,
        vocab_size: keys.required_size("vocab_size")?,
        hidden_size,
        intermediate_size: keys.required_size("intermediate_size")?,
        layers,
        heads,
        kv_heads: kv_heads(architecture, keys, heads)?,
        head_dim,
        max_positions: keys.required_size("max_position_embeddings")?,
        norm_eps: keys.number("rms_norm_eps")?.unwrap_or(1e-6),
        position: rope::read(keys, head_dim, ("rope_theta", "partial_rotary_factor"), 1.0)?,
        mlp: MlpKind::SwiGlu,
        qkv_bias,
        attention_output_bias,
        mlp_bias: architecture == Architecture::Llama && keys.flag("mlp_bias")?.unwrap_or(false),
        qk_norm: architecture == Architecture::Qwen3,
        parallel_residual: false,
        sliding_window: sliding_window(architecture, keys, layers)?,
        tied_head: keys.flag("tie_word_embeddings")?.unwrap_or(false),
        bos: None,
        eos: Vec::new(),
    })
}

fn check_activation(keys: &Keys) -> Result<()> {
    match keys.text("hidden_act")? {
        None | Some("silu" | "swish") => Ok(()),
        Some(other) => Err(unsupported(format!("hidden_act {other:?}"), "silu")),
    }
}

fn head_dim(architecture: Architecture, keys: &Keys, hidden_size: usize, heads: usize) -> Result<usize> {
    if let Some(head_dim) = keys.size("head_dim")? {
        return Ok(head_dim);
    }
    if architecture == Architecture::Qwen3 && !keys.mentions("head_dim") {
        return Ok(128);
    }
    if heads == 0 || !hidden_size.is_multiple_of(heads) {
        let reason = format!("hidden_size ({hidden_size}) must be a multiple of num_attention_heads ({heads}) where head_dim is not given");
        return Err(Error::bad_config(reason));
    }
    Ok(hidden_size / heads)
}

/// transformers fills a missing number of key heads with a constant in every family but Llama (8 or 32). That is no
/// property of the weights, so the key must be there; `null` means one for each query head.
fn kv_heads(architecture: Architecture, keys: &Keys, heads: usize) -> Result<usize> {
    let key = "num_key_value_heads";
    if architecture != Architecture::Llama && !keys.mentions(key) {
        return Err(Error::bad_config(format!("{key} is missing")));
    }
    Ok(keys.size(key)?.unwrap_or(heads))
}

fn sliding_window(architecture: Architecture, keys: &Keys, layers: usize) -> Result<Option<usize>> {
    let window = keys.size("sliding_window")?;
    match architecture {
        Architecture::Llama => Ok(None),
        Architecture::Mistral if !keys.mentions("sliding_window") => Ok(Some(4096)),
        Architecture::Mistral => Ok(window),
        _ if !keys.flag("use_sliding_window")?.unwrap_or(false) => Ok(None),
        _ => match layers_with_window(keys, layers)? {
            0 => Ok(None),
            all if all == layers => Ok(window),
            some => Err(unsupported(format!("a sliding_window in {some} of {layers} layers"), "the same window in every layer, or none")),
        },
    }
}

/// Qwen's rule: the window holds in layers from `max_window_layers` on, unless `layer_types` lists them.
fn layers_with_window(keys: &Keys, layers: usize) -> Result<usize> {
    if let Some(types) = keys.0.get("layer_types").and_then(Value::as_array) {
        return Ok(types.iter().filter(|kind| *kind == "sliding_attention").count());
    }
    Ok(layers.saturating_sub(keys.size("max_window_layers")?.unwrap_or(28)))
}

pub fn write(config: &Config) -> Map<String, Value> {
    let mut map = object(json!({
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_positions,
        "rms_norm_eps": config.norm_eps,
        "hidden_act": "silu",
    }));
    if let PositionKind::Rope { theta, scaling, rotary_dim } = config.position {
        map.insert("rope_theta".to_owned(), json!(theta));
        map.insert("rope_scaling".to_owned(), rope::write_scaling(scaling));
        if rotary_dim != config.head_dim {
            let fraction = rotary_dim as f64 / config.head_dim as f64;
            map.insert("partial_rotary_factor".to_owned(), json!(fraction));
        }
    }
    let of_family = match config.architecture {
        Architecture::Llama => json!({
            "attention_bias": config.qkv_bias,
            "mlp_bias": config.mlp_bias,
        }),
        Architecture::Mistral => json!({ "sliding_window": config.sliding_window }),
        Architecture::Qwen2 => window_json(config),
        _ => {
            map.insert("attention_bias".to_owned(), json!(config.qkv_bias));
            window_json(config)
        }
    };
    map.extend(object(of_family));
    map
}

fn window_json(config: &Config) -> Value {
    json!({
        "use_sliding_window": config.sliding_window.is_some(),
        "sliding_window": config.sliding_window,
        "max_window_layers": if config.sliding_window.is_some() { 0 } else { config.layers },
    })
}
