//! The conversion of models in other formats to a Hugging Face folder. A file's content tells its format, not its name.

pub mod gguf;
mod gguf_keys;
pub mod gguf_tokenizer;
mod gguf_vocabulary;
pub mod llama2c;
pub mod llama2c_tokenizer;
pub mod meta;
mod parameters;
mod rotary_pairs;
mod sentencepiece;
pub mod to_gguf;

use crate::atomic::atomic_write;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::files::{self, Content, is_there};
use crate::gguf::{Gguf, Header};
use crate::model_folder::{self, MODEL_COMPANIONS, ModelFolder, TOKENIZER_COMPANIONS};
use crate::safetensors_file::{NamedTensors, StoredWeights};
use crate::tokenizer::Tokenizer;
use std::io::Read;
use std::path::Path;

/// The report of a conversion.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvertReport {
    /// The source's format.
    pub format: &'static str,
    /// The model's configuration.
    pub config: Config,
    /// The number of tensors written.
    pub tensors: usize,
    /// The number of values in the tensors.
    pub parameters: u64,
    /// True if a tokenizer was written.
    pub has_tokenizer: bool,
    /// The reason why the source's own tokenizer was left out, if it has one that cannot be written exactly.
    pub note: Option<String>,
    /// A sentence about each thing in the source that was not used, naming file and key.
    pub remarks: Vec<String>,
}

/// The starts of files in known formats that are not read, with a name for each format.
const KNOWN_STARTS: [(&[u8], &str); 3] =
    [(b"PK\x03\x04", "a PyTorch or NumPy archive"), (b"24ka", "a llama2.c file of version 1 or 2"), (b"\x80", "a Python pickle")];

const SUPPORTED: &str =
    "GGUF, llama2.c files of version 0, folders with config.json and model.safetensors (Hugging Face's names or Meta's)";

/// Converts the model at `source` into the folder `out`. `tokenizer` is llama2.c's `tokenizer.bin`, a `tokenizer.json` or a folder with
/// one. Without it the new folder gets the source's own tokenizer, if it has one (a folder, a GGUF file).
///
/// # Errors
/// [`Error::Unsupported`] for formats that are not read, [`Error::BadFile`] for damaged files, [`Error::Io`].
pub fn convert(source: &Path, tokenizer: Option<&Path>, out: &Path) -> Result<ConvertReport> {
    let given = |config: &Config| tokenizer.map(|path| read_tokenizer(path, config.vocab_size)).transpose();
    if files::is_folder(source)? {
        return match meta::params_file(source) {
            Some(params) => {
                let (config, tensors, remarks) = meta::read(source, &params)?;
                let tokenizer = given(&config)?;
                model_folder::carry(&MODEL_COMPANIONS, source, out)?;
                let report = save("safetensors under Meta's names", config, tensors, tokenizer.as_ref(), out)?;
                Ok(ConvertReport { remarks, ..report })
            }
            None => convert_folder(source, tokenizer, out),
        };
    }
    let start = first_bytes(source)?;
    if start.starts_with(crate::gguf::MAGIC) {
        return convert_gguf(source, tokenizer, out);
    }
    refuse_known_starts(source, &start)?;
    let (config, tensors) = llama2c::read(source)?;
    let tokenizer = given(&config)?;
    save("llama2.c version 0", config, tensors, tokenizer.as_ref(), out)
}

fn convert_folder(source: &Path, tokenizer: Option<&Path>, out: &Path) -> Result<ConvertReport> {
    let model = ModelFolder::open(source)?;
    model_folder::carry(&MODEL_COMPANIONS, source, out)?;
    match tokenizer {
        Some(file) if !files::is_folder(file)? => {}
        other => model_folder::carry(&TOKENIZER_COMPANIONS, other.unwrap_or(source), out)?,
    }
    let tokenizer = match tokenizer {
        Some(path) => Some(read_tokenizer(path, model.config.vocab_size)?),
        None => Some(model.tokenizer).filter(|tokenizer| !tokenizer.is_absent()),
    };
    let format = "Hugging Face folder";
    let report = save(format, model.config, model.tensors, tokenizer.as_ref(), out)?;
    Ok(ConvertReport { remarks: model.remarks, ..report })
}

