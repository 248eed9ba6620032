//! Conversion between a file's tensors and the decoder's parameters: the names and layouts of each family.
//!
//! The decoder uses Llama's names and matrices [out, in]. GPT-2's files hold matrices [in, out], with q, k and v side by side. GPT-NeoX's
//! files hold q, k and v of each head one after another.

use crate::config::{Architecture, Config};
use crate::error::{Error, Result};
use crate::safetensors_file::{NamedTensor, NamedTensors, is_buffer};

/// Removes the tensor `name` and returns it. Its shape must be `shape`.
///
/// # Errors
/// [`Error::MissingTensor`], [`Error::ShapeMismatch`].
pub fn take(tensors: &mut NamedTensors, name: &str, shape: &[usize]) -> Result<NamedTensor> {
    let tensor = tensors.swap_remove(name).ok_or_else(|| Error::MissingTensor { name: name.to_owned() })?;
    if tensor.shape != shape {
        return Err(Error::ShapeMismatch { name: name.to_owned(), expected: shape.to_vec(), found: tensor.shape });
    }
    Ok(tensor)
}

/// Inserts a tensor under the decoder's name.
///
/// # Errors
/// [`Error::BadConfig`] where another tensor of the file gets the same name.
pub(crate) fn put(tensors: &mut NamedTensors, name: String, tensor: NamedTensor) -> Result<()> {
    match tensors.insert(name.clone(), tensor) {
        Some(_) => Err(Error::bad_config(format!("two tensors of the weights are {name}, under different names"))),
        None => Ok(()),
    }
}

/// Refuses weights that the configuration has no place for.
pub(crate) fn nothing_left(tensors: &NamedTensors) -> Result<()> {
    match tensors.keys().next() {
        Some(name) => {
            Err(Error::bad_config(format!("the weights hold {name} (and {} more) which config.json has no place for", tensors.len() - 1)))
        }
        None => Ok(()),
    }
}

/// (part of a name in the file, part of the decoder's name) of each family whose names differ.
const GPT2_NAMES: [(&str, &str); 8] = [
    ("ln_1.", "input_layernorm."),
    ("ln_2.", "post_attention_layernorm."),
    ("attn.c_proj.", "self_attn.o_proj."),
    ("mlp.c_fc.", "mlp.up_proj."),
    ("mlp.c_proj.", "mlp.down_proj."),
    ("attn.q_proj.", "self_attn.q_proj."),
    ("attn.k_proj.", "self_attn.k_proj."),
    ("attn.v_proj.", "self_attn.v_proj."),
];
const NEOX_NAMES: [(&str, &str); 6] = [
    ("attention.dense.", "self_attn.o_proj."),
    ("mlp.dense_h_to_4h.", "mlp.up_proj."),
    ("mlp.dense_4h_to_h.", "mlp.down_proj."),
    ("attention.q_proj.", "self_attn.q_proj."),
    ("attention.k_proj.", "self_attn.k_proj."),
    ("attention.v_proj.", "self_attn.v_proj."),
];
/// (whole name in the file, whole name in the decoder).
const GPT2_OUTER: [(&str, &str); 5] = [
    ("transformer.wte.weight", "model.embed_tokens.weight"),
    ("transformer.wpe.weight", "model.embed_positions.weight"),
    ("transformer.ln_f.weight", "model.norm.weight"),
    ("transformer.ln_f.bias", "model.norm.bias"),
    ("lm_head.weight", "lm_head.weight"),
];
const NEOX_OUTER: [(&str, &str); 4] = [
    ("gpt_neox.embed_in.weight", "model.embed_tokens.weight"),
    ("gpt_neox.final_layer_norm.weight", "model.norm.weight"),
    ("gpt_neox.final_layer_norm.bias", "model.norm.bias"),
    ("embed_out.weight", "lm_head.weight"),
];

/// The names and the layout in a family's files.
struct Family {
    layers: &'static str,
    inner: &'static [(&'static str, &'static str)],
    outer: &'static [(&'static str, &'static str)],
    fused: &'static str,
    transposed: bool,
}

fn family(config: &Config) -> Option<Family> {
    match config.architecture {
        Architecture::Gpt2 => {
            Some(Family { layers: "transformer.h.", inner: &GPT2_NAMES, outer: &GPT2_OUTER, fused: "attn.c_attn.", transposed: true })
        }
        Architecture::GptNeoX => Some(Family {
            layers: "gpt_neox.layers.",
            inner: &NEOX_NAMES,
            outer: &NEOX_OUTER,
            fused: "attention.query_key_value.",
            transposed: false,
        }),
        _ => None,
    }
}

