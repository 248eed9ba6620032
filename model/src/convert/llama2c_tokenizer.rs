//! llama2.c's `tokenizer.bin` as a `tokenizer.json`.
//!
//! Little-endian: i32, the length of the longest token, then for each token an f32 score, an i32 length and that many bytes.
//! It is a SentencePiece vocabulary: 0 to 2 are `<unk>`, BOS and EOS, then come the 256 bytes as `<0x00>`…, then pieces whose spaces
//! stand for SentencePiece's ▁. Encoding merges, over and over, the neighbours whose union has the highest score; in
//! `tokenizer.json` that order is a list of merges, so it is rebuilt: every split of a piece into two pieces is a merge,
//! ranked by the score of the piece.

use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use crate::tokenizer::file_parts::{added_token, leading_token_template};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;

const SPACE: &str = "\u{2581}";
const SPECIAL: [&str; 3] = ["<unk>", "<s>", "</s>"];
/// The special tokens and the bytes.
const FIRST_PIECE: usize = 3 + 256;

struct Token {
    text: String,
    score: f32,
}

/// Reads the tokenizer of a model with `vocab_size` tokens.
///
/// # Errors
/// [`Error::Io`]; [`Error::Tokenizer`] where the file is truncated, has another number of tokens or is none of llama2.c's.
pub fn read(path: &Path, vocab_size: usize) -> Result<Tokenizer> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let tokens = tokens(&bytes, vocab_size).map_err(|error| error.at(path))?;
    tokenizer(&tokens).map_err(|error| error.at(path))
}

fn tokens(bytes: &[u8], vocab_size: usize) -> Result<Vec<Token>> {
    let mut rest = bytes;
    take::<4>(&mut rest, 0)?;
    let mut tokens = Vec::new();
    while !rest.is_empty() {
        let id = tokens.len();
        let score = f32::from_le_bytes(take(&mut rest, id)?);
        let length = usize::try_from(i32::from_le_bytes(take(&mut rest, id)?)).unwrap_or(usize::MAX);
        let (text, after) = rest.split_at_checked(length).ok_or_else(|| truncated(id))?;
        rest = after;
        let Ok(text) = str::from_utf8(text) else {
            return Err(Error::tokenizer(format!("token {id} is not UTF-8 text")));
        };
        if !score.is_finite() {
            return Err(Error::tokenizer(format!("token {id} has the score {score}")));
        }
        let text = text.to_owned();
        tokens.push(Token { text, score });
    }
    if tokens.len() != vocab_size {
        let reason = format!("has {} tokens, the model {vocab_size}: truncated, or they do not belong together", tokens.len());
        return Err(Error::tokenizer(reason));
    }
    Ok(tokens)
}

fn take<const N: usize>(rest: &mut &[u8], id: usize) -> Result<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>().ok_or_else(|| truncated(id))?;
    *rest = after;
    Ok(*taken)
}

fn truncated(id: usize) -> Error {
    Error::tokenizer(format!("ends in the middle of token {id}: truncated, or not llama2.c's tokenizer.bin"))
}

fn tokenizer(tokens: &[Token]) -> Result<Tokenizer> {
    let names = names(tokens)?;
    let mut ids = HashMap::new();
    for (id, name) in names.iter().enumerate() {
        if let Some(other) = ids.insert(name.as_str(), id) {
            return Err(Error::tokenizer(format!("tokens {other} and {id} are both {name:?}")));
        }
    }
    let vocab: Map<String, Value> = names.iter().enumerate().map(|(id, name)| (name.clone(), json!(id))).collect();
    let added: Vec<Value> = (0..).zip(SPECIAL).map(|(id, name)| added_token(name, id)).collect();
    let file = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": SPACE},
            {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        ]},
        "pre_tokenizer": null,
        "post_processor": leading_token_template(SPECIAL[1], 1),
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": SPECIAL[0], "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true,
            "vocab": vocab, "merges": merges(tokens, &names, &ids),
        },
    });
    Tokenizer::from_json(file.to_string())
}

/// The tokens as SentencePiece names them.
fn names(tokens: &[Token]) -> Result<Vec<String>> {
    let name = |(id, token): (usize, &Token)| {
        let name = match id {
            // llama2.c writes BOS and EOS with line breaks around them.
            0..3 => token.text.trim().to_owned(),
            _ => token.text.replace(' ', SPACE),
        };
        let expected = match id {
            0..3 => SPECIAL[id].to_owned(),
            3..FIRST_PIECE => format!("<0x{:02X}>", id - 3),
            _ => return Ok(name),
        };
        if name == expected {
            return Ok(name);
        }
        let reason = format!("token {id} should be {expected:?}, not {:?}: not llama2.c's tokenizer.bin", token.text);
        Err(Error::tokenizer(reason))
    };
    tokens.iter().enumerate().map(name).collect()
}

/// Every split of a piece into two pieces, by falling score of the piece; splits of one piece by the ids of their parts.
fn merges<'a>(tokens: &[Token], names: &'a [String], ids: &HashMap<&str, usize>) -> Vec<[&'a str; 2]> {
    let piece = |name: &str| ids.get(name).copied().filter(|&id| id >= FIRST_PIECE);
    let mut merges = Vec::new();
    for (name, token) in names.iter().zip(tokens).skip(FIRST_PIECE) {
        for (at, _) in name.char_indices().skip(1) {
            let (left, right) = name.split_at(at);
            if let (Some(left_id), Some(right_id)) = (piece(left), piece(right)) {
                merges.push((token.score, [left_id, right_id], [left, right]));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    merges.into_iter().map(|(.., parts)| parts).collect()
}
