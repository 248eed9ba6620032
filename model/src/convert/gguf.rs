//! A GGUF file's model as a configuration and tensors in Hugging Face's names and layout.
//!
//! The reader undoes three changes of llama.cpp:
//!
//! - the reordering of Llama's queries and keys (its "norm" RoPE rotates components 2i and 2i + 1 together),
//! - the fused q, k and v of GPT-2 and GPT-NeoX, which follow one another,
//! - Llama 3's frequency change, which GGUF holds as one factor for each frequency.

use super::gguf_keys;
use super::meta::{reorder, split_fused};
use super::parameters::checked_parameters;
use super::rotary_pairs::rotate_half_rows;
use crate::config::{Architecture, Config, Llama3Scaling, MlpKind, PositionKind, RopeScaling};
use crate::decoder::layout;
use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};
use crate::keys::{Keys, unsupported};
use crate::safetensors_file::{NamedTensor, NamedTensors, StoredMatrix, StoredWeights};
use engine::backend::cpu::stored::{Numbers, Q8Block};
use serde_json::Value as Json;
use std::path::Path;

const ARCHITECTURES: [(&str, Architecture); 5] = [
    ("llama", Architecture::Llama),
    ("qwen2", Architecture::Qwen2),
    ("qwen3", Architecture::Qwen3),
    ("gpt2", Architecture::Gpt2),
    ("gptneox", Architecture::GptNeoX),
];
/// The tensor of Llama 3's frequency change.
pub const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Reads the model of a file, with remarks on keys that were not used. `path` is its name for messages.
///
/// # Errors
/// [`Error::Unsupported`] for an architecture, an element type or a setting that is not supported. [`Error::BadFile`] if keys and tensors
/// do not make a model. [`Error::NonFinite`].
pub fn read(path: &Path, file: &Gguf) -> Result<(Config, NamedTensors, Vec<String>)> {
    let (config, remarks) = config_of(path, file)?;
    let tensors = tensors_in_files_layout(path, file, &config)?;
    Ok((config, tensors, remarks))
}

fn tensors_in_files_layout(path: &Path, file: &Gguf, config: &Config) -> Result<NamedTensors> {
    let mut tensors = tensors(file)?;
    let in_file = |error: Error| Error::bad_file(path, error.to_string());
    split_fused(config, &mut tensors).map_err(in_file)?;
    if config.tied_head {
        // The head has the same bytes as the embedding: see `head_is_embedding`.
        tensors.swap_remove("lm_head.weight");
    }
    let mut parameters = checked_parameters(config, &mut tensors).map_err(in_file)?;
    if matches!(config.architecture, Architecture::Llama | Architecture::Mistral) {
        reorder(config, &mut parameters);
    }
    Ok(layout::to_file(config, parameters))
}

/// As [`read`], for a model that is read and not trained: matrices in Q8_0, f16 and bfloat16 stay so, where the decoder has them as they
/// are. The names are the decoder's. [`Decoder::from_stored`](crate::decoder::Decoder::from_stored) checks that nothing is missing.
///
/// # Errors
/// As [`read`].
pub fn read_as_stored(path: &Path, file: &Gguf) -> Result<(Config, StoredWeights, Vec<String>)> {
    let (config, remarks) = config_of(path, file)?;
    if !layout::is_the_decoders_own(&config) {
        let tensors = tensors_in_files_layout(path, file, &config)?;
        return Ok((config, StoredWeights { tensors, ..StoredWeights::default() }, remarks));
    }
    let mut weights = StoredWeights::default();
    for (name, info) in file.tensors().filter(|(name, _)| *name != ROPE_FACTORS) {
        let ours = our_name(name);
        let is_reordered = matches!(config.architecture, Architecture::Llama | Architecture::Mistral);
        let heads = if is_reordered { heads_to_reorder(&config, &ours, &info.shape).map_err(|error| error.at(path))? } else { None };
        if weights.contains(&ours) {
            return Err(Error::bad_file(path, format!("two tensors are {ours}, under different names")));
        }
        match (info.shape.as_slice(), file.stored(name, info)?) {
            (&[rows, columns], Some(numbers)) => {
                let numbers = match heads {
                    Some(heads) => in_rotated_order(&numbers, heads, columns),
                    None => numbers,
                };
                weights.matrices.insert(ours, StoredMatrix { shape: [rows, columns], numbers });
            }
            _ => {
                let mut tensor = NamedTensor::new(info.shape.clone(), file.widen(name, info)?);
                if let Some(heads) = heads {
                    tensor.data = rotate_half_rows(&tensor.data, heads, tensor.shape[1..].iter().product());
                }
                weights.tensors.insert(ours, tensor);
            }
        }
    }
    if config.tied_head {
        // The head has the same bytes as the embedding: see `head_is_embedding`.
        weights.remove("lm_head.weight");
    }
    Ok((config, weights, remarks))
}

