//! Safetensors under Meta's names (`layers.0.attention.wq.weight`), as Llama was first published, and under minGPT's
//! (`h.0.attn.c_attn.weight`).
//!
//! A `config.json` (or `params.json`) beside the weights holds `dim`, `n_layers`, `n_heads`, `vocab_size` and, for Llama, `ffn_dim`,
//! `n_kv_heads`, `norm_eps`, `rope_theta`.
//!
//! Llama's queries and keys rotate components 2i and 2i + 1 together unless `rope_pairs` is "half". Hugging Face's rotate i and i +
//! head_dim/2, so the rows are reordered. minGPT's matrices are `[out, in]`, GPT-2's `[in, out]`.

use super::parameters::checked_parameters;
use super::rotary_pairs::rotate_half_rows;
use crate::config::{Architecture, Config, MlpKind, PositionKind};
use crate::decoder::layout;
use crate::error::{Error, Result};
use crate::keys::{Keys, Known, Neutral, unsupported};
use crate::safetensors_file::{self, NamedTensor, NamedTensors, SINGLE_FILE};
use serde_json::{Map, Value};
use std::path::Path;

/// The settings of these folders.
#[derive(Debug)]
struct Params {
    arch: String,
    dim: usize,
    n_layers: usize,
    n_heads: usize,
    n_kv_heads: Option<usize>,
    ffn_dim: Option<usize>,
    /// `None` if the tokenizer decides, as in Meta's own files.
    vocab_size: Option<usize>,
    max_seq_len: Option<usize>,
    norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_pairs: String,
    tied_output: Option<bool>,
    head_dim: Option<usize>,
    activation: String,
}

/// Keys that are known but not used.
const KNOWN: Known = Known {
    harmless: &[
        // The weights' shapes give the width of the MLP.
        "multiple_of",
        "ffn_dim_multiplier",
        // These keys say how Meta's program runs.
        "max_batch_size",
        "model_parallel_size",
        "model_name",
        "name",
        "description",
    ],
    neutral: &[
        ("use_scaled_rope", &[Neutral::Flag(false)]),
        ("sliding_window", &[]),
        ("quantization_args", &[Neutral::Empty]),
        ("lora_args", &[Neutral::Empty]),
        ("moe", &[Neutral::Empty]),
        ("moe_args", &[Neutral::Empty]),
        ("vision_*", &[]),
        ("rope_scaling_factor", &[Neutral::Number(1.0)]),
        ("rope_high_freq_factor", &[]),
        ("use_qk_norm", &[Neutral::Flag(false)]),
        ("qk_norm", &[Neutral::Flag(false)]),
    ],
};

fn read_keys(keys: &Keys) -> Result<Params> {
    keys.know(&KNOWN);
    let named = |key: &str, usual: &str| -> Result<String> { Ok(keys.text(key)?.unwrap_or(usual).to_owned()) };
    let arch = named("arch", "llama")?;
    check_descriptions(keys, &arch)?;
    let vocab_size = keys.typed("vocab_size", "a whole number or -1", Value::as_i64)?;
    Ok(Params {
        dim: keys.required_size("dim")?,
        n_layers: keys.required_size("n_layers")?,
        n_heads: keys.required_size("n_heads")?,
        n_kv_heads: keys.size("n_kv_heads")?,
        ffn_dim: either(keys, ["ffn_dim", "hidden_dim"])?,
        vocab_size: vocab_size.and_then(|size| size.try_into().ok()),
        max_seq_len: either(keys, ["max_seq_len", "seq_len"])?,
        norm_eps: keys.number("norm_eps")?,
        rope_theta: keys.number("rope_theta")?,
        rope_pairs: named("rope_pairs", "interleaved")?,
        tied_output: keys.flag("tied_output")?,
        head_dim: keys.size("head_dim")?,
        activation: if arch == "gpt2" { named("activation", "gelu_tanh")? } else { String::new() },
        arch,
    })
}

