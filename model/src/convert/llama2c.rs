//! llama2.c's model file, version 0: seven numbers, then every weight in f32.
//!
//! The numbers are little-endian i32: dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len. vocab_size is negative if the
//! output projection is not the embedding.
//!
//! The weights are f32. They follow in this order, each kind stacked over the layers:
//!
//! - embedding, attention norms, wq, wk, wv, wo,
//! - MLP norms, w1 (gate), w2 (down), w3 (up), final norm,
//! - two RoPE tables that nothing reads, and the output projection.
//!
//! Matrices are `[out, in]`. RMSNorm ε is 1e-5 and RoPE's θ 1e4 by definition (llama2.c, `run.c`).

use super::rotary_pairs::rotate_half_rows;
use crate::config::{Architecture, Config, MlpKind, PositionKind};
use crate::error::{Error, Result};
use crate::files::Content;
use crate::safetensors_file::{NamedTensor, NamedTensors};
use std::path::Path;

const HEADER_NUMBERS: usize = 7;
const HEADER_BYTES: u64 = 4 * HEADER_NUMBERS as u64;

/// Reads a model file into Hugging Face's names and layout. The rows of q and k are reordered: llama2.c rotates components 2i and 2i + 1 of
/// a head together, Hugging Face's decoders i and i + head_dim/2.
///
/// # Errors
/// [`Error::Io`]. [`Error::BadFile`] if the header does not describe a model, or the file's size is not the one it announces.
/// [`Error::NonFinite`].
pub fn read(path: &Path) -> Result<(Config, NamedTensors)> {
    read_content(&Content::open(path)?)
}

/// Reads the contents of a model file.
///
/// # Errors
/// As [`read`].
pub fn read_content(content: &Content) -> Result<(Config, NamedTensors)> {
    let (path, found) = (content.path(), content.length());
    if found < HEADER_BYTES {
        return Err(Error::bad_file(path, format!("{found} bytes are too few for a llama2.c model")));
    }
    let header = content.elements(0..HEADER_BYTES, |number| [i32::from_le_bytes(number)])?;
    let header = std::array::from_fn(|i| header[i]);
    let config = config(header).map_err(|error| {
        let why = if let Error::BadConfig { reason, .. } = error { reason } else { error.to_string() };
        Error::bad_file(path, format!("not a llama2.c model of version 0: {why}"))
    })?;
    let expected = expected_bytes(&config);
    if found != expected {
        let reason = format!("truncated or damaged: the header describes a file of {expected} bytes, this one has {found}");
        return Err(Error::bad_file(path, reason));
    }
    let tensors = tensors(&mut Reader { content, position: HEADER_BYTES }, &config)?;
    Ok((config, tensors))
}

fn config(header: [i32; HEADER_NUMBERS]) -> Result<Config> {
    let tied_head = header[5] > 0;
    let [dim, hidden_dim, layers, heads, kv_heads, vocab_size, seq_len] = header.map(|number| number.unsigned_abs() as usize);
    let negative = (0..HEADER_NUMBERS).any(|index| index != 5 && header[index] < 0);
    if negative || heads == 0 || !dim.is_multiple_of(heads) {
        return Err(Error::bad_config(format!("its header has dim, layers, heads and the like of {header:?}")));
    }
    let head_dim = dim / heads;
    let known = |id: u32| Some(id).filter(|&id| (id as usize) < vocab_size);
    let config = Config {
        architecture: Architecture::Llama,
        vocab_size,
        hidden_size: dim,
        intermediate_size: hidden_dim,
        layers,
        heads,
        kv_heads,
        head_dim,
        max_positions: seq_len,
        norm_eps: 1e-5,
        position: PositionKind::Rope { theta: 1e4, rotary_dim: head_dim, scaling: None },
        mlp: MlpKind::SwiGlu,
        qkv_bias: false,
        attention_output_bias: false,
        mlp_bias: false,
        qk_norm: false,
        parallel_residual: false,
        sliding_window: None,
        tied_head,
        bos: known(1),
        eos: known(2).into_iter().collect(),
    };
    config.validate()?;
    Ok(config)
}

/// Returns the size of a file with this configuration. The sizes of a valid configuration are small enough for u64.
fn expected_bytes(config: &Config) -> u64 {
    let rope_tables = 2 * rope_table_size(config) as u64;
    4 * (HEADER_NUMBERS as u64 + config.parameter_count() + rope_tables)
}

fn rope_table_size(config: &Config) -> usize {
    config.max_positions * (config.head_dim / 2)
}

fn tensors(reader: &mut Reader, config: &Config) -> Result<NamedTensors> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let (queries, keys) = (config.query_size(), config.kv_size());
    let stacked: [(&str, Vec<usize>, Option<usize>); 9] = [
        ("input_layernorm", vec![hidden], None),
        ("self_attn.q_proj", vec![queries, hidden], Some(config.heads)),
        ("self_attn.k_proj", vec![keys, hidden], Some(config.kv_heads)),
        ("self_attn.v_proj", vec![keys, hidden], None),
        ("self_attn.o_proj", vec![hidden, queries], None),
        ("post_attention_layernorm", vec![hidden], None),
        ("mlp.gate_proj", vec![inner, hidden], None),
        ("mlp.down_proj", vec![hidden, inner], None),
        ("mlp.up_proj", vec![inner, hidden], None),
    ];
    let mut tensors = NamedTensors::new();
    let embedding = vec![config.vocab_size, hidden];
    reader.tensor(&mut tensors, "model.embed_tokens.weight", embedding.clone())?;
    for (name, shape, turned_heads) in stacked {
        for layer in 0..config.layers {
            let name = format!("model.layers.{layer}.{name}.weight");
            reader.tensor(&mut tensors, &name, shape.clone())?;
            if let (Some(heads), Some(tensor)) = (turned_heads, tensors.get_mut(&name)) {
                tensor.data = rotate_half_rows(&tensor.data, heads, hidden);
            }
        }
    }
    reader.tensor(&mut tensors, "model.norm.weight", vec![hidden])?;
    if !config.tied_head {
        for _ in 0..2 {
            reader.skip(rope_table_size(config));
        }
        reader.tensor(&mut tensors, "lm_head.weight", embedding)?;
    }
    Ok(tensors)
}

struct Reader<'a> {
    content: &'a Content<'a>,
    position: u64,
}

impl Reader<'_> {
    /// Reads the next tensor. The file's size was checked, so its elements are in the file.
    fn tensor(&mut self, tensors: &mut NamedTensors, name: &str, shape: Vec<usize>) -> Result<()> {
        let start = self.position;
        self.skip(shape.iter().product());
        let data = self.content.elements(start..self.position, |bytes| [f32::from_le_bytes(bytes)])?;
        if let Some(index) = data.iter().position(|value| !value.is_finite()) {
            let (path, tensor, value) = (self.content.path().to_owned(), name.to_owned(), f64::from(data[index]));
            return Err(Error::NonFinite { path, tensor, index, value });
        }
        tensors.insert(name.to_owned(), NamedTensor::new(shape, data));
        Ok(())
    }

    fn skip(&mut self, numbers: usize) {
        self.position += 4 * numbers as u64;
    }
}
