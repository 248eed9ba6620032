//! GPT-2's own two files: a vocabulary in JSON and a list of merges, most frequent first.

use super::file_parts::added_token;
use super::{Tokenizer, read_text};
use crate::error::{Error, Result};
use crate::files::is_there;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Finds the pair of files in `folder`, under Hugging Face's names or OpenAI's.
///
/// # Errors
/// The errors of [`is_there`].
pub fn in_folder(folder: &Path) -> Result<Option<(PathBuf, PathBuf)>> {
    for (vocab, merges) in [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")] {
        let (vocab, merges) = (folder.join(vocab), folder.join(merges));
        if is_there(&vocab)? && is_there(&merges)? {
            return Ok(Some((vocab, merges)));
        }
    }
    Ok(None)
}

/// Reads the vocabulary (`{"token": id}`) and the merges (one pair a line, after a `#version` line) into GPT-2's byte-level BPE. EOS is
/// `<|endoftext|>` if the vocabulary has it.
///
/// # Errors
/// [`Error::Io`], [`Error::Json`], [`Error::BadRow`] for a line that is not a pair, [`Error::Tokenizer`].
pub fn read(vocab: &Path, merges: &Path) -> Result<Tokenizer> {
    let ids: Map<String, Value> = serde_json::from_str(&read_text(vocab)?).map_err(Error::json(vocab))?;
    let pairs = read_merges(merges)?;
    let end = "<|endoftext|>";
    let end_id = ids.get(end).and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
    let added: Vec<Value> = end_id.iter().map(|&id| added_token(end, id)).collect();
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true,
    });
    let file = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": null,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "vocab": ids, "merges": pairs,
        },
    });
    Tokenizer::from_json(file.to_string()).map_err(|error| error.at(vocab))
}

fn read_merges(path: &Path) -> Result<Vec<[String; 2]>> {
    let text = read_text(path)?;
    let is_version = |line: usize, text: &str| line == 1 && text.starts_with("#version");
    let lines = (1..).zip(text.lines()).filter(|&(line, text)| !(text.is_empty() || is_version(line, text)));
    lines
        .map(|(line, text)| match text.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => Ok([left.to_owned(), right.to_owned()]),
            _ => Err(Error::BadRow { path: path.to_owned(), line, reason: "a merge is two tokens with one space between them".to_owned() }),
        })
        .collect()
}