/// Reads a setting that has two names. The two values must not differ.
fn either(keys: &Keys, names: [&str; 2]) -> Result<Option<usize>> {
    match [keys.size(names[0])?, keys.size(names[1])?] {
        [Some(one), Some(other)] if one != other => {
            Err(Error::bad_config(format!("{} and {} say different things: leave one of them", names[0], names[1])))
        }
        [one, other] => Ok(one.or(other)),
    }
}

/// Checks descriptions of parts that the architecture fixes. Each must begin as expected.
fn check_descriptions(keys: &Keys, arch: &str) -> Result<()> {
    let gpt2 = arch == "gpt2";
    let expected = [
        ("norm", if gpt2 { "LayerNorm" } else { "RMSNorm" }),
        ("positions", if gpt2 { "learned" } else { "rotary" }),
        ("linear_layout", "[out,in]"),
    ];
    for (key, begin) in expected {
        if let Some(text) = keys.text(key)?.filter(|text| !text.starts_with(begin)) {
            return Err(unsupported(format!("{key} {text:?}"), begin));
        }
    }
    keys.refuse_flag("biases", !gpt2)
}

/// Finds the settings file in `folder`. A file of this kind has `dim` and `n_layers`.
pub fn params_file(folder: &Path) -> Option<std::path::PathBuf> {
    let of_kind = |path: &std::path::PathBuf| {
        let text = crate::files::read_text(path, crate::files::SETTINGS).unwrap_or_default();
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        value.get("dim").is_some() && value.get("n_layers").is_some()
    };
    ["config.json", "params.json"].map(|name| folder.join(name)).into_iter().find(of_kind)
}

/// Reads such a folder into Hugging Face's names and layout, with remarks on settings that were not used. Missing settings come from the
/// weights' shapes, or have Llama 2's value (RMSNorm ε 1e-5, RoPE's θ 1e4, 2048 positions).
///
/// # Errors
/// [`Error::Json`] and [`Error::BadConfig`] for the settings. [`Error::Unsupported`]. The errors of [`safetensors_file::read_folder`].
/// [`Error::MissingTensor`] or [`Error::ShapeMismatch`] if weights and settings disagree.
pub fn read(folder: &Path, params: &Path) -> Result<(Config, NamedTensors, Vec<String>)> {
    let text = crate::files::read(params, crate::files::SETTINGS)?;
    let map: Map<String, Value> = serde_json::from_slice(&text).map_err(Error::json(params))?;
    let settings = Keys::read(&map, read_keys).and_then(|(settings, account)| Ok((settings, account.remarks()?)));
    let (settings, remarks) = settings.map_err(|error| error.at(params))?;
    let remarks = remarks.into_iter().map(|remark| format!("{}: {remark}", params.display())).collect();
    let tensors = safetensors_file::read_folder(folder)?;
    let mut ours = NamedTensors::new();
    for (name, tensor) in tensors {
        layout::put(&mut ours, our_name(&name), tensor).map_err(|error| error.at(folder))?;
    }
    let config = config(&settings, &ours).map_err(|error| error.at(params))?;
    let checked = |ours: &mut NamedTensors| -> Result<NamedTensors> {
        split_fused(&config, ours)?;
        let mut parameters = checked_parameters(&config, ours)?;
        if config.architecture == Architecture::Llama && settings.rope_pairs == "interleaved" {
            reorder(&config, &mut parameters);
        }
        Ok(parameters)
    };
    let in_folder = |error: Error| Error::bad_file(folder.join(SINGLE_FILE), error.to_string());
    let parameters = checked(&mut ours).map_err(in_folder)?;
    Ok((config.clone(), layout::to_file(&config, parameters), remarks))
}

