//! Text to token ids and back. A token is one byte, or is defined by a `tokenizer.json`.
//!
//! Both kinds are saved as a `tokenizer.json` that Hugging Face reads to the same ids.

mod additions;
mod bounds;
mod bytes;
mod chat;
pub(crate) mod file_parts;
mod folder;
pub mod gpt2_files;
mod pieces;
pub mod stream;

pub use bytes::{BYTE_BOS, BYTE_EOS};
pub use file_parts::{FILE, SETTINGS_FILE};

use crate::chat_template::Source;
use crate::error::{Error, Result};
use crate::foreign::contained;
use bounds::Bounds;
use serde_json::{Map, Value};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A tokenizer with its BOS and EOS tokens.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    kind: Kind,
    bos: Option<u32>,
    eos: Option<u32>,
    /// The `tokenizer_config.json` that was read with the tokenizer, kept for [`Tokenizer::save`].
    settings: Option<Map<String, Value>>,
    /// The folder's chat template.
    chat: Option<Source>,
    /// A sentence for each thing in its files that is not used.
    remarks: Vec<String>,
}

#[derive(Debug, Clone)]
enum Kind {
    Bytes,
    /// The model's folder has no tokenizer. Text is refused, and tokens are written as their ids.
    Absent {
        folder: PathBuf,
    },
    File {
        inner: Box<tokenizers::Tokenizer>,
        /// The text of the `tokenizer.json`, kept so that saving changes nothing.
        json: String,
        vocab_size: usize,
        /// The bounds on the text that it may make.
        bounds: Arc<Bounds>,
        /// Whether a long text may be tokenized in pieces, once one has asked for it.
        may_be_cut: OnceLock<bool>,
    },
}

impl Tokenizer {
    /// Makes the byte tokenizer: byte b is token b, [`BYTE_BOS`] starts a text and [`BYTE_EOS`] ends it. It has 258 tokens.
    pub fn bytes() -> Self {
        Self { kind: Kind::Bytes, bos: Some(BYTE_BOS), eos: Some(BYTE_EOS), settings: None, chat: None, remarks: Vec::new() }
    }

    /// Makes a stand-in for the tokenizer of a folder without one. Text is refused, and tokens are written as their ids.
    pub fn absent(folder: &Path) -> Self {
        Self { kind: Kind::Absent { folder: folder.to_owned() }, bos: None, eos: None, settings: None, chat: None, remarks: Vec::new() }
    }

    /// True if there is no tokenizer.
    pub fn is_absent(&self) -> bool {
        matches!(self.kind, Kind::Absent { .. })
    }

    /// Returns an error if there is no tokenizer.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] that names the folder and what to do.
    pub fn check_present(&self) -> Result<()> {
        match &self.kind {
            Kind::Absent { folder } => Err(missing(folder)),
            _ => Ok(()),
        }
    }

