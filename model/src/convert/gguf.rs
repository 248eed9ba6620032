//! A GGUF file's model as a configuration and tensors in Hugging Face's names and layout.
//!
//! Undone on the way: llama.cpp's reordering of Llama's queries and keys (its "norm" RoPE turns components 2i and 2i + 1), the fused q, k
//! and v of GPT-2 and GPT-NeoX one after another, and Llama 3's frequency change, which GGUF holds as one factor for each frequency.

use super::meta::{reorder, split_fused};
use crate::config::{Architecture, Config, Llama3Scaling, MlpKind, PositionKind, RopeScaling};
use crate::decoder::layout;
use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};
use crate::safetensors_file::{NamedTensor, NamedTensors};
use std::path::Path;

const ARCHITECTURES: [(&str, Architecture); 5] = [
    ("llama", Architecture::Llama),
    ("qwen2", Architecture::Qwen2),
    ("qwen3", Architecture::Qwen3),
    ("gpt2", Architecture::Gpt2),
    ("gptneox", Architecture::GptNeoX),
];
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// The model of a file; `path` is its name for messages.
///
/// # Errors
/// [`Error::Unsupported`] for an architecture, an element type or a RoPE scaling that is not read, [`Error::BadFile`] where keys and
/// tensors make no model, [`Error::NonFinite`].
pub fn read(path: &Path, file: &Gguf) -> Result<(Config, NamedTensors)> {
    let keys = Keys::of(file).map_err(|error| error.at(path))?;
    let config = config(file, &keys).map_err(|error| error.at(path))?;
    let mut tensors = tensors(file)?;
    let in_file = |error: Error| Error::bad_file(path, error.to_string());
    split_fused(&config, &mut tensors).map_err(in_file)?;
    if config.tied_head {
        tensors.swap_remove("lm_head.weight");
    }
    let mut parameters = super::checked_parameters(&config, &mut tensors).map_err(in_file)?;
    if matches!(config.architecture, Architecture::Llama | Architecture::Mistral) {
        reorder(&config, &mut parameters);
    }
    Ok((config.clone(), layout::to_file(&config, parameters)))
}

/// The keys of the file's architecture.
struct Keys<'a> {
    file: &'a Gguf<'a>,
    name: &'a str,
    architecture: Architecture,
}

impl<'a> Keys<'a> {
    fn of(file: &'a Gguf<'a>) -> Result<Self> {
        let name = file.get("general.architecture").and_then(Value::text);
        let name = name.ok_or_else(|| Error::bad_config("general.architecture is missing"))?;
        let known = ARCHITECTURES.iter().find(|(known, _)| *known == name);
        let (_, architecture) =
            known.ok_or_else(|| unsupported(format!("the architecture {name:?}"), "llama, qwen2, qwen3, gpt2, gptneox"))?;
        Ok(Self { file, name, architecture: *architecture })
    }

    fn get(&self, key: &str) -> Option<&'a Value<'a>> {
        self.file.get(&format!("{}.{key}", self.name))
    }

    fn wrong(&self, key: &str, what: &str) -> Error {
        Error::bad_config(format!("{}.{key} {what}", self.name))
    }

    /// A size that is the same in every layer where the file lists it for each.
    fn size(&self, key: &str) -> Result<Option<usize>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let value = match value.array() {
            Some(array) => {
                let mut values = array.iter();
                let first = values.next().ok_or_else(|| self.wrong(key, "is an empty list"))?;
                if values.any(|other| other != first) {
                    return Err(unsupported(format!("{}.{key} that differs from layer to layer", self.name), "the same in every layer"));
                }
                first
            }
            None => *value,
        };
        let size = value.unsigned().and_then(|size| usize::try_from(size).ok());
        size.map(Some).ok_or_else(|| self.wrong(key, "must be a whole number"))
    }

    fn required(&self, key: &str) -> Result<usize> {
        self.size(key)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    fn number(&self, key: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.number().map(Some).ok_or_else(|| self.wrong(key, "must be a number"))
    }
}

fn unsupported(what: String, supported: &str) -> Error {
    Error::Unsupported { path: None, what, supported: supported.to_owned() }
}

