//! A SentencePiece BPE vocabulary as a `tokenizer.json`.
//!
//! SentencePiece repeatedly merges the neighbours whose union has the highest score. A `tokenizer.json` has a list of merges instead, so
//! the list is built here. Every split of a piece into two pieces is a merge, ranked by the score of the piece.

use crate::error::{Error, Result};
use crate::tokenizer::file_parts::{added_token, leading_token_template};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The character that stands for a space.
pub const SPACE: &str = "\u{2581}";
/// The longest piece, in characters. Every split of a piece is tried, and a longer piece is a sign of damage.
const LONGEST_PIECE: usize = 1 << 10;

/// The kind of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceKind {
    /// Text, made by merging.
    Normal,
    /// A marker such as BOS, which has no text.
    Control,
    /// Text that its author wants kept whole.
    UserDefined,
    /// One byte, written `<0x0A>`, for text that no piece covers.
    Byte,
}

/// An entry of the vocabulary. Its index is its id.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The name, with ▁ for spaces.
    pub name: String,
    /// The rank in merging: pieces with higher scores are merged first.
    pub score: f32,
    /// The kind of the piece.
    pub kind: PieceKind,
}

/// The settings that the pieces do not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The id for text that neither pieces nor bytes cover.
    pub unknown: Option<usize>,
    /// The id that is put before every text.
    pub bos: Option<usize>,
    /// True if a space is put before every text.
    pub add_space: bool,
}

/// Writes the text of the `tokenizer.json`.
///
/// # Errors
/// [`Error::Tokenizer`] if two pieces have one name, a score is not finite, or a piece is longer than any real one.
pub fn tokenizer_json(pieces: &[Piece], settings: &Settings) -> Result<String> {
    let ids = ids(pieces)?;
    let vocab: Map<String, Value> = pieces.iter().enumerate().map(|(id, piece)| (piece.name.clone(), json!(id))).collect();
    let added = pieces.iter().zip(0..).filter_map(|(piece, id)| added(piece, id)).collect::<Vec<_>>();
    let name = |id: Option<usize>| id.and_then(|id| pieces.get(id)).map(|piece| piece.name.as_str());
    let mut normalizers = vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})];
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if settings.add_space {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": SPACE}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let byte_fallback = pieces.iter().any(|piece| piece.kind == PieceKind::Byte);
    let leading = settings.bos.zip(name(settings.bos)).map(|(id, name)| leading_token_template(name, id as u32));
    let file = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": null,
        "post_processor": leading,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": name(settings.unknown), "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": byte_fallback,
            "vocab": vocab, "merges": merges(pieces, &ids),
        },
    });
    Ok(file.to_string())
}

fn ids(pieces: &[Piece]) -> Result<HashMap<&str, usize>> {
    let mut ids = HashMap::new();
    for (id, piece) in pieces.iter().enumerate() {
        if !piece.score.is_finite() {
            return Err(Error::tokenizer(format!("token {id} has the score {}", piece.score)));
        }
        if piece.name.len() > LONGEST_PIECE {
            return Err(Error::tokenizer(format!("token {id} has {} bytes, which no real token has", piece.name.len())));
        }
        if let Some(other) = ids.insert(piece.name.as_str(), id) {
            return Err(Error::tokenizer(format!("tokens {other} and {id} are both {:?}", piece.name)));
        }
    }
    Ok(ids)
}

/// Returns the entry of a piece that is found in a text before merging. Other pieces have no entry.
fn added(piece: &Piece, id: u32) -> Option<Value> {
    let mut entry = added_token(&piece.name, id);
    match piece.kind {
        PieceKind::Control => {}
        PieceKind::UserDefined => entry["special"] = json!(false),
        PieceKind::Normal | PieceKind::Byte => return None,
    }
    Some(entry)
}

/// Returns every split of a piece into two pieces, by falling score of the piece. Splits of one piece are sorted by the ids of their parts.
fn merges<'a>(pieces: &'a [Piece], ids: &HashMap<&str, usize>) -> Vec<[&'a str; 2]> {
    let normal = |name: &str| ids.get(name).copied().filter(|&id| pieces[id].kind == PieceKind::Normal);
    let mut merges = Vec::new();
    for piece in pieces.iter().filter(|piece| piece.kind == PieceKind::Normal) {
        for (at, _) in piece.name.char_indices().skip(1) {
            let (left, right) = piece.name.split_at(at);
            if let (Some(left_id), Some(right_id)) = (normal(left), normal(right)) {
                merges.push((piece.score, [left_id, right_id], [left, right]));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    merges.into_iter().map(|(.., parts)| parts).collect()
}