/// True if files of this configuration hold the decoder's own names and matrices.
pub fn is_the_decoders_own(config: &Config) -> bool {
    family(config).is_none()
}

/// Converts a file's tensors to the decoder's parameters.
///
/// # Errors
/// [`Error::ShapeMismatch`] for a fused or transposed tensor of another shape than the configuration asks for; [`Error::BadConfig`] for a
/// head of its own where the configuration ties it to the embedding.
pub fn from_file(config: &Config, tensors: NamedTensors) -> Result<NamedTensors> {
    let mut out = NamedTensors::new();
    let family = family(config);
    let mut head = None;
    for (name, tensor) in tensors {
        if is_buffer(&name) {
            continue;
        }
        if config.tied_head && is_head(&name) {
            head = Some((name, tensor));
            continue;
        }
        match &family {
            None => put(&mut out, name, tensor)?,
            Some(family) => family.insert(config, name, tensor, &mut out)?,
        }
    }
    if let Some((name, head)) = head {
        refuse_other_head(&name, &head, out.get("model.embed_tokens.weight"))?;
    }
    Ok(out)
}

/// Refuses a tied head that differs from the embedding; some files repeat the head. Version 4 of transformers computes with the embedding,
/// version 5 with the head.
pub(crate) fn refuse_other_head(name: &str, head: &NamedTensor, embedding: Option<&NamedTensor>) -> Result<()> {
    match embedding {
        Some(embedding) if embedding.shape != head.shape || embedding.data != head.data => Err(Error::bad_config(format!(
            "the weights hold a {name} that differs from the embedding, and tie_word_embeddings is true: set it to false in config.json to \
             compute with {name}, or remove the tensor to compute with the embedding"
        ))),
        _ => Ok(()),
    }
}

pub(super) fn is_head(name: &str) -> bool {
    name == "lm_head.weight" || name == "embed_out.weight"
}

impl Family {
    fn insert(&self, config: &Config, name: String, tensor: NamedTensor, out: &mut NamedTensors) -> Result<()> {
        let prefix = self.layers.split('.').next().unwrap_or_default();
        // GPT-2's own files leave the outer module's name out.
        let name = if name.starts_with(prefix) || is_head(&name) { name } else { format!("{prefix}.{name}") };
        if let Some((_, ours)) = self.outer.iter().find(|(theirs, _)| *theirs == name) {
            return put(out, (*ours).to_owned(), tensor);
        }
        let Some((index, rest)) = name.strip_prefix(self.layers).and_then(|rest| rest.split_once('.')) else {
            return put(out, name, tensor);
        };
        let layer = format!("model.layers.{index}.");
        let transposed = if self.transposed && tensor.shape.len() == 2 { transpose(&tensor) } else { tensor };
        if let Some(kind) = rest.strip_prefix(self.fused) {
            let parts = split_fused(config, &name, &transposed)?;
            for (part, value) in ["q_proj", "k_proj", "v_proj"].into_iter().zip(parts) {
                put(out, format!("{layer}self_attn.{part}.{kind}"), value)?;
            }
            return Ok(());
        }
        let ours = self.inner.iter().find_map(|(theirs, ours)| rest.strip_prefix(theirs).map(|kind| format!("{ours}{kind}")));
        put(out, format!("{layer}{}", ours.unwrap_or_else(|| rest.to_owned())), transposed)
    }

    /// Returns the file's name of a parameter.
    fn file_name(&self, ours: &str) -> String {
        if let Some((theirs, _)) = self.outer.iter().find(|(_, o)| *o == ours) {
            return (*theirs).to_owned();
        }
        let rest = ours.strip_prefix("model.layers.").unwrap_or(ours);
        let (index, rest) = rest.split_once('.').unwrap_or(("", rest));
        let theirs = self.inner.iter().find_map(|(theirs, ours)| rest.strip_prefix(ours).map(|kind| format!("{theirs}{kind}")));
        format!("{}{index}.{}", self.layers, theirs.unwrap_or_else(|| rest.to_owned()))
    }
}