/// Returns the heads of a tensor of queries or keys, whose rows are to be reordered.
///
/// # Errors
/// [`Error::ShapeMismatch`] for another number of rows than the configuration asks for.
fn heads_to_reorder(config: &Config, name: &str, shape: &[usize]) -> Result<Option<usize>> {
    let (heads, rows) = match name.rsplit('.').nth(1) {
        Some("q_proj") => (config.heads, config.query_size()),
        Some("k_proj") => (config.kv_heads, config.kv_size()),
        _ => return Ok(None),
    };
    if shape.first() != Some(&rows) {
        let expected = std::iter::once(rows).chain(shape.iter().skip(1).copied()).collect();
        return Err(Error::ShapeMismatch { name: name.to_owned(), expected, found: shape.to_vec() });
    }
    Ok(Some(heads))
}

/// Reorders rows of `columns` numbers as [`rotate_half_rows`] does.
fn in_rotated_order(numbers: &Numbers, heads: usize, columns: usize) -> Numbers {
    match numbers {
        Numbers::Bf16(numbers) => Numbers::Bf16(rotate_half_rows(numbers, heads, columns)),
        Numbers::F16(numbers) => Numbers::F16(rotate_half_rows(numbers, heads, columns)),
        Numbers::Q8(blocks) => Numbers::Q8(rotate_half_rows(blocks, heads, columns / Q8Block::NUMBERS)),
    }
}

/// Reads the configuration. Also returns remarks on keys that were not used, which name the file.
fn config_of(path: &Path, file: &Gguf) -> Result<(Config, Vec<String>)> {
    let (config, remarks) = config(file).map_err(|error| error.at(path))?;
    Ok((config, remarks.into_iter().map(|remark| format!("{}: {remark}", path.display())).collect()))
}

fn config(file: &Gguf) -> Result<(Config, Vec<String>)> {
    let name = file.get("general.architecture").and_then(Value::text);
    let name = name.ok_or_else(|| Error::bad_config("general.architecture is missing"))?;
    let known = ARCHITECTURES.iter().find(|(known, _)| *known == name);
    let &(_, architecture) =
        known.ok_or_else(|| unsupported(format!("the architecture {name:?}"), "llama, qwen2, qwen3, gpt2, gptneox"))?;
    let prefix = format!("{name}.");
    let others = gguf_keys::others(file, &[&prefix, "tokenizer."]);
    let (_, mut account) = Keys::read(&others, |keys| {
        keys.know(&gguf_keys::GENERAL);
        keys.text("general.architecture")
    })?;
    let own = gguf_keys::beginning_with(file, &prefix);
    let (config, of_own) = Keys::read_within(&own, prefix, |keys| read_keys(file, keys, architecture))?;
    account.unknown.extend(of_own.unknown);
    account.unsupported.extend(of_own.unsupported);
    let remarks = account.remarks()?;
    config.validate()?;
    same_after_writing(&config)?;
    Ok((config, remarks))
}

