//! The messages of a conversation. Their keys are kept, so that the chat template can read them.

use super::jsonl::{Row, kind};
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};

/// The speaker of a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions before the conversation.
    System,
    /// The person; also called "human".
    User,
    /// The model; also called "gpt".
    Assistant,
    /// Somebody else, such as "tool". Chat templates decide what they write for such a message. Transcripts cannot write it.
    Other(String),
}

impl Role {
    /// Returns the role's name in chat templates.
    pub fn name(&self) -> &str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Other(name) => name,
        }
    }

    fn named(name: &str) -> Self {
        match name {
            "system" => Self::System,
            "user" | "human" => Self::User,
            "assistant" | "gpt" => Self::Assistant,
            other => Self::Other(other.to_owned()),
        }
    }

    /// Returns the role of a ShareGPT turn (`from`), which has more names for the same roles.
    fn of_sharegpt(name: &str) -> Self {
        match name {
            "chatgpt" | "bard" | "bing" | "bot" | "model" => Self::Assistant,
            "observation" | "function" | "function_response" => Self::Other("tool".to_owned()),
            other => Self::named(other),
        }
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The speaker.
    pub role: Role,
    /// True unless the row excludes the turn from learning (`weight` 0).
    pub learned: bool,
    /// Everything but the role: `content`, and keys such as `tool_calls`, `name` or `reasoning_content`.
    keys: Map<String, Value>,
}

impl Message {
    /// Makes a turn of a text.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        let keys = Map::from_iter([("content".to_owned(), Value::String(content.into()))]);
        Self { role, learned: true, keys }
    }

    /// Returns the text of the message. A list of parts gives its text parts, and a message without content gives an empty text.
    pub fn text(&self) -> String {
        match self.keys.get("content") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => parts.iter().filter_map(part_text).collect(),
            _ => String::new(),
        }
    }

    /// Iterates over the names of the keys besides `content`.
    pub fn further_keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str).filter(|key| *key != "content")
    }

    /// True if the message is empty: no text, no tool call, no other key.
    pub fn is_empty(&self) -> bool {
        self.part_that_is_no_text().is_none() && self.text().trim().is_empty() && self.further_keys().next().is_none()
    }

    /// True if the content is a list of parts.
    pub fn has_parts(&self) -> bool {
        self.keys.get("content").is_some_and(Value::is_array)
    }

    /// Returns the type of the first content part that is not a text.
    pub fn part_that_is_no_text(&self) -> Option<String> {
        let parts = self.keys.get("content")?.as_array()?;
        let part = parts.iter().find(|part| part_text(part).is_none())?;
        Some(part.get("type").and_then(Value::as_str).unwrap_or("unknown").to_owned())
    }

    /// Replaces the text of the message.
    #[must_use]
    pub fn with_text(mut self, text: String) -> Self {
        self.keys.insert("content".to_owned(), Value::String(text));
        self
    }

    /// Converts the message to the JSON for a chat template. Without `as_parts`, a list of text parts becomes one text.
    pub fn to_json(&self, as_parts: bool) -> Value {
        let mut object = Map::from_iter([("role".to_owned(), json!(self.role.name()))]);
        object.extend(self.keys.clone());
        if !as_parts && object.get("content").is_some_and(Value::is_array) {
            object.insert("content".to_owned(), Value::String(self.text()));
        }
        Value::Object(object)
    }
}

fn part_text(part: &Value) -> Option<&str> {
    part.as_str().or_else(|| part.get("text")?.as_str())
}

/// Reads a list of `{"role", "content"}` (or ShareGPT's `{"from", "value"}`), or one such object.
///
/// # Errors
/// [`Error::BadRow`] for a value that is not a message.
pub(super) fn messages(row: &Row, key: &str, value: &Value) -> Result<Vec<Message>> {
    match value {
        Value::Array(list) => list.iter().map(|turn| message(row, key, turn)).collect(),
        one => Ok(vec![message(row, key, one)?]),
    }
}

fn message(row: &Row, key: &str, turn: &Value) -> Result<Message> {
    let bad = || row.error(format!("{key:?} must hold messages with strings \"role\" and \"content\", not {}", kind(turn)));
    let Value::Object(mut keys) = without_nulls(turn.clone()) else { return Err(bad()) };
    let (name, sharegpt) = match (keys.shift_remove("role"), keys.shift_remove("from")) {
        (Some(Value::String(name)), _) => (name, false),
        (None, Some(Value::String(name))) => (name, true),
        _ => return Err(bad()),
    };
    if name.is_empty() {
        return Err(row.error(format!("{key:?} has a message by nobody: its role is empty")));
    }
    if !keys.contains_key("content")
        && let Some(value) = keys.shift_remove("value")
    {
        keys.insert("content".to_owned(), value);
    }
    let learned = is_learned(row, key, &mut keys)?;
    if sharegpt && name == "function_call" {
        return function_call(row, key, &keys, learned);
    }
    let role = if sharegpt { Role::of_sharegpt(&name) } else { Role::named(&name) };
    match keys.get("content") {
        Some(Value::String(_)) => {}
        Some(Value::Array(parts)) if parts.iter().all(|part| part.is_string() || part.is_object()) => {}
        None if keys.contains_key("tool_calls") => {}
        None if turn.get("content").is_some_and(Value::is_null) && !keys.is_empty() => {}
        _ => return Err(bad()),
    }
    Ok(Message { role, learned, keys })
}

/// True unless `weight` (OpenAI), `train` (Axolotl) or `loss` excludes the turn. These keys are removed, because no template reads them.
fn is_learned(row: &Row, key: &str, keys: &mut Map<String, Value>) -> Result<bool> {
    let mut learned = true;
    for name in ["weight", "train", "loss"] {
        learned &= match keys.shift_remove(name) {
            None => true,
            Some(Value::Bool(learned)) => learned,
            Some(number) if number.as_f64() == Some(0.0) => false,
            Some(number) if number.as_f64() == Some(1.0) => true,
            Some(other) => {
                return Err(row.error(format!("{key:?} has a message with {name:?} {other}: a message is learned (1) or not (0)")));
            }
        };
    }
    Ok(learned)
}

/// Reads ShareGPT's "function_call": the JSON text of one call by the model, or of a list of calls.
fn function_call(row: &Row, key: &str, keys: &Map<String, Value>, learned: bool) -> Result<Message> {
    let text = keys.get("content").and_then(Value::as_str).unwrap_or_default();
    let calls = match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(calls)) => calls,
        Ok(call) => vec![call],
        Err(_) => Vec::new(),
    };
    if calls.is_empty() || !calls.iter().all(|call| call.get("name").is_some_and(Value::is_string)) {
        let reason = format!("{key:?} has a function_call that is not the JSON of a call with \"name\" and \"arguments\"");
        return Err(row.error(reason));
    }
    let calls: Vec<Value> = calls.into_iter().map(|call| json!({"type": "function", "function": call})).collect();
    let keys = Map::from_iter([("tool_calls".to_owned(), Value::Array(calls))]);
    Ok(Message { role: Role::Assistant, learned, keys })
}

/// Removes the keys that are null, because tables fill missing values with nulls.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(keys) => {
            let kept = keys.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// Makes an error about a row, like [`Row::error`], if the error does not name the row itself.
pub(super) fn in_row(row: &Row, error: Error) -> Error {
    match error {
        Error::ChatTemplate { reason, .. } => row.error(reason),
        other => other,
    }
}
