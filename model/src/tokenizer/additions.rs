//! The changes that the files beside `tokenizer.json` make to a tokenizer, as transformers applies them.
//!
//! `tokenizer_config.json` may change three things:
//!
//! - add tokens (`added_tokens_decoder`),
//! - give tokens a role (`bos_token` …),
//! - set `add_prefix_space`.
//!
//! transformers 4 wrote the first two into `added_tokens.json` and `special_tokens_map.json`. Every key of `tokenizer_config.json` is used,
//! known not to matter ([`KNOWN`]), or named in a remark.

use super::file_parts::token_name;
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use tokenizers::{AddedToken, PreTokenizerWrapper, Tokenizer};

/// Keys that are used here, in `folder.rs` or by chat templates.
const USED: [&str; 8] = [
    "added_tokens_decoder",
    "add_bos_token",
    "add_prefix_space",
    "bos_token",
    "eos_token",
    "chat_template",
    "tokenizer_class",
    "additional_special_tokens",
];

/// Keys that do not change the ids of a text:
///
/// - sides and lengths of padding and truncation, which transformers applies only on request,
/// - the spacing of decoded text,
/// - the origin of files,
/// - for tokenizers with a `tokenizer.json`, how it was made from another form.
const KNOWN: [&str; 48] = [
    "added_tokens_count",
    "auto_map",
    "backend",
    "clean_up_tokenization_spaces",
    "clean_up_tokenization",
    "cls_token",
    "device_map",
    "errors",
    "extra_ids",
    "extra_special_tokens",
    "fix_mistral_regex",
    "image_token",
    "is_local",
    "legacy",
    "local_files_only",
    "mask_token",
    "max_length",
    "max_len",
    "merges_file",
    "model_input_names",
    "model_max_length",
    "model_specific_special_tokens",
    "name_or_path",
    "pad_token",
    "pad_token_type_id",
    "pad_to_multiple_of",
    "padding_side",
    "processor_class",
    "response_schema",
    "return_token_type_ids",
    "sep_token",
    "sp_model_kwargs",
    "spaces_between_special_tokens",
    "special_tokens_map_file",
    "stride",
    "tokenizer_file",
    "tokenizer_version",
    "transformers_version",
    "trim_offsets",
    "truncation_side",
    "truncation_strategy",
    "trust_remote_code",
    "unk_token",
    "use_default_system_prompt",
    "use_fast",
    "vocab_file",
    "vocab_size",
    "_commit_hash",
];

/// The contents of the files beside a `tokenizer.json`.
pub struct Files<'a> {
    /// `tokenizer_config.json`.
    pub settings: &'a Map<String, Value>,
    /// `special_tokens_map.json`.
    pub roles: Option<&'a Map<String, Value>>,
    /// `added_tokens.json`.
    pub added: Option<&'a Map<String, Value>>,
}

/// Applies the files. Returns a sentence for each key that is not used.
///
/// # Errors
/// [`Error::Tokenizer`] for a setting that is not supported, or one that disagrees with `tokenizer.json`.
pub fn apply(inner: &mut Tokenizer, files: &Files) -> Result<Vec<String>> {
    add_tokens(inner, listed(files)?)?;
    add_roles(inner, files)?;
    set_prefix_space(inner, files.settings)?;
    if files.settings.get("split_special_tokens") == Some(&Value::Bool(true)) {
        return Err(Error::tokenizer("split_special_tokens true is not supported: special tokens in a text are single tokens"));
    }
    let mut remarks = Vec::new();
    if files.settings.get("add_eos_token") == Some(&Value::Bool(true)) {
        remarks.push("add_eos_token is not used: EOS is put after completions and documents, never after a prompt".to_owned());
    }
    let judged = ["split_special_tokens", "add_eos_token"];
    let known = |key: &str| USED.contains(&key) || KNOWN.contains(&key) || judged.contains(&key) || key.ends_with("_token");
    let other = files.settings.iter().filter(|(key, value)| !known(key) && !value.is_null());
    remarks.extend(other.map(|(key, _)| format!("{key:?} is not used")));
    Ok(remarks)
}

/// Removes the dropout of the merges from the text of a `tokenizer.json`. With dropout, transformers draws other tokens for the same text
/// at each call. Returns the new text and a remark; `None` if there is no dropout.
pub fn without_dropout(json: &str) -> (Option<String>, Vec<String>) {
    let value = |at: usize| json[at..].trim_start_matches("\"dropout\"").trim_start().trim_start_matches(':').trim_start();
    // Nearly every file says null. Only other values are worth parsing the file a second time.
    if json.match_indices("\"dropout\"").all(|(at, _)| value(at).starts_with("null")) {
        return (None, Vec::new());
    }
    let Ok(mut file) = serde_json::from_str::<Value>(json) else { return (None, Vec::new()) };
    match file.pointer_mut("/model/dropout") {
        Some(dropout) if !dropout.is_null() => {
            let remark = format!("the dropout of its merges, {dropout}, is off: a text has the same tokens each time");
            *dropout = Value::Null;
            (Some(file.to_string()), vec![remark])
        }
        _ => (None, Vec::new()),
    }
}

