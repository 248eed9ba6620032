//! Questions with two answers, as in Intel's ORCA pairs: `question` (or `query`), an optional `system`, and texts `chosen` and `rejected`.

use super::conversations::compare;
use super::reader::{Pair, Reader};
use crate::data::jsonl::Row;
use crate::data::message::{Message, Role, messages};
use crate::error::Result;
use serde_json::Value;

/// True if the row has a question and no prompt, and its answers do not hold the conversation themselves.
pub fn matches(row: &Row) -> bool {
    let first_role = |key: &str| row.keys.get(key)?.get(0)?.get("role")?.as_str();
    let answers = ["chosen", "rejected"].iter().all(|key| first_role(key).is_none_or(|role| role == "assistant"));
    !row.has("prompt") && key(row).is_some() && answers
}

fn key(row: &Row) -> Option<&'static str> {
    ["question", "query"]
        .into_iter()
        .find(|key| row.keys.get(*key).is_some_and(|value| value.as_str().is_some_and(|text| !text.is_empty())))
}

pub fn pair(row: &Row, reader: &mut Reader) -> Result<Pair> {
    let question = row.text(key(row).unwrap_or("question"))?;
    let answer = |key: &str| match row.keys.get(key) {
        Some(Value::String(text)) => Ok(vec![Message::new(Role::Assistant, text.as_str())]),
        Some(value) => messages(row, key, value),
        None => Err(row.error(format!("{key:?} is missing"))),
    };
    let answers = [answer("chosen")?, answer("rejected")?];
    compare(row, reader, vec![Message::new(Role::User, question)], answers)
}
