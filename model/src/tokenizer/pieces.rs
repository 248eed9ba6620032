//! Long texts in pieces, for tokenizers that would take a text whole, as those of SentencePiece do: the tokens are the same, on all threads
//! and in little memory.
//!
//! A text is cut after line breaks. Where no token contains a line break beside other characters, no merge of BPE reaches across one, and
//! what is left of it has the tokens that it has alone. What is right of it is tokenized with the line break before it, whose own tokens
//! are then dropped: a normalizer that writes a space before each text writes it there.

use crate::error::Result;
use rayon::prelude::*;
use serde_json::Value;
use tokenizers::{ModelWrapper, Tokenizer};

/// Bytes of a piece. Shorter texts are tokenized at once.
pub const PIECE: usize = 1 << 14;
/// Number of pieces whose tokens are in memory beside those of the text.
const TOGETHER: usize = 256;

/// True if a text may be cut after any line break, and would be one word otherwise.
pub fn may_be_cut(inner: &Tokenizer) -> bool {
    let ModelWrapper::BPE(model) = inner.get_model() else { return false };
    let is_plain = |affix: &Option<String>| affix.as_ref().is_none_or(String::is_empty);
    let has_no_affixes = is_plain(&model.continuing_subword_prefix) && is_plain(&model.end_of_word_suffix) && !model.ignore_merges;
    let vocabulary = model.get_vocab();
    let is_known = vocabulary.contains_key("\n") || (model.byte_fallback && vocabulary.contains_key("<0x0A>"));
    let is_alone = vocabulary.keys().all(|token| token == "\n" || !token.contains('\n'));
    let added = inner.get_added_tokens_decoder();
    let stays_itself =
        |token: &tokenizers::AddedToken| !(token.content.contains('\n') || token.lstrip || token.rstrip || token.single_word);
    let part = |part: serde_json::Result<Value>| part.unwrap_or(Value::Bool(false));
    has_no_affixes
        && is_known
        && is_alone
        && added.values().all(stays_itself)
        && keeps_line_breaks(&part(serde_json::to_value(inner.get_normalizer())))
        && takes_a_text_whole(&part(serde_json::to_value(inner.get_pre_tokenizer())))
}

/// True if this normalizer does the same to both sides of a line break, whether they are together or not.
fn keeps_line_breaks(normalizer: &Value) -> bool {
    let has_none = |value: &Value| value.as_str().is_some_and(|text| !text.contains('\n'));
    match normalizer["type"].as_str() {
        None => normalizer.is_null(),
        Some("Sequence") => normalizer["normalizers"].as_array().is_some_and(|all| all.iter().all(keeps_line_breaks)),
        Some("Prepend") => has_none(&normalizer["prepend"]),
        Some("Replace") => has_none(&normalizer["pattern"]["String"]) && has_none(&normalizer["content"]),
        // A line break composes with nothing.
        Some("NFC" | "NFD" | "NFKC" | "NFKD") => true,
        Some(_) => false,
    }
}

/// True if this pre-tokenizer does not cut a text into words.
fn takes_a_text_whole(pre_tokenizer: &Value) -> bool {
    pre_tokenizer.is_null() || (pre_tokenizer["type"] == "Metaspace" && pre_tokenizer["split"] == false)
}

/// Returns the tokens of a text that may be cut, or `None` if a line break has other tokens before some piece than alone. `encode`
/// tokenizes a piece.
pub fn encode(text: &str, piece: usize, encode: impl Fn(&str) -> Result<Vec<u32>> + Sync) -> Result<Option<Vec<u32>>> {
    let line_break = encode("\n")?;
    let mut tokens = Vec::new();
    for (number, pieces) in cut(text, piece).chunks(TOGETHER).enumerate() {
        let encoded: Vec<Result<Vec<u32>>> = pieces.par_iter().map(|piece| encode(piece)).collect();
        for (place, piece) in encoded.into_iter().enumerate() {
            let piece = piece?;
            match piece.strip_prefix(line_break.as_slice()) {
                _ if (number, place) == (0, 0) => tokens = piece,
                Some(piece) => tokens.extend_from_slice(piece),
                None => return Ok(None),
            }
        }
    }
    Ok(Some(tokens))
}