/// Reads a size. If the file lists it for each layer, it must be the same in all layers.
fn size(keys: &Keys, key: &str) -> Result<Option<usize>> {
    let value = match keys.value(key) {
        None => return Ok(None),
        Some(Json::Array(list)) => {
            let first = list.first().ok_or_else(|| Error::bad_config(format!("{} is an empty list", keys.name(key))))?;
            if list.iter().any(|other| other != first) {
                return Err(unsupported(format!("{} that differs from layer to layer", keys.name(key)), "the same in every layer"));
            }
            first
        }
        Some(value) => value,
    };
    let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
    size.map(Some).ok_or_else(|| Error::bad_config(format!("{} must be a whole number", keys.name(key))))
}

fn required(keys: &Keys, key: &str) -> Result<usize> {
    size(keys, key)?.ok_or_else(|| keys.missing(key))
}

fn read_keys(file: &Gguf, keys: &Keys, architecture: Architecture) -> Result<Config> {
    keys.know(&gguf_keys::ARCHITECTURE);
    if size(keys, "expert_count")?.unwrap_or(0) > 0 {
        return Err(unsupported("a mixture of experts", "models with one MLP a layer"));
    }
    let has = |name: &str| file.tensor(name).is_some();
    let vocab_size = vocab_size(file, keys)?;
    let (hidden_size, heads) = (required(keys, "embedding_length")?, required(keys, "attention.head_count")?);
    let head_dim = head_dim(keys, hidden_size, heads)?;
    let gpt = matches!(architecture, Architecture::Gpt2 | Architecture::GptNeoX);
    // Only Llama's files have a window. For other architectures a window other than 0 is refused, like every key that is not read.
    let window =
        if architecture == Architecture::Llama { size(keys, "attention.sliding_window")?.filter(|&window| window > 0) } else { None };
    let eps = keys.number(if gpt { "attention.layer_norm_epsilon" } else { "attention.layer_norm_rms_epsilon" })?;
    let known = |key: &str| file.get(key).and_then(Value::unsigned).filter(|&id| id < vocab_size as u64).map(|id| id as u32);
    let neox = architecture == Architecture::GptNeoX;
    Ok(Config {
        architecture: if window.is_some() { Architecture::Mistral } else { architecture },
        vocab_size,
        hidden_size,
        intermediate_size: required(keys, "feed_forward_length")?,
        layers: required(keys, "block_count")?,
        heads,
        kv_heads: size(keys, "attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        max_positions: required(keys, "context_length")?,
        norm_eps: short(eps.ok_or_else(|| keys.missing("attention.layer_norm_*epsilon"))?),
        position: position(file, keys, architecture, head_dim)?,
        mlp: match architecture {
            Architecture::Gpt2 => MlpKind::Gelu { tanh: true },
            Architecture::GptNeoX => MlpKind::Gelu { tanh: false },
            _ => MlpKind::SwiGlu,
        },
        qkv_bias: gpt || has("blk.0.attn_q.bias"),
        attention_output_bias: gpt || has("blk.0.attn_output.bias"),
        mlp_bias: gpt || has("blk.0.ffn_up.bias"),
        qk_norm: architecture == Architecture::Qwen3,
        parallel_residual: if neox { keys.flag("use_parallel_residual")?.unwrap_or(true) } else { false },
        sliding_window: window,
        tied_head: head_is_embedding(file)?,
        bos: known("tokenizer.ggml.bos_token_id"),
        eos: ["eos", "eot", "eom"].iter().filter_map(|end| known(&format!("tokenizer.ggml.{end}_token_id"))).collect(),
    })
}

/// Returns the number of rows of the embedding. The key must not contradict it.
fn vocab_size(file: &Gguf, keys: &Keys) -> Result<usize> {
    let embedding = file.tensor("token_embd.weight").ok_or_else(|| Error::bad_config("tensor token_embd.weight is missing"))?;
    let rows = embedding.shape[0];
    match size(keys, "vocab_size")? {
        Some(size) if size != rows => {
            Err(Error::bad_config(format!("{} is {size}, and token_embd.weight has {rows} rows", keys.name("vocab_size"))))
        }
        _ => Ok(rows),
    }
}

/// Returns the width of a head's query, key and value. Refuses a file whose attention scale is not one over the root of this width.
fn head_dim(keys: &Keys, hidden_size: usize, heads: usize) -> Result<usize> {
    let head_dim = match size(keys, "attention.key_length")? {
        Some(length) => length,
        None if heads > 0 && hidden_size.is_multiple_of(heads) => hidden_size / heads,
        None => return Err(Error::bad_config(format!("{} must be a multiple of the heads", keys.name("embedding_length")))),
    };
    match size(keys, "attention.value_length")? {
        Some(length) if length != head_dim => {
            let what = format!("{} {length}", keys.name("attention.value_length"));
            return Err(unsupported(what, &format!("{head_dim}, as the keys have")));
        }
        _ => {}
    }
    let usual = 1.0 / (head_dim as f64).sqrt();
    match keys.number("attention.scale")? {
        Some(scale) if scale != 0.0 && (scale - usual).abs() > 1e-6 * usual => {
            Err(unsupported(format!("{} {scale}", keys.name("attention.scale")), "one over the root of a head's width"))
        }
        _ => Ok(head_dim),
    }
}

/// Returns the shortest decimal of an f32, which is the number that was meant: 1e-5, not 9.999999747378752e-6.
fn short(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

/// True if the head is the embedding. Some files repeat a tied head.
fn head_is_embedding(file: &Gguf) -> Result<bool> {
    let (Some(embedding), Some(head)) = (file.tensor("token_embd.weight"), file.tensor("output.weight")) else { return Ok(true) };
    Ok(embedding.kind == head.kind && embedding.shape == head.shape && file.have_same_bytes(embedding, head)?)
}

/// Refuses a model that a `config.json` cannot express, such as a Llama with biases on q, k and v alone.
fn same_after_writing(config: &Config) -> Result<()> {
    let again = Config::from_json(&config.to_json())?;
    let same = Config { eos: Vec::new(), ..again } == Config { eos: Vec::new(), ..config.clone() };
    if same { Ok(()) } else { Err(unsupported("this combination of biases and settings", "what Hugging Face's classes have")) }
}

fn position(file: &Gguf, keys: &Keys, architecture: Architecture, head_dim: usize) -> Result<PositionKind> {
    if architecture == Architecture::Gpt2 {
        return Ok(PositionKind::Learned);
    }
    let theta = short(keys.number("rope.freq_base")?.unwrap_or(1e4));
    let rotary_dim = size(keys, "rope.dimension_count")?.unwrap_or(head_dim);
    let scaling = match (linear_scaling(keys)?, file.tensor(ROPE_FACTORS)) {
        (linear, None) => linear,
        (None, Some(info)) => Some(RopeScaling::Llama3(llama3_scaling(&file.widen(ROPE_FACTORS, info)?, theta, rotary_dim)?)),
        (Some(_), Some(_)) => return Err(unsupported(format!("a linear RoPE scaling beside {ROPE_FACTORS}"), "one of the two")),
    };
    Ok(PositionKind::Rope { theta, rotary_dim, scaling })
}

/// Applies llama.cpp's rule: a factor without a type is linear scaling, a factor of 0 is none, and the type "none" switches it off.
fn linear_scaling(keys: &Keys) -> Result<Option<RopeScaling>> {
    let factors = [keys.number("rope.scaling.factor")?, keys.number("rope.scale_linear")?];
    let factor = short(factors.into_iter().flatten().next().unwrap_or(1.0));
    match keys.text("rope.scaling.type")? {
        Some("none") => Ok(None),
        None | Some("linear") => Ok((factor != 0.0 && factor != 1.0).then_some(RopeScaling::Linear { factor })),
        Some(other) => {
            Err(unsupported(format!("{}: the RoPE scaling {other:?}", keys.name("rope.scaling.type")), "none, linear, and Llama 3's"))
        }
    }
}

/// Finds the setting of Llama 3 that gives these factors. A file keeps only the factors, so published settings are tried. Low and high are
/// 1 and 4. The factor is the largest one in the file. The original context is 8192 or a smaller power of two.
fn llama3_scaling(factors: &[f32], theta: f64, rotary_dim: usize) -> Result<Llama3Scaling> {
    let factor = factors.iter().fold(1f32, |a, &b| a.max(b));
    let candidates = [8192, 4096, 2048, 1024, 512, 256, 128, 64].map(|original_max_positions| Llama3Scaling {
        factor: short(f64::from(factor)),
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_positions,
    });
    let fits = |scaling: &Llama3Scaling| {
        factors.len() == rotary_dim / 2
            && factors.iter().enumerate().all(|(i, &found)| {
                let frequency = theta.powf(-2.0 * i as f64 / rotary_dim as f64);
                let expected = frequency / scaling.scale(frequency);
                // The factors come from f32 arithmetic, so they differ by some units in the seventh digit.
                (expected - f64::from(found)).abs() <= 1e-5 * expected
            })
    };
    candidates.into_iter().find(fits).ok_or_else(|| unsupported(format!("the RoPE factors in {ROPE_FACTORS}"), "those of Llama 3"))
}

/// Pairs of (part of llama.cpp's name inside a block, part of our name).
const PARTS: [(&str, &str); 12] = [
    ("attn_norm.", "input_layernorm."),
    ("ffn_norm.", "post_attention_layernorm."),
    ("attn_qkv.", "self_attn.qkv."),
    ("attn_q.", "self_attn.q_proj."),
    ("attn_k.", "self_attn.k_proj."),
    ("attn_v.", "self_attn.v_proj."),
    ("attn_output.", "self_attn.o_proj."),
    ("attn_q_norm.", "self_attn.q_norm."),
    ("attn_k_norm.", "self_attn.k_norm."),
    ("ffn_gate.", "mlp.gate_proj."),
    ("ffn_up.", "mlp.up_proj."),
    ("ffn_down.", "mlp.down_proj."),
];
const WHOLE: [(&str, &str); 5] = [
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("position_embd.weight", "model.embed_positions.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output_norm.bias", "model.norm.bias"),
    ("output.weight", "lm_head.weight"),
];

fn our_name(theirs: &str) -> String {
    if let Some((_, ours)) = WHOLE.iter().find(|(name, _)| *name == theirs) {
        return (*ours).to_owned();
    }
    let Some((layer, rest)) = theirs.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) else { return theirs.to_owned() };
    let ours = PARTS.iter().find_map(|(theirs, ours)| rest.strip_prefix(theirs).map(|kind| format!("{ours}{kind}")));
    format!("model.layers.{layer}.{}", ours.unwrap_or_else(|| rest.to_owned()))
}

/// Returns llama.cpp's name of a parameter.
pub fn their_name(ours: &str) -> String {
    if let Some((theirs, _)) = WHOLE.iter().find(|(_, name)| *name == ours) {
        return (*theirs).to_owned();
    }
    let Some((layer, rest)) = ours.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')) else { return ours.to_owned() };
    let theirs = PARTS.iter().find_map(|(theirs, ours)| rest.strip_prefix(ours).map(|kind| format!("{theirs}{kind}")));
    format!("blk.{layer}.{}", theirs.unwrap_or_else(|| rest.to_owned()))
}

fn tensors(file: &Gguf) -> Result<NamedTensors> {
    let mut tensors = NamedTensors::new();
    for (name, info) in file.tensors().filter(|(name, _)| *name != ROPE_FACTORS) {
        layout::put(&mut tensors, our_name(name), NamedTensor::new(info.shape.clone(), file.widen(name, info)?))?;
    }
    Ok(tensors)
}