/// Converts the decoder's parameters to a file's tensors.
pub fn to_file(config: &Config, parameters: NamedTensors) -> NamedTensors {
    let Some(family) = family(config) else { return parameters };
    let mut out = NamedTensors::new();
    let mut fused: Vec<(String, Vec<NamedTensor>)> = Vec::new();
    for (name, tensor) in parameters {
        let part = ["q_proj.", "k_proj.", "v_proj."].into_iter().find_map(|part| name.split_once(&format!("self_attn.{part}")));
        if let Some((layer, kind)) = part {
            let key = family.file_name(&format!("{layer}{}{kind}", family.fused));
            match fused.iter_mut().find(|(existing, _)| *existing == key) {
                Some((_, parts)) => parts.push(tensor),
                None => fused.push((key, vec![tensor])),
            }
            continue;
        }
        let inside = name.starts_with("model.layers.");
        let tensor = if inside && family.transposed && tensor.shape.len() == 2 { transpose(&tensor) } else { tensor };
        out.insert(family.file_name(&name), tensor);
    }
    for (name, parts) in fused {
        let joined = join_fused(config, &parts);
        out.insert(name, if family.transposed && joined.shape.len() == 2 { transpose(&joined) } else { joined });
    }
    out
}

fn transpose(tensor: &NamedTensor) -> NamedTensor {
    let [rows, columns] = [tensor.shape[0], tensor.shape[1]];
    let data = (0..rows * columns).map(|i| tensor.data[i % rows * columns + i / rows]).collect();
    NamedTensor::new(vec![columns, rows], data)
}

/// Returns the row of the fused q, k, v that holds row `row` of part `part` (0 for q, 1 for k, 2 for v).
fn fused_row(config: &Config, part: usize, row: usize) -> usize {
    match config.architecture {
        Architecture::GptNeoX => (row / config.head_dim * 3 + part) * config.head_dim + row % config.head_dim,
        _ => part * config.query_size() + row,
    }
}

/// Splits a fused tensor, whose first axis holds q, k and v, into the three.
fn split_fused(config: &Config, name: &str, tensor: &NamedTensor) -> Result<[NamedTensor; 3]> {
    let size = config.query_size();
    if tensor.shape.first() != Some(&(3 * size)) {
        let expected = std::iter::once(3 * size).chain(tensor.shape.iter().skip(1).copied()).collect();
        return Err(Error::ShapeMismatch { name: name.to_owned(), expected, found: tensor.shape.clone() });
    }
    let width: usize = tensor.shape[1..].iter().product();
    Ok(std::array::from_fn(|part| {
        let rows = (0..size).flat_map(|row| &tensor.data[fused_row(config, part, row) * width..][..width]);
        let shape = std::iter::once(size).chain(tensor.shape[1..].iter().copied()).collect();
        NamedTensor::new(shape, rows.copied().collect())
    }))
}

/// Reorders the rows of a fused tensor from the file's order to all of q, then all of k, then all of v.
pub(super) fn fused_rows_from_file(config: &Config, name: &str, tensor: &NamedTensor) -> Result<NamedTensor> {
    let parts = split_fused(config, name, tensor)?;
    Ok(NamedTensor::new(tensor.shape.clone(), parts.into_iter().flat_map(|part| part.data).collect()))
}

/// The inverse of [`fused_rows_from_file`].
pub(super) fn fused_rows_to_file(config: &Config, tensor: &NamedTensor) -> NamedTensor {
    let third = tensor.data.len() / 3;
    let shape: Vec<usize> = std::iter::once(tensor.shape[0] / 3).chain(tensor.shape[1..].iter().copied()).collect();
    let parts: Vec<NamedTensor> = tensor.data.chunks_exact(third).map(|part| NamedTensor::new(shape.clone(), part.to_vec())).collect();
    join_fused(config, &parts)
}

/// The inverse of [`split_fused`].
fn join_fused(config: &Config, parts: &[NamedTensor]) -> NamedTensor {
    let size = config.query_size();
    let width: usize = parts[0].shape[1..].iter().product();
    let mut data = vec![0.0; 3 * size * width];
    for (part, tensor) in parts.iter().enumerate() {
        for (row, values) in tensor.data.chunks_exact(width).enumerate() {
            data[fused_row(config, part, row) * width..][..width].copy_from_slice(values);
        }
    }
    let shape = std::iter::once(3 * size).chain(parts[0].shape[1..].iter().copied()).collect();
    NamedTensor::new(shape, data)
}
