//! A model's folder as one GGUF file, with its tokenizer: the way back of [`gguf`](super::gguf).
//!
//! Matrices have the wanted type; vectors stay in f32, as llama.cpp writes them. Its three changes are made: the components of Llama's
//! queries and keys are paired as 2i and 2i + 1, the q, k and v of GPT-2 and GPT-NeoX follow one another in one matrix, and Llama 3's
//! frequency change is one factor for each frequency.

use super::gguf::their_name;
use super::gguf_vocabulary;
use super::meta::join_fused;
use super::rotary_pairs::neighbour_rows;
use crate::atomic::atomic_write_with;
use crate::config::{Architecture, Config, PositionKind, RopeScaling};
use crate::decoder::layout;
use crate::error::{Error, Result};
use crate::gguf::writer::{Stored, Writer};
use crate::model_folder::ModelFolder;
use std::path::Path;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Parameters.
    pub parameters: u64,
    /// Tensors.
    pub tensors: usize,
    /// A sentence about each thing that another reader may miss.
    pub remarks: Vec<String>,
}

/// Writes a model's folder to a file.
///
/// # Errors
/// The errors of the folder and of the file. [`Error::BadConfig`] for a size that does not fit into a key.
pub fn write(folder: &Path, file: &Path, stored: Stored) -> Result<Written> {
    let ModelFolder { config, tensors, tokenizer, mut remarks } = ModelFolder::open(folder)?;
    let name = folder.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned());
    let (mut writer, about_it) = gguf_vocabulary::write(keys(&config, &name, stored)?, &tokenizer, &config)?;
    remarks.extend(about_it);
    let mut parameters = layout::from_file(&config, tensors)?;
    if is_gpt(&config) {
        join_fused(&config, &mut parameters);
    }
    let mut written = Written { parameters: 0, tensors: parameters.len(), remarks };
    let is_llama = architecture(&config) == "llama";
    let mut narrow = 0;
    for (name, tensor) in &parameters {
        let row = tensor.shape.last().copied().unwrap_or(1);
        let kind = match stored {
            _ if tensor.shape.len() < 2 => Stored::F32,
            stored if stored.takes(row) => stored,
            _ => {
                narrow += 1;
                Stored::F16
            }
        };
        let heads = if name.contains("self_attn.q_proj.") {
            Some(config.heads)
        } else {
            name.contains("self_attn.k_proj.").then_some(config.kv_heads)
        };
        let data = match heads.filter(|_| is_llama) {
            Some(heads) => neighbour_rows(&tensor.data, heads, if tensor.shape.len() < 2 { 1 } else { row }),
            None => tensor.data.to_vec(),
        };
        written.parameters += data.len() as u64;
        writer = writer.tensor_in(kind, &their_name(name), &tensor.shape, &data);
    }
    if narrow > 0 {
        written.remarks.push(format!("{narrow} matrices whose rows are no multiple of 32 are written in f16"));
    }
    if let Some(window) = config.sliding_window.filter(|&window| window < config.max_positions) {
        written
            .remarks
            .push(format!("its window of {window} tokens is in the file, and other readers ignore it: longer texts differ there"));
    }
    if let Some(factors) = frequency_factors(&config) {
        writer = writer.tensor_in(Stored::F32, super::gguf::ROPE_FACTORS, &[factors.len()], &factors);
    }
    atomic_write_with(file, |to| writer.write(to))?;
    Ok(written)
}

/// llama.cpp's name of the architecture.
fn architecture(config: &Config) -> &'static str {
    match config.architecture {
        Architecture::Llama | Architecture::Mistral => "llama",
        Architecture::Qwen2 => "qwen2",
        Architecture::Qwen3 => "qwen3",
        Architecture::Gpt2 => "gpt2",
        Architecture::GptNeoX => "gptneox",
    }
}

fn is_gpt(config: &Config) -> bool {
    matches!(config.architecture, Architecture::Gpt2 | Architecture::GptNeoX)
}

fn keys(config: &Config, name: &str, stored: Stored) -> Result<Writer> {
    let own = architecture(config);
    let size = |size: usize| u32::try_from(size).map_err(|_| Error::bad_config(format!("{size} does not fit into a GGUF key")));
    let mut writer = Writer::new(own).text("general.name", name).integer("general.file_type", stored.file_type());
    if stored == Stored::Q8 {
        writer = writer.integer("general.quantization_version", 2);
    }
    for (key, value) in [
        ("vocab_size", config.vocab_size),
        ("context_length", config.max_positions),
        ("embedding_length", config.hidden_size),
        ("block_count", config.layers),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.heads),
        ("attention.head_count_kv", config.kv_heads),
        ("attention.key_length", config.head_dim),
        ("attention.value_length", config.head_dim),
    ] {
        writer = writer.integer(&format!("{own}.{key}"), size(value)?);
    }
    if let Some(window) = config.sliding_window {
        writer = writer.integer(&format!("{own}.attention.sliding_window"), size(window)?);
    }
    if let PositionKind::Rope { theta, rotary_dim, scaling } = config.position {
        writer = writer.integer(&format!("{own}.rope.dimension_count"), size(rotary_dim)?);
        if let Some(RopeScaling::Linear { factor }) = scaling {
            writer = writer.text(&format!("{own}.rope.scaling.type"), "linear").float(&format!("{own}.rope.scaling.factor"), factor as f32);
        }
        writer = writer.float(&format!("{own}.rope.freq_base"), theta as f32);
    }
    if config.architecture == Architecture::GptNeoX {
        writer = writer.flag(&format!("{own}.use_parallel_residual"), config.parallel_residual);
    }
    let norm = if is_gpt(config) { "layer_norm" } else { "layer_norm_rms" };
    Ok(writer.float(&format!("{own}.attention.{norm}_epsilon"), config.norm_eps as f32))
}

/// Llama 3's change as the divisor of each frequency.
fn frequency_factors(config: &Config) -> Option<Vec<f32>> {
    let PositionKind::Rope { theta, rotary_dim, scaling: Some(RopeScaling::Llama3(scaling)) } = config.position else { return None };
    let factor = |i: usize| {
        let frequency = theta.powf(-2.0 * i as f64 / rotary_dim as f64);
        (frequency / scaling.scale(frequency)) as f32
    };
    Some((0..rotary_dim / 2).map(factor).collect())
}
