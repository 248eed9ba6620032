//! The tokenizer inside a GGUF file as a `tokenizer.json`, for the kinds whose text splitting is known exactly.
//!
//! | `tokenizer.ggml.model` | what it is |
//! |---|---|
//! | `llama` | SentencePiece BPE with scores |
//! | `gpt2` | byte-level BPE with merges; `tokenizer.ggml.pre` names how a text is cut first: gpt-2, llama-bpe and qwen2 are known |

use super::sentencepiece::{self, Piece, PieceKind, Settings};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};
use crate::tokenizer::Tokenizer;
use crate::tokenizer::file_parts::{added_token, leading_token_template};
use serde_json::{Map, Value as Json, json};

/// ggml's numbers for the kinds of tokens.
pub(super) const NORMAL: u64 = 1;
pub(super) const UNKNOWN: u64 = 2;
pub(super) const CONTROL: u64 = 3;
pub(super) const USER_DEFINED: u64 = 4;
pub(super) const BYTE: u64 = 6;

/// A tokenizer, or the reason why there is none.
pub type Found = Result<Tokenizer, String>;

/// Reads the file's tokenizer. A kind that is not known exactly is no error: the inner `Err` gives the reason in a few words.
///
/// # Errors
/// [`Error::Tokenizer`] if the file has a tokenizer of a known kind that is damaged.
pub fn read(file: &Gguf) -> Result<Found> {
    if let Some(json) = file.get("tokenizer.huggingface.json").and_then(Value::text) {
        return Tokenizer::from_json(json.to_owned()).map(|tokenizer| Ok(with_ends(file, tokenizer)));
    }
    let json = match file.get("tokenizer.ggml.model").and_then(Value::text) {
        Some("llama") => sentencepiece(file)?,
        Some("gpt2") => match pre_tokenizer(file.get("tokenizer.ggml.pre").and_then(Value::text)) {
            Ok(cut) => byte_level(file, cut)?,
            Err(reason) => return Ok(Err(reason)),
        },
        Some(other) => return Ok(Err(format!("its kind {other:?} cannot be written exactly (llama and gpt2 can)"))),
        None => return Ok(Err("the file has none".to_owned())),
    };
    Tokenizer::from_json(json).map(|tokenizer| Ok(with_ends(file, tokenizer)))
}

fn with_ends(file: &Gguf, tokenizer: Tokenizer) -> Tokenizer {
    let eos = id(file, "eos").and_then(|id| u32::try_from(id).ok());
    match eos {
        Some(eos) => tokenizer.with_eos(eos),
        None => tokenizer,
    }
}

fn id(file: &Gguf, name: &str) -> Option<usize> {
    let id = file.get(&format!("tokenizer.ggml.{name}_token_id"))?.unsigned()?;
    usize::try_from(id).ok()
}

fn flag(file: &Gguf, key: &str, default: bool) -> bool {
    file.get(&format!("tokenizer.ggml.{key}")).and_then(Value::flag).unwrap_or(default)
}

/// Returns the names and kinds of the tokens.
fn tokens<'a>(file: &'a Gguf) -> Result<Vec<(&'a str, u64)>> {
    let array = |key: &str| file.get(&format!("tokenizer.ggml.{key}")).and_then(Value::array);
    let names = array("tokens").ok_or_else(|| Error::tokenizer("tokenizer.ggml.tokens is missing"))?;
    let names: Option<Vec<&str>> = names.iter().map(|name| name.text()).collect();
    let names = names.ok_or_else(|| Error::tokenizer("tokenizer.ggml.tokens holds something other than texts"))?;
    let Some(kinds) = array("token_type") else {
        return Ok(names.into_iter().map(|name| (name, NORMAL)).collect());
    };
    if kinds.len() != names.len() as u64 {
        let reason = format!("tokenizer.ggml.token_type has {} entries for {} tokens", kinds.len(), names.len());
        return Err(Error::tokenizer(reason));
    }
    Ok(names.into_iter().zip(kinds.iter().map(|kind| kind.unsigned().unwrap_or(NORMAL))).collect())
}

fn sentencepiece(file: &Gguf) -> Result<String> {
    let tokens = tokens(file)?;
    let scores = file.get("tokenizer.ggml.scores").and_then(Value::array).filter(|scores| scores.len() == tokens.len() as u64);
    let scores = scores.ok_or_else(|| Error::tokenizer("tokenizer.ggml.scores is missing, or has another length than the tokens"))?;
    let unknown = id(file, "unknown").or_else(|| tokens.iter().position(|(_, kind)| *kind == UNKNOWN));
    let kind = |id: usize, kind: u64| match kind {
        CONTROL => PieceKind::Control,
        USER_DEFINED => PieceKind::UserDefined,
        BYTE => PieceKind::Byte,
        _ if Some(id) == unknown => PieceKind::Control,
        _ => PieceKind::Normal,
    };
    let pieces = tokens.into_iter().zip(scores.iter()).enumerate();
    let pieces: Vec<Piece> = pieces
        .map(|(id, ((name, number), score))| Piece {
            name: name.to_owned(),
            score: score.number().unwrap_or(f64::NAN) as f32,
            kind: kind(id, number),
        })
        .collect();
    let bos = if flag(file, "add_bos_token", true) { id(file, "bos") } else { None };
    let settings = Settings { unknown, bos, add_space: flag(file, "add_space_prefix", true) };
    sentencepiece::tokenizer_json(&pieces, &settings)
}