/// True if a file begins as GGUF does.
///
/// # Errors
/// [`Error::Io`].
pub fn is_gguf(path: &Path) -> Result<bool> {
    Ok(!files::is_folder(path)? && is_there(path)? && first_bytes(path)?.starts_with(crate::gguf::MAGIC))
}

/// Opens the model of a GGUF file that is read and not trained, with its tokenizer and its chat template.
///
/// # Errors
/// Those of [`gguf::read_as_stored`] and of the tokenizer.
pub fn open_gguf(path: &Path) -> Result<ModelFolder<StoredWeights>> {
    let content = Content::open(path)?;
    let header = Header::read(&content)?;
    let file = Gguf::new(&content, &header)?;
    let (config, tensors, mut remarks) = gguf::read_as_stored(path, &file)?;
    let mut tokenizer = match own_tokenizer(path, &file, &config, &mut remarks)? {
        Ok(tokenizer) => tokenizer.for_vocabulary(config.vocab_size),
        Err(reason) => {
            remarks.push(format!("{}: its tokenizer is not used: {reason}", path.display()));
            Tokenizer::absent(path)
        }
    };
    if let Some(template) = chat_template(&file) {
        tokenizer = tokenizer.with_chat_template_text(template.to_owned(), path);
    }
    Ok(ModelFolder { config, tensors, tokenizer, remarks })
}

/// Reads the tokenizer of a GGUF file, which must fit the model.
fn own_tokenizer(path: &Path, file: &Gguf, config: &Config, remarks: &mut Vec<String>) -> Result<gguf_tokenizer::Found> {
    let of_tokenizer = gguf_keys::tokenizer_remarks(file)?;
    remarks.extend(of_tokenizer.into_iter().map(|remark| format!("{}: {remark}", path.display())));
    let found = gguf_tokenizer::read(file).map_err(|error| error.at(path))?;
    match found.as_ref().map_or(0, Tokenizer::vocab_size) {
        tokens if tokens > config.vocab_size => {
            Err(Error::bad_file(path, format!("its tokenizer has {tokens} tokens, the model only {}", config.vocab_size)))
        }
        _ => Ok(found),
    }
}

fn chat_template<'a>(file: &'a Gguf) -> Option<&'a str> {
    file.get("tokenizer.chat_template").and_then(crate::gguf::Value::text)
}

fn convert_gguf(source: &Path, tokenizer: Option<&Path>, out: &Path) -> Result<ConvertReport> {
    let content = Content::open(source)?;
    let header = Header::read(&content)?;
    let file = Gguf::new(&content, &header)?;
    let (config, tensors, mut remarks) = gguf::read(source, &file)?;
    let found = match tokenizer {
        Some(path) => Ok(read_tokenizer(path, config.vocab_size)?),
        None => own_tokenizer(source, &file, &config, &mut remarks)?,
    };
    let (found, note) = match found {
        Ok(tokenizer) => (Some(tokenizer), None),
        Err(reason) => (None, Some(format!("the tokenizer was left out: {reason}"))),
    };
    let report = save("GGUF", config, tensors, found.as_ref(), out)?;
    if let Some(template) = chat_template(&file) {
        atomic_write(&out.join(CHAT_TEMPLATE), template.as_bytes())?;
    }
    Ok(ConvertReport { note, remarks, ..report })
}

/// The file of a folder's chat template.
const CHAT_TEMPLATE: &str = "chat_template.jinja";

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
        note: None,
        remarks: Vec::new(),
        config,
    })
}

/// Reads a tokenizer. A `tokenizer.json` starts with a brace, llama2.c's `tokenizer.bin` with a small number.
fn read_tokenizer(path: &Path, vocab_size: usize) -> Result<Tokenizer> {
    if files::is_folder(path)? {
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

fn refuse_known_starts(path: &Path, start: &[u8]) -> Result<()> {
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
    let file = files::open(path)?;
    file.take(16).read_to_end(&mut start).map_err(Error::io(path))?;
    Ok(start)
}

#[cfg(test)]
mod tests;