    /// Returns a sentence for each thing in the tokenizer's files that is not used.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Makes the tokenizer that the text of a `tokenizer.json` describes. BOS is the token that its post-processor puts before a text, if
    /// any. EOS is the added token with a usual name for one.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn from_json(json: String) -> Result<Self> {
        if bytes::is_own_file(&json) {
            return Ok(Self::bytes());
        }
        let damaged = || Error::tokenizer("not a usable tokenizer.json: its reader gave up on it");
        let bounds = Arc::new(Bounds::of(&json)?);
        let (inner, remarks) = contained(|| plain(&json)).ok_or_else(damaged)??;
        let vocab_size = bounds::largest_id(&inner.get_vocab(true))? as usize + 1;
        bounds.check("a0")?;
        let mut tokenizer = Self {
            bos: leading_token(&inner)?,
            eos: None,
            kind: Kind::File { inner: Box::new(inner), json, vocab_size, bounds, may_be_cut: OnceLock::new() },
            settings: None,
            chat: None,
            remarks,
        };
        tokenizer.eos = file_parts::USUAL_EOS.iter().find_map(|name| tokenizer.id(name));
        Ok(tokenizer)
    }

    /// Returns the token ids of `text`, without adding BOS or EOS. The name of a special token in the text becomes that token. In the byte
    /// tokenizer, text is only bytes.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the vocabulary cannot express the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        match &self.kind {
            Kind::Bytes => Ok(text.bytes().map(u32::from).collect()),
            Kind::Absent { folder } => Err(missing(folder)),
            Kind::File { inner, bounds, may_be_cut, .. } => {
                bounds.check(text)?;
                let in_pieces = text.len() > pieces::PIECE && *may_be_cut.get_or_init(|| pieces::may_be_cut(inner));
                let tokens = if in_pieces { pieces::encode(text, pieces::PIECE, |piece| ids(inner, piece, false))? } else { None };
                tokens.map_or_else(|| ids(inner, text, false), Ok)
            }
        }
    }

    /// Like [`Tokenizer::encode`], but also returns the bytes of the text that each token stands for.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_with_places(&self, text: &str) -> Result<(Vec<u32>, Vec<Range<usize>>)> {
        let Kind::File { inner, bounds, .. } = &self.kind else {
            let tokens = self.encode(text)?;
            let places = (0..tokens.len()).map(|place| place..place + 1).collect();
            return Ok((tokens, places));
        };
        bounds.check(text)?;
        let encoding = encoding(contained(|| inner.encode(text, false)))?;
        Ok((encoding.get_ids().to_vec(), encoding.get_offsets().iter().map(|&(start, end)| start..end).collect()))
    }

    /// Returns the text of `tokens`. Special tokens and unknown ids have no text. Bytes that are not UTF-8 become U+FFFD. If the tokenizer
    /// writes a space before every text (SentencePiece), the first token's space is removed. To decode tokens that follow a context, use
    /// [`Tokenizer::decode_after`] or [`Tokenizer::stream`].
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn decode(&self, tokens: &[u32]) -> Result<String> {
        match &self.kind {
            Kind::Bytes => {
                let bytes: Vec<u8> = tokens.iter().filter_map(|&id| id.try_into().ok()).collect();
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            Kind::Absent { .. } => Ok(numbers(tokens)),
            Kind::File { inner, .. } => text(inner, tokens, true),
        }
    }

    /// Returns one more than the largest token id: the smallest vocabulary that a model must have.
    pub fn vocab_size(&self) -> usize {
        match self.kind {
            Kind::Bytes => bytes::VOCAB_SIZE,
            Kind::Absent { .. } => 0,
            Kind::File { vocab_size, .. } => vocab_size,
        }
    }

    /// Returns the token to put before every text, if there is one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Returns the token that the settings call BOS, even if it is not put before a text.
    pub(crate) fn named_bos(&self) -> Option<u32> {
        let name = self.settings.as_ref()?.get("bos_token")?;
        self.id(file_parts::token_name(name)?)
    }

    /// Returns the token that ends a text, if there is one.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Sets `eos` as the token that ends a text.
    #[must_use]
    pub fn with_eos(mut self, eos: u32) -> Self {
        self.eos = Some(eos);
        self
    }

    /// True if this is the byte tokenizer.
    pub fn is_bytes(&self) -> bool {
        matches!(self.kind, Kind::Bytes)
    }

    /// Returns the id of the token called `name`. Special tokens are included.
    pub fn id(&self, name: &str) -> Option<u32> {
        match &self.kind {
            Kind::Bytes => bytes::special_id(name),
            Kind::Absent { .. } => None,
            Kind::File { inner, .. } => inner.token_to_id(name),
        }
    }

    /// True if the token stands for a name that was added to the vocabulary, as special tokens are.
    pub fn is_added(&self, id: u32) -> bool {
        match &self.kind {
            Kind::Bytes => bytes::special_name(id).is_some(),
            Kind::Absent { .. } => false,
            Kind::File { inner, .. } => inner.get_added_tokens_decoder().contains_key(&id),
        }
    }

    /// Adapts the tokenizer to a model of `vocab_size` tokens: removes a BOS or EOS that such a model does not have.
    #[must_use]
    pub fn for_vocabulary(mut self, vocab_size: usize) -> Self {
        let known = |id: &u32| (*id as usize) < vocab_size;
        self.bos = self.bos.filter(known);
        self.eos = self.eos.filter(known);
        self
    }

    /// Like [`Tokenizer::decode`], with special tokens written by their names.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn decode_with_special(&self, tokens: &[u32]) -> Result<String> {
        if self.is_absent() {
            return Ok(numbers(tokens));
        }
        let Kind::File { inner, .. } = &self.kind else {
            let mut text = String::new();
            for run in tokens.chunk_by(|&a, &b| a < BYTE_BOS && b < BYTE_BOS) {
                match bytes::special_name(run[0]) {
                    Some(name) => text.push_str(name),
                    None => text.push_str(&self.decode(run)?),
                }
            }
            return Ok(text);
        };
        text(inner, tokens, false)
    }

    /// Returns the token's name in the vocabulary.
    pub fn name(&self, id: u32) -> Option<String> {
        match &self.kind {
            Kind::Bytes => bytes::special_name(id).map(str::to_owned),
            Kind::Absent { .. } => None,
            Kind::File { inner, .. } => inner.id_to_token(id),
        }
    }

    /// Returns the text of the `tokenizer.json`; empty if there is no tokenizer.
    pub fn json(&self) -> String {
        match &self.kind {
            Kind::Bytes => format!("{:#}\n", bytes::file()),
            Kind::Absent { .. } => String::new(),
            Kind::File { json, .. } => json.clone(),
        }
    }
}