/// The way in which a text is cut before merging: a normalizer, a regular expression (`None` for GPT-2's own), and whether whole tokens
/// come before merges.
struct Cut {
    normalizer: Json,
    pattern: Option<&'static str>,
    whole_first: bool,
}

/// Llama 3's regular expression, as in transformers' `LlamaConverter` of the tiktoken kind.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen 2's regular expression: like Llama 3's, but one digit at a time.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

fn pre_tokenizer(name: Option<&str>) -> Result<Cut, String> {
    match name {
        Some("gpt-2") => Ok(Cut { normalizer: Json::Null, pattern: None, whole_first: false }),
        Some("llama-bpe" | "llama3" | "llama-v3") => Ok(Cut { normalizer: Json::Null, pattern: Some(LLAMA3), whole_first: true }),
        Some("qwen2") => Ok(Cut { normalizer: json!({"type": "NFC"}), pattern: Some(QWEN2), whole_first: false }),
        Some(other) => Err(format!("how it cuts a text ({other:?}) is not known exactly (gpt-2, llama-bpe and qwen2 are)")),
        None => Err("the file does not say how it cuts a text (tokenizer.ggml.pre)".to_owned()),
    }
}

/// Returns llama.cpp's name for how a byte-level tokenizer cuts a text first, if it is one of those above.
pub fn pre_tokenizer_name(file: &Json) -> Option<&'static str> {
    let pre = &file["pre_tokenizer"];
    let parts: Vec<&Json> = match pre["pretokenizers"].as_array() {
        Some(parts) => parts.iter().collect(),
        None => vec![pre],
    };
    let is_byte_level =
        |part: &Json, cuts: bool| part["type"] == "ByteLevel" && part["use_regex"] != !cuts && part["add_prefix_space"] != true;
    match parts[..] {
        [bytes] if is_byte_level(bytes, true) => Some("gpt-2"),
        [split, bytes]
            if split["type"] == "Split"
                && split["behavior"] == "Isolated"
                && bytes["use_regex"] == false
                && is_byte_level(bytes, false) =>
        {
            match split["pattern"]["Regex"].as_str() {
                Some(LLAMA3) => Some("llama-bpe"),
                Some(QWEN2) => Some("qwen2"),
                _ => None,
            }
        }
        _ => None,
    }
}

fn byte_level(file: &Gguf, cut: Cut) -> Result<String> {
    let tokens = tokens(file)?;
    let merges = file.get("tokenizer.ggml.merges").and_then(Value::array);
    let merges = merges.ok_or_else(|| Error::tokenizer("tokenizer.ggml.merges is missing"))?;
    let pair = |(place, merge): (usize, Value)| {
        let parts = merge.text().and_then(|text| text.split_once(' ').map(|(left, right)| [left.to_owned(), right.to_owned()]));
        parts.ok_or_else(|| Error::tokenizer(format!("tokenizer.ggml.merges: entry {place} is no pair")))
    };
    let merges: Vec<[String; 2]> = merges.iter().enumerate().map(pair).collect::<Result<_>>()?;
    let vocab: Map<String, Json> = tokens.iter().enumerate().map(|(id, (name, _))| ((*name).to_owned(), json!(id))).collect();
    if vocab.len() != tokens.len() {
        return Err(Error::tokenizer("two tokens have the same name"));
    }
    let added = tokens.iter().zip(0..).filter(|((_, kind), _)| [CONTROL, USER_DEFINED].contains(kind));
    let added: Vec<Json> = added
        .map(|((name, kind), id)| {
            let mut entry = added_token(name, id);
            entry["special"] = json!(*kind == CONTROL);
            entry
        })
        .collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": cut.pattern.is_none()});
    let pre_tokenizer = match cut.pattern {
        None => byte_level.clone(),
        Some(pattern) => {
            let split = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
            json!({"type": "Sequence", "pretokenizers": [split, byte_level]})
        }
    };
    // Llama 3 puts BOS before a text, GPT-2 and Qwen do not. The file may override this.
    let bos = if flag(file, "add_bos_token", cut.whole_first) { id(file, "bos") } else { None };
    let leading = bos.and_then(|id| tokens.get(id).map(|(name, _)| leading_token_template(name, id as u32)));
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": cut.normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": leading, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": cut.whole_first, "vocab": vocab, "merges": merges,
        },
    });
    Ok(file.to_string())
}
