//! The byte tokenizer, and the `tokenizer.json` that describes it.
//!
//! The file is a byte-level BPE without merges: each byte is written as the printable character that GPT-2 chose for it.

use super::file_parts::{added_token, leading_token_template};
use serde_json::{Map, Value, json};

/// The token before a text.
pub const BYTE_BOS: u32 = 256;
/// The token after a text.
pub const BYTE_EOS: u32 = 257;

pub const VOCAB_SIZE: usize = 258;

const SPECIAL: [(&str, u32); 2] = [("<|bos|>", BYTE_BOS), ("<|eos|>", BYTE_EOS)];

pub fn special_id(name: &str) -> Option<u32> {
    SPECIAL.iter().find(|(known, _)| *known == name).map(|&(_, id)| id)
}

pub fn special_name(id: u32) -> Option<&'static str> {
    SPECIAL.iter().find(|&&(_, known)| known == id).map(|&(name, _)| name)
}

/// Returns the characters that stand for the bytes 0 to 255 in a byte-level vocabulary. A byte whose Latin-1 character is printable has
/// that character. Each other byte has the next character from U+0100 on.
pub fn byte_characters() -> [char; 256] {
    let mut substitutes = '\u{100}'..;
    std::array::from_fn(|byte| match byte as u8 {
        byte @ (b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff) => char::from(byte),
        _ => substitutes.next().unwrap_or(char::REPLACEMENT_CHARACTER),
    })
}

/// Returns the contents of the `tokenizer.json`.
pub fn file() -> Value {
    let characters = byte_characters();
    let bytes = (0..).zip(characters).map(|(id, c): (u32, _)| (c.to_string(), json!(id)));
    let special = SPECIAL.map(|(name, id)| (name.to_owned(), json!(id)));
    let vocab: Map<String, Value> = bytes.chain(special).collect();
    let added = SPECIAL.map(|(name, id)| added_token(name, id));
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false,
    });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": leading_token_template("<|bos|>", BYTE_BOS),
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "vocab": vocab, "merges": [],
        },
    })
}

/// True if the text of a `tokenizer.json` is [`file`].
pub fn is_own_file(json: &str) -> bool {
    json.contains(SPECIAL[0].0) && serde_json::from_str::<Value>(json).is_ok_and(|value| value == file())
}
