//! Text to token ids and back: one byte a token, or whatever a `tokenizer.json` says.
//!
//! Both kinds are saved as a `tokenizer.json` that Hugging Face reads to the same ids.

mod additions;
mod bounds;
mod bytes;
mod chat;
pub(crate) mod file_parts;
mod folder;
pub mod gpt2_files;
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
use std::sync::Arc;

/// A tokenizer with its BOS and EOS tokens.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    kind: Kind,
    bos: Option<u32>,
    eos: Option<u32>,
    /// The `tokenizer_config.json` that came with it, kept for [`Tokenizer::save`].
    settings: Option<Map<String, Value>>,
    /// The folder's chat template.
    chat: Option<Source>,
    /// What its files say and is not used, a sentence each.
    remarks: Vec<String>,
}

#[derive(Debug, Clone)]
enum Kind {
    Bytes,
    /// A model's folder has no tokenizer: text has no tokens, and tokens are written as their ids.
    Absent {
        folder: PathBuf,
    },
    File {
        inner: Box<tokenizers::Tokenizer>,
        /// The text of the `tokenizer.json`, kept so that saving changes nothing.
        json: String,
        vocab_size: usize,
        /// What it may make of a text.
        bounds: Arc<Bounds>,
    },
}

impl Tokenizer {
    /// The byte tokenizer: byte b is token b, [`BYTE_BOS`] starts a text and [`BYTE_EOS`] ends it; 258 tokens.
    pub fn bytes() -> Self {
        Self { kind: Kind::Bytes, bos: Some(BYTE_BOS), eos: Some(BYTE_EOS), settings: None, chat: None, remarks: Vec::new() }
    }

    /// What stands for the tokenizer of a folder that has none: text is refused, and tokens are written as their ids.
    pub fn absent(folder: &Path) -> Self {
        Self { kind: Kind::Absent { folder: folder.to_owned() }, bos: None, eos: None, settings: None, chat: None, remarks: Vec::new() }
    }

    /// True if there is no tokenizer.
    pub fn is_absent(&self) -> bool {
        matches!(self.kind, Kind::Absent { .. })
    }

    /// An error if there is no tokenizer.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] naming the folder and what to do.
    pub fn check_present(&self) -> Result<()> {
        match &self.kind {
            Kind::Absent { folder } => Err(missing(folder)),
            _ => Ok(()),
        }
    }

    /// What the tokenizer's files say and is not used, a sentence each.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Makes the tokenizer that the text of a `tokenizer.json` describes. Its BOS is the token that its own post-processor
    /// puts before a text (so a file that puts none has none), its EOS the added token with a name that is usual for one.
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
            kind: Kind::File { inner: Box::new(inner), json, vocab_size, bounds },
            settings: None,
            chat: None,
            remarks,
        };
        tokenizer.eos = file_parts::USUAL_EOS.iter().find_map(|name| tokenizer.id(name));
        Ok(tokenizer)
    }

    /// The token ids of `text`. No BOS or EOS is added; a special token's name in the text is that token, except in the
    /// byte tokenizer, where text is only ever bytes.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where the vocabulary cannot express the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        match &self.kind {
            Kind::Bytes => Ok(text.bytes().map(u32::from).collect()),
            Kind::Absent { folder } => Err(missing(folder)),
            Kind::File { inner, bounds, .. } => {
                bounds.check(text)?;
                ids(inner, text, false)
            }
        }
    }

    /// As [`Tokenizer::encode`], with the bytes of the text that each token stands for.
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

    /// The text of `tokens`. Special tokens and ids that the vocabulary does not have stand for no text; bytes that are
    /// no UTF-8 become U+FFFD. Where the tokenizer writes a space before every text (SentencePiece), the first token's is
    /// removed: to decode what follows some context, use [`Tokenizer::decode_after`] or [`Tokenizer::stream`].
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

    /// One more than the largest token id: the smallest vocabulary a model must have.
    pub fn vocab_size(&self) -> usize {
        match self.kind {
            Kind::Bytes => bytes::VOCAB_SIZE,
            Kind::Absent { .. } => 0,
            Kind::File { vocab_size, .. } => vocab_size,
        }
    }

    /// The token to put before every text, where there is one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that the settings call BOS, whether or not it is put before a text.
    pub(crate) fn named_bos(&self) -> Option<u32> {
        let name = self.settings.as_ref()?.get("bos_token")?;
        self.id(file_parts::token_name(name)?)
    }

    /// The token that ends a text, where there is one.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The same tokenizer whose texts end with `eos`.
    #[must_use]
    pub fn with_eos(mut self, eos: u32) -> Self {
        self.eos = Some(eos);
        self
    }

    /// Whether this is the byte tokenizer.
    pub fn is_bytes(&self) -> bool {
        matches!(self.kind, Kind::Bytes)
    }

    /// The id of the token called `name`, special tokens included.
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

    /// The same tokenizer for a model of `vocab_size` tokens, without the BOS and EOS that such a model does not have.
    #[must_use]
    pub fn for_vocabulary(mut self, vocab_size: usize) -> Self {
        let known = |id: &u32| (*id as usize) < vocab_size;
        self.bos = self.bos.filter(known);
        self.eos = self.eos.filter(known);
        self
    }

    /// As [`Tokenizer::decode`], with special tokens written by their names.
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

    /// The token's name in the vocabulary.
    pub fn name(&self, id: u32) -> Option<String> {
        match &self.kind {
            Kind::Bytes => bytes::special_name(id).map(str::to_owned),
            Kind::Absent { .. } => None,
            Kind::File { inner, .. } => inner.id_to_token(id),
        }
    }

    /// The text of the `tokenizer.json`.
    fn json(&self) -> String {
        match &self.kind {
            Kind::Bytes => format!("{:#}\n", bytes::file()),
            Kind::Absent { .. } => String::new(),
            Kind::File { json, .. } => json.clone(),
        }
    }
}

