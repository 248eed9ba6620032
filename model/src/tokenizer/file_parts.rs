//! Parts of a tokenizer's files that several tokenizers share.

use serde_json::{Value, json};

/// The tokenizer itself.
pub const FILE: &str = "tokenizer.json";
/// Which tokens are BOS and EOS, among other settings.
pub const SETTINGS_FILE: &str = "tokenizer_config.json";

/// Names that end a text, the likeliest first, for folders that do not say.
pub const USUAL_EOS: [&str; 6] = ["</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>", "<|eos|>", "[SEP]"];

/// An entry of `added_tokens` for a special token.
pub fn added_token(name: &str, id: u32) -> Value {
    json!({
        "id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true,
    })
}

/// The post-processor that puts one token before every text.
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

/// A token is written as its name, or as an object with its name in `content`.
pub fn token_name(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}
