//! llama2.c's `tokenizer.bin` as a `tokenizer.json`.
//!
//! The file is little-endian. It holds the length of the longest token as an i32. Then each token has an f32 score, an i32 length and that
//! many bytes.
//!
//! It is a SentencePiece vocabulary. Ids 0 to 2 are `<unk>`, BOS and EOS, then come the 256 bytes as `<0x00>`…, then pieces whose spaces
//! stand for SentencePiece's ▁; see `super::sentencepiece`.

use super::sentencepiece::{self, Piece, PieceKind, SPACE, Settings};
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use std::path::Path;

const SPECIAL: [&str; 3] = ["<unk>", "<s>", "</s>"];
/// The id of the first piece, after the special tokens and the bytes.
const FIRST_PIECE: usize = 3 + 256;

struct Token {
    text: String,
    score: f32,
}

/// Reads the tokenizer of a model with `vocab_size` tokens.
///
/// # Errors
/// [`Error::Io`]. [`Error::Tokenizer`] if the file is truncated, has another number of tokens, or is not one of llama2.c's.
pub fn read(path: &Path, vocab_size: usize) -> Result<Tokenizer> {
    let bytes = crate::files::read(path, crate::files::TOKENIZER)?;
    read_bytes(&bytes, vocab_size).map_err(|error| error.at(path))
}

/// Reads the contents of a tokenizer file for a model with `vocab_size` tokens.
///
/// # Errors
/// [`Error::Tokenizer`] as [`read`], without the file's name.
pub fn read_bytes(bytes: &[u8], vocab_size: usize) -> Result<Tokenizer> {
    tokenizer(&tokens(bytes, vocab_size)?)
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
    let kind = |id| match id {
        0..3 => PieceKind::Control,
        3..FIRST_PIECE => PieceKind::Byte,
        _ => PieceKind::Normal,
    };
    let pieces = (names.into_iter().zip(tokens).enumerate()).map(|(id, (name, token))| Piece { name, score: token.score, kind: kind(id) });
    let settings = Settings { unknown: Some(0), bos: Some(1), add_space: true };
    Tokenizer::from_json(sentencepiece::tokenizer_json(&pieces.collect::<Vec<_>>(), &settings)?)
}

/// Returns the tokens' names as SentencePiece writes them.
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
