//! The forms in which rows come: one file for each, and here the order in which they are tried.

mod alpaca;
mod conversations;
mod hh;
mod prompts;

use super::jsonl::Row;
use super::{ChatTemplate, CompletionRow, DropReason, PreferenceRow};
use crate::error::Result;

/// A pair, or why the row has none.
pub type Pair = Result<PreferenceRow, DropReason>;

/// One form of row.
struct Format<T> {
    matches: fn(&Row) -> bool,
    read: fn(&Row, &ChatTemplate) -> Result<T>,
}

const PREFERENCES: [Format<Pair>; 5] = [
    Format { matches: |row| row.has("conversations"), read: conversations::sharegpt_pair },
    Format { matches: |row| row.has("instruction"), read: alpaca::pair },
    Format { matches: conversations::is_pair, read: conversations::pair },
    Format { matches: |row| row.has("prompt"), read: prompts::pair },
    Format { matches: |_| true, read: hh::pair },
];

const COMPLETIONS: [Format<CompletionRow>; 5] = [
    Format { matches: |row| row.has("conversations") || row.has("messages"), read: conversations::transcript },
    Format { matches: |row| row.has("instruction"), read: alpaca::completion },
    Format { matches: conversations::is_completion, read: conversations::completion },
    Format { matches: |row| row.has("prompt"), read: prompts::completion },
    Format { matches: |row| row.has("text"), read: prompts::text },
];

/// Reads a row of a preference file; the inner `Err` says why it must be dropped.
pub fn preference(row: &Row, chat: &ChatTemplate) -> Result<Pair> {
    if !(row.has("chosen") && row.has("rejected")) {
        return Err(unknown(row, "\"prompt\", \"chosen\" and \"rejected\""));
    }
    match PREFERENCES.iter().find(|format| (format.matches)(row)) {
        Some(format) => (format.read)(row, chat),
        None => hh::pair(row, chat),
    }
}

/// Reads a row of a completion file.
pub fn completion(row: &Row, chat: &ChatTemplate) -> Result<CompletionRow> {
    match COMPLETIONS.iter().find(|format| (format.matches)(row)) {
        Some(format) => (format.read)(row, chat),
        None => Err(unknown(row, "\"prompt\" and \"completion\", \"messages\" or \"text\"")),
    }
}

/// Reads the prompt of a row, whatever else the row has.
pub fn prompt(row: &Row, chat: &ChatTemplate) -> Result<String> {
    match row.keys.get("prompt") {
        Some(serde_json::Value::Array(_)) => conversations::prompt(row, chat),
        _ if row.has("instruction") => alpaca::prompt(row),
        Some(serde_json::Value::String(text)) => Ok(text.clone()),
        _ => Err(unknown(row, "\"prompt\" or \"instruction\"")),
    }
}

fn unknown(row: &Row, expected: &str) -> crate::Error {
    let found: Vec<_> = row.keys.keys().map(|key| format!("{key:?}")).collect();
    row.error(format!("a row needs {expected}; this one has {}", found.join(", ")))
}
