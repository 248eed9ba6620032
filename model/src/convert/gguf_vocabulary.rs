//! A tokenizer inside a GGUF file: its `tokenizer.json` whole, and for the kinds that llama.cpp has, its own lists of tokens and merges.

use super::gguf_tokenizer::{BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, pre_tokenizer_name};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::gguf::writer::Writer;
use crate::tokenizer::Tokenizer;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Adds the tokenizer. Returns the writer with a sentence about what llama.cpp cannot have of it.
///
/// # Errors
/// [`Error::Tokenizer`] if its file is not JSON.
pub fn write(writer: Writer, tokenizer: &Tokenizer, config: &Config) -> Result<(Writer, Vec<String>)> {
    let mut writer = writer;
    for (name, id) in [("bos", config.bos), ("eos", config.eos.first().copied())] {
        if let Some(id) = id {
            writer = writer.integer(&format!("tokenizer.ggml.{name}_token_id"), id);
        }
    }
    if tokenizer.is_absent() {
        return Ok((writer, vec!["the model has no tokenizer, so the file has none".to_owned()]));
    }
    let text = tokenizer.json();
    let file: Json = serde_json::from_str(&text).map_err(Error::json("tokenizer.json"))?;
    writer = writer.text("tokenizer.huggingface.json", &text);
    if let Some(template) = tokenizer.chat_template_text() {
        writer = writer.text("tokenizer.chat_template", template);
    }
    let Some(kind) = Kind::of(&file) else {
        let remark = "llama.cpp has no name for how this tokenizer cuts a text: other programs than slpo may find no tokenizer in the file";
        return Ok((writer, vec![remark.to_owned()]));
    };
    let adds_bos = config.bos.is_some() && tokenizer.encode("")?.first().copied() == config.bos;
    writer = writer.flag("tokenizer.ggml.add_bos_token", adds_bos);
    Ok((kind.write(writer, &file, config), Vec::new()))
}

/// The kinds that both programs have.
enum Kind {
    /// SentencePiece BPE. A word begins with a space if the flag says so.
    Pieces { add_space: bool },
    /// Byte-level BPE, under llama.cpp's name for how a text is cut first.
    ByteLevel { pre: &'static str },
}

impl Kind {
    fn of(file: &Json) -> Option<Self> {
        let model = &file["model"];
        if model["type"] != "BPE" {
            return None;
        }
        if model["byte_fallback"] == true {
            let normalizer = file["normalizer"].to_string();
            return Some(Self::Pieces { add_space: normalizer.contains("Prepend") || file["pre_tokenizer"]["type"] == "Metaspace" });
        }
        pre_tokenizer_name(file).map(|pre| Self::ByteLevel { pre })
    }

    fn write(&self, writer: Writer, file: &Json, config: &Config) -> Writer {
        let names = names(file, config.vocab_size);
        let kinds: Vec<i32> = names.iter().map(|(name, kind)| self.number(name, *kind, file) as i32).collect();
        let texts: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        let writer = writer.texts("tokenizer.ggml.tokens", &texts).integers("tokenizer.ggml.token_type", &kinds);
        let merges = merges(file);
        match self {
            Self::ByteLevel { pre } => {
                let merges: Vec<String> = merges.iter().map(|[left, right]| format!("{left} {right}")).collect();
                let merges: Vec<&str> = merges.iter().map(String::as_str).collect();
                writer.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", pre).texts("tokenizer.ggml.merges", &merges)
            }
            Self::Pieces { add_space } => {
                // The pair whose token scores highest is merged first: an earlier merge scores higher.
                let mut ranks: BTreeMap<String, f32> = BTreeMap::new();
                for (rank, [left, right]) in merges.iter().enumerate() {
                    ranks.entry(format!("{left}{right}")).or_insert(-(rank as f32));
                }
                let scores: Vec<f32> = names.iter().map(|(name, _)| ranks.get(name).copied().unwrap_or(0.0)).collect();
                writer
                    .text("tokenizer.ggml.model", "llama")
                    .text("tokenizer.ggml.pre", "default")
                    .floats("tokenizer.ggml.scores", &scores)
                    .flag("tokenizer.ggml.add_space_prefix", *add_space)
            }
        }
    }

    fn number(&self, name: &str, added: Option<bool>, file: &Json) -> u64 {
        match added {
            _ if matches!(self, Self::Pieces { .. }) && file["model"]["unk_token"] == name => UNKNOWN,
            Some(true) => CONTROL,
            Some(false) => USER_DEFINED,
            None if matches!(self, Self::Pieces { .. }) && name.len() == 6 && name.starts_with("<0x") => BYTE,
            None => NORMAL,
        }
    }
}

/// The names of all tokens by id. An added token says whether it is special. Rows of the embedding without a token get a name of their own.
fn names(file: &Json, vocabulary: usize) -> Vec<(String, Option<bool>)> {
    let mut names: Vec<(String, Option<bool>)> = (0..vocabulary).map(|id| (format!("[PAD{id}]"), Some(false))).collect();
    let mut put = |name: &str, id: Option<u64>, added: Option<bool>| {
        if let Some(slot) = id.and_then(|id| names.get_mut(id as usize)) {
            *slot = (name.to_owned(), added);
        }
    };
    for (name, id) in file["model"]["vocab"].as_object().into_iter().flatten() {
        put(name, id.as_u64(), None);
    }
    for token in file["added_tokens"].as_array().into_iter().flatten() {
        put(token["content"].as_str().unwrap_or_default(), token["id"].as_u64(), Some(token["special"] == true));
    }
    names
}

/// The merges, written as pairs or as two names with a space between them.
fn merges(file: &Json) -> Vec<[String; 2]> {
    let pair = |merge: &Json| match merge {
        Json::String(text) => text.split_once(' ').map(|(left, right)| [left.to_owned(), right.to_owned()]),
        Json::Array(parts) => match &parts[..] {
            [Json::String(left), Json::String(right)] => Some([left.clone(), right.clone()]),
            _ => None,
        },
        _ => None,
    };
    file["model"]["merges"].as_array().into_iter().flatten().filter_map(pair).collect()
}