/// Returns the tokens that `added_tokens_decoder` lists, by id. Without it, `added_tokens.json` lists them.
fn listed(files: &Files) -> Result<BTreeMap<u32, AddedToken>> {
    let bad = |what: &str| Error::tokenizer(format!("{what} is no id with a token"));
    if let Some(Value::Object(decoder)) = files.settings.get("added_tokens_decoder") {
        let entry = |(id, token): (&String, &Value)| {
            let id = id.parse().map_err(|_| bad(&format!("added_tokens_decoder: {id:?}")))?;
            let content = token_name(token).ok_or_else(|| bad(&format!("added_tokens_decoder: {id}")))?;
            let flag = |key: &str| token.get(key).and_then(Value::as_bool);
            let special = flag("special").unwrap_or(false);
            let token = AddedToken::from(content, special)
                .single_word(flag("single_word").unwrap_or(false))
                .lstrip(flag("lstrip").unwrap_or(false))
                .rstrip(flag("rstrip").unwrap_or(false))
                .normalized(flag("normalized").unwrap_or(!special));
            Ok((id, token))
        };
        return decoder.iter().map(entry).collect();
    }
    let special: Vec<&str> = roles(files).collect();
    let entry = |(content, id): (&String, &Value)| {
        let id = id.as_u64().and_then(|id| id.try_into().ok()).ok_or_else(|| bad(&format!("added_tokens.json: {content:?}")))?;
        Ok((id, AddedToken::from(content.as_str(), special.contains(&content.as_str()))))
    };
    files.added.into_iter().flatten().map(entry).collect()
}

/// Adds tokens in the order of their ids. Each must then have the id that its file names.
fn add_tokens(inner: &mut Tokenizer, tokens: BTreeMap<u32, AddedToken>) -> Result<()> {
    for (id, token) in tokens {
        let content = token.content.clone();
        let failed = |error| Error::tokenizer(format!("the token {content:?} cannot be added: {error}"));
        inner.add_tokens([token]).map_err(failed)?;
        match inner.token_to_id(&content) {
            Some(found) if found == id => {}
            found => {
                let found = found.map_or("none".to_owned(), |found| found.to_string());
                return Err(Error::tokenizer(format!("the token {content:?} has the id {id} here, and {found} in tokenizer.json")));
            }
        }
    }
    Ok(())
}

/// Iterates over the tokens that have a role in one of the files.
fn roles<'a>(files: &'a Files) -> impl Iterator<Item = &'a str> {
    let maps = [Some(files.settings), files.roles];
    let entries = maps.into_iter().flatten().flatten();
    entries.filter(|(key, _)| key.ends_with("_token") || *key == "additional_special_tokens").flat_map(|(_, value)| match value {
        Value::Array(list) => list.iter().filter_map(token_name).collect::<Vec<_>>(),
        one => token_name(one).into_iter().collect(),
    })
}

/// Makes tokens with a role special if the vocabulary has them. Their names in a text are then single tokens.
fn add_roles(inner: &mut Tokenizer, files: &Files) -> Result<()> {
    let added = inner.get_added_tokens_decoder();
    let is_new = |name: &&str| inner.token_to_id(name).is_some_and(|id| !added.contains_key(&id));
    let new: Vec<AddedToken> = roles(files).filter(is_new).map(|name| AddedToken::from(name, true)).collect();
    let failed = |error| Error::tokenizer(format!("a special token cannot be added: {error}"));
    inner.add_special_tokens(new).map(|_| ()).map_err(failed)
}

/// Sets `add_prefix_space` if the pre-tokenizer has it.
fn set_prefix_space(inner: &mut Tokenizer, settings: &Map<String, Value>) -> Result<()> {
    let Some(wanted) = settings.get("add_prefix_space").and_then(Value::as_bool) else { return Ok(()) };
    let pre_tokenizer = match inner.get_pre_tokenizer() {
        Some(PreTokenizerWrapper::ByteLevel(byte_level)) => {
            let mut changed = *byte_level;
            changed.add_prefix_space = wanted;
            Some(PreTokenizerWrapper::ByteLevel(changed))
        }
        _ => None,
    };
    match (pre_tokenizer, prepends(inner)) {
        (Some(changed), _) => {
            inner.with_pre_tokenizer(Some(changed));
            Ok(())
        }
        (None, Some(found)) if found != wanted => Err(Error::tokenizer(format!(
            "add_prefix_space is {wanted}, and tokenizer.json does otherwise: load and save it with transformers"
        ))),
        _ => Ok(()),
    }
}

/// True if the tokenizer puts a space before a text. `None` if its parts do not say.
fn prepends(inner: &Tokenizer) -> Option<bool> {
    let has = |value: &Value, kind: &str| value.get("type").and_then(Value::as_str) == Some(kind);
    let parts = |part: Value, list: &str| part.get(list).and_then(Value::as_array).cloned().unwrap_or_else(|| vec![part]);
    let normalizer = serde_json::to_value(inner.get_normalizer()).ok()?;
    if parts(normalizer, "normalizers").iter().any(|part| has(part, "Prepend")) {
        return Some(true);
    }
    let pre_tokenizers = parts(serde_json::to_value(inner.get_pre_tokenizer()).ok()?, "pretokenizers");
    let metaspace = pre_tokenizers.iter().find(|part| has(part, "Metaspace"))?;
    Some(metaspace.get("prepend_scheme").and_then(Value::as_str) != Some("never"))
}
