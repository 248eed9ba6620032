//! Safetensors under Meta's names (`layers.0.attention.wq.weight`), as Llama was first published, and under minGPT's (`h.0.attn.c_attn.weight`).
//!
//! Beside the weights lies a `config.json` (or `params.json`) with `dim`, `n_layers`, `n_heads`, `vocab_size` and, for Llama, `ffn_dim`,
//! `n_kv_heads`, `norm_eps`, `rope_theta`. Llama's queries and keys turn components 2i and 2i + 1 together unless `rope_pairs` is "half";
//! Hugging Face's turn i and i + head_dim/2, so their rows are reordered. minGPT's matrices are `[out, in]`, GPT-2's `[in, out]`.

use super::rotary_pairs::rotate_half_rows;
use crate::config::{Architecture, Config, MlpKind, PositionKind};
use crate::decoder::layout;
use crate::error::{Error, Result};
use crate::safetensors_file::{self, NamedTensor, NamedTensors, SINGLE_FILE};
use serde::Deserialize;
use std::path::Path;

/// The settings that these folders have.
#[derive(Debug, Deserialize)]
struct Params {
    #[serde(default = "llama")]
    arch: String,
    dim: usize,
    n_layers: usize,
    n_heads: usize,
    n_kv_heads: Option<usize>,
    #[serde(alias = "hidden_dim")]
    ffn_dim: Option<usize>,
    /// −1 where the tokenizer decides, as Meta has it.
    vocab_size: Option<i64>,
    #[serde(alias = "seq_len")]
    max_seq_len: Option<usize>,
    norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    #[serde(default = "interleaved")]
    rope_pairs: String,
    tied_output: Option<bool>,
    head_dim: Option<usize>,
    sliding_window: Option<usize>,
    use_scaled_rope: Option<bool>,
    #[serde(default = "gelu_tanh")]
    activation: String,
}

fn llama() -> String {
    "llama".to_owned()
}
fn interleaved() -> String {
    "interleaved".to_owned()
}
fn gelu_tanh() -> String {
    "gelu_tanh".to_owned()
}

/// The file of settings in `folder`, where it is of this kind: it has `dim` and `n_layers`.
pub fn params_file(folder: &Path) -> Option<std::path::PathBuf> {
    let of_kind = |path: &std::path::PathBuf| {
        let text = crate::files::read_text(path, crate::files::SETTINGS).unwrap_or_default();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        value.get("dim").is_some() && value.get("n_layers").is_some()
    };
    ["config.json", "params.json"].map(|name| folder.join(name)).into_iter().find(of_kind)
}

/// Reads such a folder into Hugging Face's names and layout. What the settings leave out is taken from the weights' shapes, or has Llama 2's
/// value (RMSNorm ε 1e-5, RoPE's θ 1e4, 2048 positions).
///
/// # Errors
/// [`Error::Json`] and [`Error::BadConfig`] for the settings, [`Error::Unsupported`], those of [`safetensors_file::read_folder`], and
/// [`Error::MissingTensor`] or [`Error::ShapeMismatch`] where weights and settings disagree.
pub fn read(folder: &Path, params: &Path) -> Result<(Config, NamedTensors)> {
    let text = crate::files::read(params, crate::files::SETTINGS)?;
    let settings: Params = serde_json::from_slice(&text).map_err(Error::json(params))?;
    let tensors = safetensors_file::read_folder(folder)?;
    let mut ours: NamedTensors = tensors.into_iter().map(|(name, tensor)| (our_name(&name), tensor)).collect();
    let config = config(&settings, &ours).map_err(|error| error.at(params))?;
    let checked = |ours: &mut NamedTensors| -> Result<NamedTensors> {
        split_fused(&config, ours)?;
        let mut parameters = super::checked_parameters(&config, ours)?;
        if config.architecture == Architecture::Llama && settings.rope_pairs == "interleaved" {
            reorder(&config, &mut parameters);
        }
        Ok(parameters)
    };
    let in_folder = |error: Error| Error::bad_file(folder.join(SINGLE_FILE), error.to_string());
    let parameters = checked(&mut ours).map_err(in_folder)?;
    Ok((config.clone(), layout::to_file(&config, parameters)))
}

fn config(params: &Params, tensors: &NamedTensors) -> Result<Config> {
    let unsupported = |what: String, supported: &str| Error::Unsupported { path: None, what, supported: supported.to_owned() };
    if !["interleaved", "half"].contains(&params.rope_pairs.as_str()) {
        return Err(unsupported(format!("rope_pairs {:?}", params.rope_pairs), "interleaved, half"));
    }
    if params.n_heads == 0 || !params.dim.is_multiple_of(params.n_heads) {
        return Err(Error::bad_config(format!("dim ({}) must be a multiple of n_heads ({})", params.dim, params.n_heads)));
    }
    if params.use_scaled_rope == Some(true) || params.sliding_window.is_some() {
        let what = if params.sliding_window.is_some() { "sliding_window" } else { "use_scaled_rope" };
        return Err(unsupported(format!("{what} under Meta's names"), "the same model in Hugging Face's layout"));
    }
    let rows = |name: &str| tensors.get(name).and_then(|tensor| tensor.shape.first()).copied();
    let head_dim = params.head_dim.unwrap_or(params.dim / params.n_heads);
    let vocab_size = params.vocab_size.and_then(|size| size.try_into().ok()).or_else(|| rows("model.embed_tokens.weight"));
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

/// (part of Meta's or minGPT's name, part of ours).
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

/// q, k and v stand one after another in `self_attn.qkv`.
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

/// Reorders queries and keys, weights and biases, for rotate-half.
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