fn config(params: &Params, tensors: &NamedTensors) -> Result<Config> {
    if !["interleaved", "half"].contains(&params.rope_pairs.as_str()) {
        return Err(unsupported(format!("rope_pairs {:?}", params.rope_pairs), "interleaved, half"));
    }
    if params.n_heads == 0 || !params.dim.is_multiple_of(params.n_heads) {
        return Err(Error::bad_config(format!("dim ({}) must be a multiple of n_heads ({})", params.dim, params.n_heads)));
    }
    let rows = |name: &str| tensors.get(name).and_then(|tensor| tensor.shape.first()).copied();
    let head_dim = params.head_dim.unwrap_or(params.dim / params.n_heads);
    let vocab_size = params.vocab_size.or_else(|| rows("model.embed_tokens.weight"));
    let tied_head = params.tied_output.unwrap_or(!tensors.contains_key("lm_head.weight"));
    let base = Config {
        architecture: Architecture::Llama,
        vocab_size: vocab_size.ok_or_else(|| Error::bad_config("vocab_size is missing"))?,
        hidden_size: params.dim,
        intermediate_size: params.ffn_dim.or_else(|| rows("model.layers.0.mlp.up_proj.weight")).unwrap_or(4 * params.dim),
        layers: params.n_layers,
        heads: params.n_heads,
        kv_heads: params.n_kv_heads.unwrap_or(params.n_heads),
        head_dim,
        max_positions: params.max_seq_len.or_else(|| rows("model.embed_positions.weight")).unwrap_or(2048),
        norm_eps: params.norm_eps.unwrap_or(1e-5),
        position: PositionKind::Rope { theta: params.rope_theta.unwrap_or(1e4), rotary_dim: head_dim, scaling: None },
        mlp: MlpKind::SwiGlu,
        qkv_bias: false,
        attention_output_bias: false,
        mlp_bias: false,
        qk_norm: false,
        parallel_residual: false,
        sliding_window: None,
        tied_head,
        bos: None,
        eos: Vec::new(),
    };
    let config = match (params.arch.as_str(), params.activation.as_str()) {
        ("llama", _) => base,
        ("gpt2", "gelu_tanh" | "gelu") => Config {
            architecture: Architecture::Gpt2,
            position: PositionKind::Learned,
            mlp: MlpKind::Gelu { tanh: params.activation == "gelu_tanh" },
            qkv_bias: true,
            attention_output_bias: true,
            mlp_bias: true,
            ..base
        },
        ("gpt2", other) => return Err(unsupported(format!("activation {other:?}"), "gelu_tanh, gelu")),
        (other, _) => return Err(unsupported(format!("arch {other:?}"), "llama, gpt2")),
    };
    config.validate()?;
    Ok(config)
}

