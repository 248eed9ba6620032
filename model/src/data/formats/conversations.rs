//! Conversations: lists of `{"role", "content"}`, or of ShareGPT's `{"from", "value"}`. The last turn is what is learned.

use super::Pair;
use crate::data::chat::{Message, Role, last_answer, messages};
use crate::data::jsonl::Row;
use crate::data::{ChatTemplate, CompletionRow, DropReason, PreferenceRow};
use crate::error::{Error, Result};
use serde_json::Value;

/// Whether the prompt or an answer is a list of messages.
pub fn is_pair(row: &Row) -> bool {
    ["prompt", "chosen", "rejected"].iter().any(|key| is_list(row, key))
}

/// Whether the prompt or the completion is a list of messages.
pub fn is_completion(row: &Row) -> bool {
    ["prompt", "completion"].iter().any(|key| is_list(row, key))
}

fn is_list(row: &Row, key: &str) -> bool {
    row.keys.get(key).is_some_and(Value::is_array)
}

pub fn pair(row: &Row, chat: &ChatTemplate) -> Result<Pair> {
    let chosen = conversation(row, "prompt", "chosen")?;
    let rejected = conversation(row, "prompt", "rejected")?;
    compare(row, chat, chosen, rejected)
}

pub fn sharegpt_pair(row: &Row, chat: &ChatTemplate) -> Result<Pair> {
    let chosen = conversation(row, "conversations", "chosen")?;
    let rejected = conversation(row, "conversations", "rejected")?;
    compare(row, chat, chosen, rejected)
}

pub fn completion(row: &Row, chat: &ChatTemplate) -> Result<CompletionRow> {
    learn_last(row, chat, conversation(row, "prompt", "completion")?)
}

pub fn transcript(row: &Row, chat: &ChatTemplate) -> Result<CompletionRow> {
    let key = if row.has("messages") { "messages" } else { "conversations" };
    learn_last(row, chat, messages(row, key, &row.keys[key])?)
}

/// The turns of `prompt_key` and then those of `answer_key`. Where the answer repeats the conversation from its start, as
/// some data sets have it, it counts alone.
fn conversation(row: &Row, prompt_key: &str, answer_key: &str) -> Result<Vec<Message>> {
    let answer = turns(row, answer_key, Role::Assistant)?;
    let repeats = answer.first().is_some_and(|message| message.role != Role::Assistant);
    if repeats || !row.has(prompt_key) {
        return Ok(answer);
    }
    let mut conversation = turns(row, prompt_key, Role::User)?;
    conversation.extend(answer);
    Ok(conversation)
}

/// A list of messages, or a text as one message by `speaker`.
fn turns(row: &Row, key: &str, speaker: Role) -> Result<Vec<Message>> {
    match row.keys.get(key) {
        Some(Value::String(content)) => Ok(vec![Message { role: speaker, content: content.clone() }]),
        Some(value) => messages(row, key, value),
        None => Err(row.error(format!("{key:?} is missing"))),
    }
}

fn compare(row: &Row, chat: &ChatTemplate, chosen: Vec<Message>, rejected: Vec<Message>) -> Result<Pair> {
    let (before, chosen) = last_answer(row, chosen)?;
    let (before_rejected, rejected) = last_answer(row, rejected)?;
    if before != before_rejected {
        return Ok(Err(DropReason::PromptsDiffer));
    }
    let (prompt, [chosen, rejected]) = chat.turn(&before, [&chosen, &rejected]).map_err(|error| in_row(row, error))?;
    Ok(Ok(PreferenceRow { line: row.line, prompt, chosen, rejected }))
}

fn learn_last(row: &Row, chat: &ChatTemplate, conversation: Vec<Message>) -> Result<CompletionRow> {
    let (before, answer) = last_answer(row, conversation)?;
    let (prompt, [completion]) = chat.turn(&before, [&answer]).map_err(|error| in_row(row, error))?;
    Ok(CompletionRow { line: row.line, prompt, completion })
}

/// A row's `prompt` as the text before the model's turn.
pub fn prompt(row: &Row, chat: &ChatTemplate) -> Result<String> {
    chat.prompt(&turns(row, "prompt", Role::User)?).map_err(|error| in_row(row, error))
}

/// What a template refuses is a row of the data: its line says which.
fn in_row(row: &Row, error: Error) -> Error {
    match error {
        Error::ChatTemplate { reason, .. } => row.error(reason),
        other => other,
    }
}
