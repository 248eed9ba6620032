//! The Llama family: Llama, Mistral, Qwen2, Qwen3.

use super::{known, rope};
use crate::config::{Architecture, Config, MlpKind, PositionKind};
use crate::error::{Error, Result};
use crate::keys::{Keys, Known, object, shown, unsupported};
use serde_json::{Map, Value, json};

pub fn read(architecture: Architecture, keys: &Keys) -> Result<Config> {
    keys.know(known_keys(architecture));
    check_activation(keys)?;
    let hidden_size = keys.required_size("hidden_size")?;
    let heads = keys.required_size("num_attention_heads")?;
    let layers = keys.required_size("num_hidden_layers")?;
    let head_dim = head_dim(architecture, keys, hidden_size, heads)?;
    let (qkv_bias, attention_output_bias) = match architecture {
        Architecture::Qwen2 => (true, false),
        Architecture::Mistral => (false, false),
        _ => {
            let bias = keys.flag("attention_bias")?.unwrap_or(false);
            (bias, bias)
        }
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
        position: rope::read(keys, architecture, head_dim)?,
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

fn known_keys(architecture: Architecture) -> &'static Known {
    match architecture {
        Architecture::Mistral => &known::MISTRAL,
        Architecture::Qwen2 => &known::QWEN2,
        Architecture::Qwen3 => &known::QWEN3,
        _ => &known::LLAMA,
    }
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

/// Reads the number of key heads. If it is missing, transformers uses a constant (8 or 32) in every family but Llama. The constant is no
/// property of the weights, so the key must be present. `null` means one key head for each query head.
fn kv_heads(architecture: Architecture, keys: &Keys, heads: usize) -> Result<usize> {
    let key = "num_key_value_heads";
    if architecture != Architecture::Llama && !keys.mentions(key) {
        return Err(Error::bad_config(format!("{key} is missing")));
    }
    Ok(keys.size(key)?.unwrap_or(heads))
}

/// Reads the window of every layer. `layer_types`, if present, must agree with it.
fn sliding_window(architecture: Architecture, keys: &Keys, layers: usize) -> Result<Option<usize>> {
    let window = match architecture {
        // transformers' class for Llama has no window. The key, if present, is named in the remark about unknown keys.
        Architecture::Llama => return Ok(None),
        Architecture::Mistral if !keys.mentions("sliding_window") => Some(4096),
        Architecture::Mistral => keys.size("sliding_window")?,
        _ => return qwen_window(keys, layers),
    };
    let kind = if window.is_some() { "sliding_attention" } else { "full_attention" };
    match keys.typed("layer_types", "a list", Value::as_array)?.and_then(|types| types.iter().find(|found| *found != kind)) {
        Some(other) => Err(unsupported(format!("layer_types with {}", shown(other)), &format!("{kind} in every layer"))),
        None => Ok(window),
    }
}

/// Applies Qwen's rule: the window holds in layers from `max_window_layers` on, unless `layer_types` lists them.
fn qwen_window(keys: &Keys, layers: usize) -> Result<Option<usize>> {
    let window = keys.size("sliding_window")?;
    let used = keys.flag("use_sliding_window")?.unwrap_or(false);
    let first = keys.size("max_window_layers")?.unwrap_or(28);
    let with_window = match keys.typed("layer_types", "a list", Value::as_array)? {
        Some(types) => types_with_window(types, layers)?,
        None if used && window.is_some() => layers.saturating_sub(first),
        None => 0,
    };
    match with_window {
        0 => Ok(None),
        all if all == layers && used => Ok(window),
        all if all == layers => Err(unsupported("layer_types with a window, use_sliding_window false", "the same in both")),
        some => Err(unsupported(format!("a sliding_window in {some} of {layers} layers"), "the same window in every layer, or none")),
    }
}

fn types_with_window(types: &[Value], layers: usize) -> Result<usize> {
    if types.len() != layers {
        return Err(Error::bad_config(format!("layer_types has {} entries for {layers} layers", types.len())));
    }
    let is_known = |kind: &Value| ["full_attention", "sliding_attention"].iter().any(|known| kind == known);
    match types.iter().find(|kind| !is_known(kind)) {
        Some(other) => Err(unsupported(format!("layer_types with {}", shown(other)), "full_attention, sliding_attention")),
        None => Ok(types.iter().filter(|kind| **kind == "sliding_attention").count()),
    }
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
            // No class of transformers computes this: the reader refuses it.
            map.insert("partial_rotary_factor".to_owned(), json!(rotary_dim as f64 / config.head_dim as f64));
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