fn config(file: &Gguf, keys: &Keys) -> Result<Config> {
    if keys.size("expert_count")?.unwrap_or(0) > 0 {
        return Err(unsupported("a mixture of experts".to_owned(), "models with one MLP a layer"));
    }
    let has = |name: &str| file.tensor(name).is_some();
    let rows = |name: &str| file.tensor(name).map(|info| info.shape[0]);
    let vocab_size = rows("token_embd.weight").ok_or_else(|| Error::bad_config("tensor token_embd.weight is missing"))?;
    let (hidden_size, heads) = (keys.required("embedding_length")?, keys.required("attention.head_count")?);
    let head_dim = match keys.size("attention.key_length")? {
        Some(length) => length,
        None if heads > 0 && hidden_size.is_multiple_of(heads) => hidden_size / heads,
        None => return Err(keys.wrong("embedding_length", "must be a multiple of the heads")),
    };
    let gpt = matches!(keys.architecture, Architecture::Gpt2 | Architecture::GptNeoX);
    let window = keys.size("attention.sliding_window")?.filter(|&window| window > 0 && keys.architecture == Architecture::Llama);
    let eps = keys.number(if gpt { "attention.layer_norm_epsilon" } else { "attention.layer_norm_rms_epsilon" })?;
    let known = |key: &str| file.get(key).and_then(Value::unsigned).filter(|&id| id < vocab_size as u64).map(|id| id as u32);
    let config = Config {
        architecture: if window.is_some() { Architecture::Mistral } else { keys.architecture },
        vocab_size,
        hidden_size,
        intermediate_size: keys.required("feed_forward_length")?,
        layers: keys.required("block_count")?,
        heads,
        kv_heads: keys.size("attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        max_positions: keys.required("context_length")?,
        norm_eps: short(eps.ok_or_else(|| keys.wrong("attention.layer_norm_*epsilon", "is missing"))?),
        position: position(file, keys, head_dim)?,
        mlp: match keys.architecture {
            Architecture::Gpt2 => MlpKind::Gelu { tanh: true },
            Architecture::GptNeoX => MlpKind::Gelu { tanh: false },
            _ => MlpKind::SwiGlu,
        },
        qkv_bias: gpt || has("blk.0.attn_q.bias"),
        attention_output_bias: gpt || has("blk.0.attn_output.bias"),
        mlp_bias: gpt || has("blk.0.ffn_up.bias"),
        qk_norm: keys.architecture == Architecture::Qwen3,
        parallel_residual: keys.get("use_parallel_residual").and_then(Value::flag).unwrap_or(keys.architecture == Architecture::GptNeoX),
        sliding_window: window,
        tied_head: head_is_embedding(file),
        bos: known("tokenizer.ggml.bos_token_id"),
        eos: ["eos", "eot", "eom"].iter().filter_map(|end| known(&format!("tokenizer.ggml.{end}_token_id"))).collect(),
    };
    config.validate()?;
    same_after_writing(&config)?;
    Ok(config)
}

/// An f32's shortest decimal, which is the number that was meant: 1e-5, not 9.999999747378752e-6.
fn short(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

/// Some files repeat a tied head; it is the embedding.
fn head_is_embedding(file: &Gguf) -> bool {
    let (Some(embedding), Some(head)) = (file.tensor("token_embd.weight"), file.tensor("output.weight")) else { return true };
    embedding.kind == head.kind && embedding.shape == head.shape && file.tensor_bytes(embedding) == file.tensor_bytes(head)
}

/// A model whose `config.json` would be another one (biases on q, k and v alone, say, in Llama) is refused.
fn same_after_writing(config: &Config) -> Result<()> {
    let again = Config::from_json(&config.to_json())?;
    let same = Config { eos: Vec::new(), ..again } == Config { eos: Vec::new(), ..config.clone() };
    if same { Ok(()) } else { Err(unsupported("this combination of biases and settings".to_owned(), "what Hugging Face's classes have")) }
}

fn position(file: &Gguf, keys: &Keys, head_dim: usize) -> Result<PositionKind> {
    if keys.architecture == Architecture::Gpt2 {
        return Ok(PositionKind::Learned);
    }
    let kind = keys.get("rope.scaling.type").and_then(Value::text).unwrap_or("none");
    let linear = keys.number("rope.scale_linear")?.unwrap_or(1.0);
    if kind != "none" || linear != 1.0 {
        let what = format!("the RoPE scaling {:?}", if kind == "none" { "linear" } else { kind });
        return Err(unsupported(what, "none, and Llama 3's"));
    }
    let theta = short(keys.number("rope.freq_base")?.unwrap_or(1e4));
    let rotary_dim = keys.size("rope.dimension_count")?.unwrap_or(head_dim);
    let scaling = match file.tensor(ROPE_FACTORS) {
        Some(info) => Some(RopeScaling::Llama3(llama3_scaling(&file.widen(ROPE_FACTORS, info)?, theta, rotary_dim)?)),
        None => None,
    };
    Ok(PositionKind::Rope { theta, rotary_dim, scaling })
}

/// The setting of Llama 3 that gives these factors. The files keep only the factors, so the settings that were published are tried:
/// low and high 1 and 4 and an original context of 8192, with the factor that the lowest frequency shows.
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
                // Written from f32 arithmetic: some units in the seventh digit.
                (expected - f64::from(found)).abs() <= 1e-5 * expected
            })
    };
    candidates.into_iter().find(fits).ok_or_else(|| unsupported(format!("the RoPE factors in {ROPE_FACTORS}"), "those of Llama 3"))
}

/// (part of llama.cpp's name inside a block, part of ours).
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

fn tensors(file: &Gguf) -> Result<NamedTensors> {
    let weights = file.tensors().filter(|(name, _)| *name != ROPE_FACTORS);
    weights.map(|(name, info)| Ok((our_name(name), NamedTensor::new(info.shape.clone(), file.widen(name, info)?)))).collect()
}