/// Reads a `tokenizer.json` without its truncation, its padding and its dropout. Also returns a remark if it had dropout.
fn plain(json: &str) -> Result<(tokenizers::Tokenizer, Vec<String>)> {
    let refused = |error| Error::tokenizer(format!("not a usable tokenizer.json: {error}"));
    let (certain, remarks) = additions::without_dropout(json);
    let mut inner = tokenizers::Tokenizer::from_bytes(certain.as_deref().unwrap_or(json)).map_err(refused)?;
    inner.with_truncation(None).map_err(refused)?;
    inner.with_padding(None);
    Ok((inner, remarks))
}

/// Returns one more than the largest token id.
fn vocab_size(inner: &tokenizers::Tokenizer) -> Option<usize> {
    inner.get_vocab(true).into_values().max().map(|largest| largest as usize + 1)
}

fn missing(folder: &Path) -> Error {
    let reason = "there is no tokenizer in this folder (tokenizer.json, or vocab.json with merges.txt), so text has no tokens: copy the \
                  model's tokenizer there, or give token ids where the command takes them";
    Error::tokenizer(reason).at(folder)
}

/// Writes token ids as a text, with a space after each.
fn numbers(tokens: &[u32]) -> String {
    tokens.iter().map(|token| format!("{token} ")).collect()
}

fn ids(inner: &tokenizers::Tokenizer, text: &str, add_special: bool) -> Result<Vec<u32>> {
    Ok(encoding(contained(|| inner.encode_fast(text, add_special)))?.get_ids().to_vec())
}

/// Returns the result of encoding, or the error of a library that failed.
fn encoding(encoded: Option<tokenizers::Result<tokenizers::Encoding>>) -> Result<tokenizers::Encoding> {
    encoded.ok_or_else(defect)?.map_err(|error| Error::tokenizer(format!("cannot encode: {error}")))
}

fn text(inner: &tokenizers::Tokenizer, tokens: &[u32], skip_special: bool) -> Result<String> {
    let decoded = contained(|| inner.decode(tokens, skip_special));
    decoded.ok_or_else(defect)?.map_err(|error| Error::tokenizer(format!("cannot decode: {error}")))
}

/// The error of a file that was read, but whose contents are inconsistent.
fn defect() -> Error {
    Error::tokenizer("its tokenizer.json is inconsistent: no text can be encoded or decoded with it")
}

/// Finds the one token that the post-processor puts before a text.
fn leading_token(inner: &tokenizers::Tokenizer) -> Result<Option<u32>> {
    // Any text that has tokens will do. Two are tried, because a vocabulary may lack one of them.
    for probe in ["a", "0"] {
        let plain = ids(inner, probe, false)?;
        let special = ids(inner, probe, true)?;
        if let Some((&first, rest)) = special.split_first()
            && !plain.is_empty()
            && rest.starts_with(&plain)
        {
            return Ok(Some(first));
        }
    }
    Ok(None)
}

/// Reads `path`, and names it in any error.
fn read_text(path: &Path) -> Result<String> {
    crate::files::read_text(path, crate::files::TOKENIZER)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod tests_support;