/// Cuts a text after line breaks into pieces of about `piece` bytes. Each but the first begins with the line break before it.
fn cut(text: &str, piece: usize) -> Vec<&str> {
    let (mut pieces, mut start) = (Vec::new(), 0);
    while start < text.len() {
        let bytes = &text.as_bytes()[start..];
        let is_break = |byte: &u8| *byte == b'\n';
        let length = match bytes[..bytes.len().min(piece)].iter().rposition(is_break) {
            _ if bytes.len() <= piece => bytes.len(),
            Some(place) => place + 1,
            None => bytes.iter().position(is_break).map_or(bytes.len(), |place| place + 1),
        };
        pieces.push(&text[start.saturating_sub(1)..start + length]);
        start += length;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Generator;
    use serde_json::json;

    fn added(id: usize, content: &str) -> Value {
        let mut token = json!({"id": id, "content": content, "normalized": false, "special": true});
        ["single_word", "lstrip", "rstrip"].into_iter().for_each(|key| token[key] = json!(false));
        token
    }

    /// A tokenizer of SentencePiece's kind: bytes, some letters, some merges.
    fn file() -> Value {
        let mut vocabulary = serde_json::Map::new();
        let bytes = (0..256).map(|byte| format!("<0x{byte:02X}>"));
        let others = ["▁", "a", "b", "c", "ab", "▁a", "abc", "▁abc", "é", "cc"].map(str::to_owned);
        let names = ["<unk>", "<s>", "</s>"].map(str::to_owned).into_iter().chain(bytes).chain(others);
        names.enumerate().for_each(|(id, name)| drop(vocabulary.insert(name, json!(id))));
        json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
            "pre_tokenizer": null, "post_processor": null, "decoder": null,
            "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null, "end_of_word_suffix": null,
                "fuse_unk": true, "byte_fallback": true, "vocab": vocabulary,
                "merges": [["a", "b"], ["▁", "a"], ["ab", "c"], ["▁", "abc"], ["c", "c"]]}
        })
    }

    fn tokenizer(file: &Value) -> Tokenizer {
        Tokenizer::from_bytes(file.to_string()).unwrap()
    }

    #[test]
    fn the_tokens_are_those_of_the_whole_text_wherever_it_is_cut() {
        let mut metaspace = file();
        metaspace["normalizer"] = json!({"type": "NFKC"});
        metaspace["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
        let mut generator = Generator::new(7);
        let parts = ["a", "b", "c", " ", "\n", "\n\n", "é", "e\u{301}", "東", "</s>", "<s>", "abc", " abc", "\u{301}", "\t", "\r"];
        for file in [file(), metaspace] {
            let inner = tokenizer(&file);
            assert!(may_be_cut(&inner));
            for case in 0..300 {
                let text: String = (0..case / 2).map(|_| parts[generator.below(parts.len())]).collect();
                let ids = |text: &str| Ok(inner.encode_fast(text, false).unwrap().get_ids().to_vec());
                let whole = ids(&text).unwrap();
                for piece in [1, 2, 7, 50, 1000] {
                    assert_eq!(encode(&text, piece, ids).unwrap().as_ref(), Some(&whole), "{text:?} in pieces of {piece}");
                }
            }
        }
    }

    #[test]
    fn pieces_are_the_text_and_end_at_line_breaks() {
        assert_eq!(cut("ab\ncd\nef", 4), ["ab\n", "\ncd\n", "\nef"]);
        assert_eq!(cut("abcdef\n\nx", 3), ["abcdef\n", "\n\nx"]);
        assert_eq!(cut("no break in it", 3), ["no break in it"]);
        assert!(cut("", 3).is_empty());
    }

    #[test]
    fn a_tokenizer_for_which_a_cut_might_matter_is_left_alone() {
        let id = file()["model"]["vocab"].as_object().unwrap().len();
        type Change = fn(&mut Value, usize);
        let changes: [Change; 11] = [
            |file, id| file["model"]["vocab"]["\na"] = json!(id),
            |file, _| file["model"]["end_of_word_suffix"] = json!("</w>"),
            |file, _| file["model"]["ignore_merges"] = json!(true),
            |file, _| file["model"]["byte_fallback"] = json!(false),
            |file, _| file["added_tokens"][2]["rstrip"] = json!(true),
            |file, _| file["added_tokens"][2]["single_word"] = json!(true),
            |file, id| file["added_tokens"][2] = added(id, "\n\n"),
            |file, _| file["normalizer"] = json!({"type": "Strip", "strip_left": true, "strip_right": true}),
            |file, _| file["normalizer"]["normalizers"][1] = json!({"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": "▁"}),
            |file, _| file["normalizer"]["normalizers"][1]["pattern"]["String"] = json!("\n"),
            |file, _| file["pre_tokenizer"] = json!({"type": "Whitespace"}),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut file = file();
            change(&mut file, id);
            assert!(!may_be_cut(&tokenizer(&file)), "change {number}");
        }
    }
}
