//! Models in other formats into a Hugging Face folder. The format is told by the file's content, not by its name.

pub mod llama2c;
pub mod llama2c_tokenizer;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::model_folder::ModelFolder;
use crate::safetensors_file::NamedTensors;
use crate::tokenizer::Tokenizer;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What was converted.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvertReport {
    /// The source's format.
    pub format: &'static str,
    /// The model's configuration.
    pub config: Config,
    /// Tensors written.
    pub tensors: usize,
    /// Numbers in them.
    pub parameters: u64,
    /// Whether a tokenizer was written.
    pub has_tokenizer: bool,
}

/// A format that is recognised by how a file starts, and what to say where it is not read.
const KNOWN_STARTS: [(&[u8], &str); 4] = [
    (b"GGUF", "a GGUF file"),
    (b"PK\x03\x04", "a PyTorch or NumPy archive"),
    (b"24ka", "a llama2.c file of version 1 or 2"),
    (b"\x80", "a Python pickle"),
];

const SUPPORTED: &str = "llama2.c files of version 0, folders with config.json and model.safetensors";

/// Converts the model at `source` into the folder `out`. `tokenizer` is llama2.c's `tokenizer.bin`, a `tokenizer.json` or a
/// folder with one; without it the new folder has none (a source that is a folder brings its own).
///
/// # Errors
/// [`Error::Unsupported`] for formats that are not read, [`Error::BadFile`] for damaged files, [`Error::Io`].
pub fn convert(source: &Path, tokenizer: Option<&Path>, out: &Path) -> Result<ConvertReport> {
    if source.is_dir() {
        return convert_folder(source, tokenizer, out);
    }
    refuse_known_starts(source)?;
    let (config, tensors) = llama2c::read(source)?;
    let tokenizer = tokenizer.map(|path| read_tokenizer(path, config.vocab_size)).transpose()?;
    save("llama2.c version 0", config, tensors, tokenizer.as_ref(), out)
}

fn convert_folder(source: &Path, tokenizer: Option<&Path>, out: &Path) -> Result<ConvertReport> {
    let model = ModelFolder::open(source)?;
    let tokenizer = match tokenizer {
        Some(path) => Some(read_tokenizer(path, model.config.vocab_size)?),
        None => Some(model.tokenizer).filter(|tokenizer| !tokenizer.is_bytes()),
    };
    let format = "Hugging Face folder";
    save(format, model.config, model.tensors, tokenizer.as_ref(), out)
}

fn save(format: &'static str, config: Config, tensors: NamedTensors, tokenizer: Option<&Tokenizer>, out: &Path) -> Result<ConvertReport> {
    match tokenizer {
        Some(tokenizer) => ModelFolder::save(out, &config, &tensors, tokenizer)?,
        None => ModelFolder::save_without_tokenizer(out, &config, &tensors)?,
    }
    Ok(ConvertReport {
        format,
        tensors: tensors.len(),
        parameters: tensors.values().map(|tensor| tensor.data.len() as u64).sum(),
        has_tokenizer: tokenizer.is_some(),
        config,
    })
}

/// A `tokenizer.json` starts with a brace, llama2.c's `tokenizer.bin` with a small number.
fn read_tokenizer(path: &Path, vocab_size: usize) -> Result<Tokenizer> {
    if path.is_dir() {
        return Tokenizer::from_folder(path);
    }
    let start = first_bytes(path)?;
    let is_json = start.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let tokenizer = if is_json { Tokenizer::from_file(path)? } else { llama2c_tokenizer::read(path, vocab_size)? };
    if tokenizer.vocab_size() > vocab_size {
        let reason = format!("has {} tokens, the model only {vocab_size}: they do not belong together", tokenizer.vocab_size());
        return Err(Error::tokenizer(reason).at(path));
    }
    Ok(tokenizer)
}

fn refuse_known_starts(path: &Path) -> Result<()> {
    let start = first_bytes(path)?;
    let known = KNOWN_STARTS.iter().find(|(magic, _)| start.starts_with(magic));
    let what = match known {
        Some((_, what)) => *what,
        None if start.get(8) == Some(&b'{') => "a lone .safetensors file (give the folder that has its config.json)",
        None if start.first() == Some(&b'{') => "a JSON file",
        None => return Ok(()),
    };
    Err(Error::Unsupported { path: Some(path.to_owned()), what: what.to_owned(), supported: SUPPORTED.to_owned() })
}

fn first_bytes(path: &Path) -> Result<Vec<u8>> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(Error::io(path))?;
    file.take(16).read_to_end(&mut start).map_err(Error::io(path))?;
    Ok(start)
}

#[cfg(test)]
mod tests;