/// Pairs of (part of Meta's or minGPT's name, part of our name).
const PARTS: [(&str, &str); 18] = [
    ("attention.wq.", "self_attn.q_proj."),
    ("attention.wk.", "self_attn.k_proj."),
    ("attention.wv.", "self_attn.v_proj."),
    ("attention.wo.", "self_attn.o_proj."),
    ("attention_norm.", "input_layernorm."),
    ("ffn_norm.", "post_attention_layernorm."),
    ("feed_forward.w1.", "mlp.gate_proj."),
    ("feed_forward.w2.", "mlp.down_proj."),
    ("feed_forward.w3.", "mlp.up_proj."),
    ("attn.c_attn.", "self_attn.qkv."),
    ("attn.c_proj.", "self_attn.o_proj."),
    ("ln_1.", "input_layernorm."),
    ("ln_2.", "post_attention_layernorm."),
    ("mlp.c_fc.", "mlp.up_proj."),
    ("mlp.c_proj.", "mlp.down_proj."),
    ("attn.bias", "attn.bias"),
    ("attn.masked_bias", "attn.masked_bias"),
    ("attention.inner_attention.rope.freqs", "rotary_emb.inv_freq"),
];
const WHOLE: [(&str, &str); 9] = [
    ("tok_embeddings.weight", "model.embed_tokens.weight"),
    ("norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
    ("rope.freqs", "model.rotary_emb.inv_freq"),
    ("wte.weight", "model.embed_tokens.weight"),
    ("wpe.weight", "model.embed_positions.weight"),
    ("ln_f.weight", "model.norm.weight"),
    ("ln_f.bias", "model.norm.bias"),
    ("lm_head.weight", "lm_head.weight"),
];

fn our_name(theirs: &str) -> String {
    let theirs = theirs.strip_prefix("transformer.").unwrap_or(theirs);
    if let Some((_, ours)) = WHOLE.iter().find(|(name, _)| *name == theirs) {
        return (*ours).to_owned();
    }
    let inside = theirs.strip_prefix("layers.").or_else(|| theirs.strip_prefix("h."));
    let Some((layer, rest)) = inside.and_then(|rest| rest.split_once('.')) else { return theirs.to_owned() };
    let ours = PARTS.iter().find_map(|(theirs, ours)| rest.strip_prefix(theirs).map(|kind| format!("{ours}{kind}")));
    format!("model.layers.{layer}.{}", ours.unwrap_or_else(|| rest.to_owned()))
}

/// Splits `self_attn.qkv`, where q, k and v follow one another.
pub(super) fn split_fused(config: &Config, tensors: &mut NamedTensors) -> Result<()> {
    let heights = [config.query_size(), config.kv_size(), config.kv_size()];
    for layer in 0..config.layers {
        for kind in ["weight", "bias"] {
            let prefix = format!("model.layers.{layer}.self_attn.");
            let name = format!("{prefix}qkv.{kind}");
            let Some(NamedTensor { shape, data, .. }) = tensors.swap_remove(&name) else { continue };
            if shape.first() != Some(&heights.iter().sum()) {
                let expected = std::iter::once(heights.iter().sum()).chain(shape.iter().skip(1).copied()).collect();
                return Err(Error::ShapeMismatch { name, expected, found: shape });
            }
            let width: usize = shape[1..].iter().product();
            let mut rest = data.as_slice();
            for (part, height) in ["q_proj", "k_proj", "v_proj"].into_iter().zip(heights) {
                let (own, after) = rest.split_at(height * width);
                rest = after;
                let shape = std::iter::once(height).chain(shape[1..].iter().copied()).collect();
                tensors.insert(format!("{prefix}{part}.{kind}"), NamedTensor::new(shape, own.to_vec()));
            }
        }
    }
    Ok(())
}

/// Joins q, k and v as `self_attn.qkv`, one after another: the inverse of [`split_fused`].
pub(super) fn join_fused(config: &Config, parameters: &mut NamedTensors) {
    for layer in 0..config.layers {
        for kind in ["weight", "bias"] {
            let prefix = format!("model.layers.{layer}.self_attn.");
            let parts = ["q_proj", "k_proj", "v_proj"].map(|part| parameters.swap_remove(&format!("{prefix}{part}.{kind}")));
            let parts: Vec<NamedTensor> = parts.into_iter().flatten().collect();
            let Some(first) = parts.first() else { continue };
            let rows = parts.iter().map(|part| part.shape[0]).sum();
            let shape = std::iter::once(rows).chain(first.shape[1..].iter().copied()).collect();
            let data = parts.iter().flat_map(|part| part.data.iter().copied()).collect();
            parameters.insert(format!("{prefix}qkv.{kind}"), NamedTensor::new(shape, data));
        }
    }
}

/// Reorders the rows of queries and keys, weights and biases, for rotate-half.
pub(super) fn reorder(config: &Config, parameters: &mut NamedTensors) {
    for (name, tensor) in parameters {
        let heads = match name.rsplit('.').nth(1) {
            Some("q_proj") => config.heads,
            Some("k_proj") => config.kv_heads,
            _ => continue,
        };
        tensor.data = rotate_half_rows(&tensor.data, heads, tensor.shape[1..].iter().product());
    }
}
