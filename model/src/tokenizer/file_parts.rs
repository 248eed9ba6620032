//! Parts of a tokenizer's files that several tokenizers share.

use serde_json::{Value, json};

/// The tokenizer itself.
pub const FILE: &str = "tokenizer.json";
/// The settings, among them which tokens are BOS and EOS.
pub const SETTINGS_FILE: &str = "tokenizer_config.json";

/// Usual names of the token that ends a text, the likeliest first, for folders that do not name one.
pub const USUAL_EOS: [&str; 6] = ["</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>", "<|eos|>", "[SEP]"];

/// Makes an entry of `added_tokens` for a special token.
pub fn added_token(name: &str, id: u32) -> Value {
    json!({
        "id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true,
    })
}

/// Makes the post-processor that puts one token before every text.
pub fn leading_token_template(name: &str, id: u32) -> Value {
    let special = json!({"SpecialToken": {"id": name, "type_id": 0}});
    json!({
        "type": "TemplateProcessing",
        "single": [special, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [
            special, {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": name, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}},
        ],
        "special_tokens": {name: {"id": name, "ids": [id], "tokens": [name]}},
    })
}

/// Returns a token's name. A token is written as its name, or as an object with its name in `content`.
pub fn token_name(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}
