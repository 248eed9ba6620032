//! The check that every column of a row is used, known not to matter, or named. It serves all forms of row.
//!
//! A form of row names the columns that it uses. Each other column is treated in one of three ways:
//!
//! - It is skipped if [`KNOWN`] lists it or it is empty.
//! - It is an error if it usually holds part of the prompt, and its value is missing from the row's texts.
//! - Otherwise it is counted in [`Remarks`], which the data report prints.

use super::chat::{ChatTemplate, Conversation};
use super::jsonl::Row;
use crate::error::Result;
use serde_json::Value;
use std::collections::BTreeMap;

/// Columns that say where a row comes from and how it was judged. They do not affect what is learned.
const KNOWN: [&str; 67] = [
    "__index_level_0__",
    "_id",
    "annotator",
    "category",
    "chosen-model",
    "chosen-rating",
    "chosen_avg_rating",
    "chosen_model",
    "chosen_rating",
    "chosen_score",
    "conversation_hash",
    "conversation_id",
    "created",
    "created_at",
    "dataset",
    "date",
    "difficulty",
    "domain",
    "generator",
    "hash",
    "id",
    "idx",
    "index",
    "is_english",
    "lang",
    "language",
    "length",
    "license",
    "locale",
    "margin",
    "meta",
    "metadata",
    "model",
    "model_name",
    "num_tokens",
    "num_turns",
    "origin",
    "original_dataset",
    "prompt_id",
    "quality",
    "question_id",
    "rating",
    "ratings",
    "rejected-model",
    "rejected-rating",
    "rejected_avg_rating",
    "rejected_model",
    "rejected_rating",
    "rejected_score",
    "row_id",
    "score",
    "score_chosen",
    "score_rejected",
    "scores",
    "source",
    "sources",
    "split",
    "subset",
    "tag",
    "tags",
    "task",
    "timestamp",
    "token_count",
    "topic",
    "updated_at",
    "url",
    "uuid",
];

/// Columns that usually hold part of the model's input.
const PART_OF_THE_PROMPT: [&str; 16] = [
    "audio",
    "context",
    "functions",
    "history",
    "image",
    "images",
    "input",
    "instruction",
    "query",
    "question",
    "system",
    "system_prompt",
    "tools",
    "video",
    "videos",
    "weight",
];

/// Keys of a message that no template reads and that do not matter.
const KNOWN_OF_MESSAGES: [&str; 8] = ["created_at", "id", "idx", "index", "metadata", "model", "timestamp", "uuid"];

/// Columns that conversations use besides their messages.
pub const OF_CONVERSATIONS: [&str; 4] = ["system", "tools", "documents", "chat_template_kwargs"];

/// The things that were noticed while rows were read. Each has the number of its rows and the first row's line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks(BTreeMap<String, (usize, usize)>);

impl Remarks {
    /// Notes `what` for the row on this line.
    pub fn note(&mut self, what: impl Into<String>, line: usize) {
        self.0.entry(what.into()).or_insert((0, line)).0 += 1;
    }

    /// Returns one sentence for each thing that was noticed.
    pub fn sentences(&self) -> Vec<String> {
        let sentence = |(what, (count, line)): (&String, &(usize, usize))| match count {
            1 => format!("{what} (line {line})"),
            _ => format!("{what} ({count} rows, first line {line})"),
        };
        self.0.iter().map(sentence).collect()
    }
}

/// Checks the columns that a form of row does not use. `texts` are the texts that the form took from the row.
///
/// # Errors
/// [`crate::Error::BadRow`] naming a column that holds part of the prompt.
pub fn judge(row: &Row, used: &[&str], texts: &[&str], remarks: &mut Remarks) -> Result<()> {
    let says = |name: &str, value: &Value| !(is_blank(value) || name == "weight" && value.as_f64() == Some(1.0));
    let further = row.keys.iter().filter(|(name, value)| !used.contains(&name.as_str()) && says(name, value));
    for (name, value) in further.filter(|(name, _)| !KNOWN.contains(&name.as_str())) {
        // A text that is learned whole has no prompt, so nothing can be missing from a prompt.
        if !PART_OF_THE_PROMPT.contains(&name.as_str()) || used == ["text"] {
            remarks.note(format!("column {name:?} is not used"), row.line);
        } else if !stands_in(value, texts) {
            let reason = format!(
                "column {name:?} is not used by rows with {}, and what it holds stands nowhere in their texts: put it into the prompt \
                 (as messages, where it is a system text), or remove the column",
                quoted(used.iter().filter(|name| row.has(name)))
            );
            return Err(row.error(reason));
        }
    }
    Ok(())
}

/// Notes the parts of a conversation that the chat template does not read.
pub fn judge_conversation(row: &Row, chat: &ChatTemplate, conversation: &Conversation, remarks: &mut Remarks) {
    let keys = conversation.messages.iter().flat_map(|message| message.further_keys());
    for key in keys.filter(|key| !KNOWN_OF_MESSAGES.contains(key)) {
        match chat {
            ChatTemplate::Transcript => {
                remarks.note(format!("key {key:?} of messages is not used: transcripts write roles and texts only"), row.line)
            }
            ChatTemplate::Jinja(_) if !chat.names(key) => {
                remarks.note(format!("key {key:?} of messages is given to the chat template, which does not name it"), row.line);
            }
            ChatTemplate::Jinja(_) => {}
        }
    }
    let variables = conversation.arguments.iter().flat_map(|arguments| arguments.keys().map(String::as_str));
    let given = [("tools", conversation.tools.is_some()), ("documents", conversation.documents.is_some())];
    let given = given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name);
    for name in variables.chain(given).filter(|name| !chat.names(name)) {
        remarks.note(format!("{name:?} is given to the chat template, which does not name it"), row.line);
    }
}

/// True if the value is empty: null, or an empty text, list or object.
fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(keys) => keys.is_empty(),
        Value::Number(_) | Value::Bool(_) => false,
    }
}

fn stands_in(value: &Value, texts: &[&str]) -> bool {
    match value {
        Value::String(text) => texts.iter().any(|whole| whole.contains(text.trim())),
        _ => false,
    }
}

/// Writes names as `"a", "b" and "c"`.
fn quoted<'a>(names: impl Iterator<Item = &'a &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("{name:?}")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => "no known column".to_owned(),
    }
}