/// The tokenizer that a `tokenizer.json` describes, without its truncation, its padding and its dropout; and what to say of that.
fn plain(json: &str) -> Result<(tokenizers::Tokenizer, Vec<String>)> {
    let refused = |error| Error::tokenizer(format!("not a usable tokenizer.json: {error}"));
    let (certain, remarks) = additions::without_dropout(json);
    let mut inner = tokenizers::Tokenizer::from_bytes(certain.as_deref().unwrap_or(json)).map_err(refused)?;
    inner.with_truncation(None).map_err(refused)?;
    inner.with_padding(None);
    Ok((inner, remarks))
}

/// One more than the largest token id.
fn vocab_size(inner: &tokenizers::Tokenizer) -> Option<usize> {
    inner.get_vocab(true).into_values().max().map(|largest| largest as usize + 1)
}

fn missing(folder: &Path) -> Error {
    let reason = "there is no tokenizer in this folder (tokenizer.json, or vocab.json with merges.txt), so text has no tokens: copy the \
                  model's tokenizer there, or give token ids where the command takes them";
    Error::tokenizer(reason).at(folder)
}

/// Token ids as a text, with a space between them.
fn numbers(tokens: &[u32]) -> String {
    tokens.iter().map(|token| format!("{token} ")).collect()
}

fn ids(inner: &tokenizers::Tokenizer, text: &str, add_special: bool) -> Result<Vec<u32>> {
    Ok(encoding(contained(|| inner.encode_fast(text, add_special)))?.get_ids().to_vec())
}

/// What the tokenizer gave, where it gave anything.
fn encoding(encoded: Option<tokenizers::Result<tokenizers::Encoding>>) -> Result<tokenizers::Encoding> {
    encoded.ok_or_else(defect)?.map_err(|error| Error::tokenizer(format!("cannot encode: {error}")))
}

fn text(inner: &tokenizers::Tokenizer, tokens: &[u32], skip_special: bool) -> Result<String> {
    let decoded = contained(|| inner.decode(tokens, skip_special));
    decoded.ok_or_else(defect)?.map_err(|error| Error::tokenizer(format!("cannot decode: {error}")))
}

/// Of a file that could be read, and that says something impossible all the same.
fn defect() -> Error {
    Error::tokenizer("its tokenizer.json is inconsistent: no text can be encoded or decoded with it")
}

/// The one token that the post-processor puts before a text.
fn leading_token(inner: &tokenizers::Tokenizer) -> Result<Option<u32>> {
    // Any text that has tokens will do; a vocabulary may lack either of these.
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

/// Reads `path`, naming it in any error.
fn read_text(path: &Path) -> Result<String> {
    crate::files::read_text(path, crate::files::TOKENIZER)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod tests_support;
