//! GPT-2 and GPT-NeoX.

use super::{known, rope};
use crate::config::{Architecture, Config, MlpKind, PositionKind};
use crate::error::{Error, Result};
use crate::keys::{Keys, object, unsupported};
use serde_json::{Map, Value, json};

pub fn gpt2(keys: &Keys) -> Result<Config> {
    keys.know(&known::GPT2);
    keys.refuse_flag("scale_attn_weights", false)?;
    keys.refuse_flag("scale_attn_by_inverse_layer_idx", true)?;
    let hidden_size = keys.required_size("n_embd")?;
    let heads = keys.required_size("n_head")?;
    let inner = keys.size("n_inner")?;
    keys.refuse_other_than("num_key_value_heads", heads as f64)?;
    Ok(Config {
        architecture: Architecture::Gpt2,
        vocab_size: keys.required_size("vocab_size")?,
        hidden_size,
        intermediate_size: inner.unwrap_or(hidden_size.saturating_mul(4)),
        layers: keys.required_size("n_layer")?,
        heads,
        kv_heads: heads,
        head_dim: head_dim(("n_embd", hidden_size), ("n_head", heads))?,
        max_positions: keys.required_size("n_positions")?,
        norm_eps: keys.number("layer_norm_epsilon")?.unwrap_or(1e-5),
        position: PositionKind::Learned,
        mlp: activation(keys, "activation_function", "gelu_new")?,
        qkv_bias: true,
        attention_output_bias: true,
        mlp_bias: true,
        qk_norm: false,
        parallel_residual: false,
        sliding_window: None,
        tied_head: keys.flag("tie_word_embeddings")?.unwrap_or(true),
        bos: None,
        eos: Vec::new(),
    })
}

pub fn gpt_neox(keys: &Keys) -> Result<Config> {
    keys.know(&known::GPT_NEOX);
    let hidden_size = keys.required_size("hidden_size")?;
    let heads = keys.required_size("num_attention_heads")?;
    let head_dim = head_dim(("hidden_size", hidden_size), ("num_attention_heads", heads))?;
    keys.refuse_other_than("head_dim", head_dim as f64)?;
    keys.refuse_other_than("num_key_value_heads", heads as f64)?;
    let attention_bias = keys.flag("attention_bias")?.unwrap_or(true);
    Ok(Config {
        architecture: Architecture::GptNeoX,
        vocab_size: keys.required_size("vocab_size")?,
        hidden_size,
        intermediate_size: keys.required_size("intermediate_size")?,
        layers: keys.required_size("num_hidden_layers")?,
        heads,
        kv_heads: heads,
        head_dim,
        max_positions: keys.required_size("max_position_embeddings")?,
        norm_eps: keys.number("layer_norm_eps")?.unwrap_or(1e-5),
        position: rope::read(keys, Architecture::GptNeoX, head_dim)?,
        mlp: activation(keys, "hidden_act", "gelu")?,
        qkv_bias: attention_bias,
        attention_output_bias: attention_bias,
        mlp_bias: true,
        qk_norm: false,
        parallel_residual: keys.flag("use_parallel_residual")?.unwrap_or(true),
        sliding_window: None,
        tied_head: keys.flag("tie_word_embeddings")?.unwrap_or(false),
        bos: None,
        eos: Vec::new(),
    })
}

fn head_dim((width_key, width): (&str, usize), (heads_key, heads): (&str, usize)) -> Result<usize> {
    if heads == 0 || !width.is_multiple_of(heads) {
        let reason = format!("{width_key} ({width}) must be a multiple of {heads_key} ({heads})");
        return Err(Error::bad_config(reason));
    }
    Ok(width / heads)
}

fn activation(keys: &Keys, key: &str, default: &str) -> Result<MlpKind> {
    match keys.text(key)?.unwrap_or(default) {
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(MlpKind::Gelu { tanh: true }),
        "gelu" | "gelu_python" => Ok(MlpKind::Gelu { tanh: false }),
        other => Err(unsupported(format!("{key} {other:?}"), "gelu, gelu_new, gelu_pytorch_tanh, gelu_fast")),
    }
}

fn activation_name(mlp: MlpKind) -> &'static str {
    match mlp {
        MlpKind::Gelu { tanh: true } => "gelu_new",
        MlpKind::Gelu { tanh: false } => "gelu",
        MlpKind::SwiGlu => "silu",
    }
}

pub fn write_gpt2(config: &Config) -> Map<String, Value> {
    object(json!({
        "n_embd": config.hidden_size,
        "n_inner": config.intermediate_size,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_positions": config.max_positions,
        "n_ctx": config.max_positions,
        "layer_norm_epsilon": config.norm_eps,
        "activation_function": activation_name(config.mlp),
    }))
}

pub fn write_gpt_neox(config: &Config) -> Map<String, Value> {
    let mut map = object(json!({
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "max_position_embeddings": config.max_positions,
        "layer_norm_eps": config.norm_eps,
        "hidden_act": activation_name(config.mlp),
        "use_parallel_residual": config.parallel_residual,
        "attention_bias": config.qkv_bias,
    }));
    if let PositionKind::Rope { theta, rotary_dim, scaling } = config.position {
        map.insert("rotary_emb_base".to_owned(), json!(theta));
        map.insert("rotary_pct".to_owned(), json!(rotary_dim as f64 / config.head_dim as f64));
        map.insert("rope_scaling".to_owned(), rope::write_scaling(scaling));
    }
    map
}
