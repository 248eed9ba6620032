//! The forms of rows: one file for each, and here the order in which they are tried.

mod alpaca;
mod conversations;
mod hh;
mod prompts;
mod question;
mod reader;

pub use reader::{Reader, unknown};

use super::columns::{self, Remarks};
use super::jsonl::Row;
use super::turns::{Turner, Turns};
use super::{CompletionRow, DropReason};
use crate::error::Result;
use reader::{Completions, Pair};

/// One form of row: the test for it, the columns it uses, and its reader.
struct Format<T> {
    matches: fn(&Row) -> bool,
    uses: &'static [&'static str],
    read: fn(&Row, &mut Reader) -> Result<T>,
}

const PREFERENCES: [Format<Pair>; 6] = [
    Format {
        matches: |row| row.has("conversations"),
        uses: &["conversations", "chosen", "rejected", "system", "tools", "documents", "chat_template_kwargs"],
        read: conversations::sharegpt_pair,
    },
    Format {
        matches: |row| row.has("instruction"),
        uses: &["instruction", "input", "chosen", "rejected", "system", "history"],
        read: alpaca::pair,
    },
    Format {
        matches: question::matches,
        uses: &["question", "query", "chosen", "rejected", "system", "tools", "documents", "chat_template_kwargs"],
        read: question::pair,
    },
    Format {
        matches: conversations::is_pair,
        uses: &["prompt", "chosen", "rejected", "system", "tools", "documents", "chat_template_kwargs"],
        read: conversations::pair,
    },
    Format { matches: |row| row.has("prompt"), uses: &["prompt", "chosen", "rejected"], read: prompts::pair },
    Format { matches: |_| true, uses: &["chosen", "rejected"], read: hh::pair },
];

const COMPLETIONS: [Format<Completions>; 5] = [
    Format {
        matches: |row| row.has("conversations") || row.has("messages"),
        uses: &["messages", "conversations", "system", "tools", "documents", "chat_template_kwargs"],
        read: conversations::transcript,
    },
    Format {
        matches: |row| row.has("instruction"),
        uses: &["instruction", "input", "output", "system", "history"],
        read: alpaca::completion,
    },
    Format {
        matches: conversations::is_completion,
        uses: &["prompt", "completion", "system", "tools", "documents", "chat_template_kwargs"],
        read: conversations::completion,
    },
    Format { matches: |row| row.has("prompt"), uses: &["prompt", "completion"], read: prompts::completion },
    Format { matches: |row| row.has("text"), uses: &["text"], read: prompts::text },
];

/// Completions with a label.
const LABELLED: [Format<Completions>; 2] = [
    Format {
        matches: conversations::is_completion,
        uses: &["prompt", "completion", "label", "system", "tools", "documents", "chat_template_kwargs"],
        read: conversations::completion,
    },
    Format { matches: |row| row.has("prompt"), uses: &["prompt", "completion", "label"], read: prompts::completion },
];

/// Columns that count as used where only prompts are read. The answers are among them, and are ignored.
const ANSWERS: [&str; 9] = ["prompt", "instruction", "input", "system", "history", "chosen", "rejected", "completion", "output"];

impl<'a> Reader<'a> {
    /// Makes a reader for these rows.
    pub fn new(turner: Turner<'a>, turns: Turns, rows: &[Row]) -> Self {
        let alpaca_converses = rows.iter().any(alpaca::has_conversation);
        Self { turner, turns, alpaca_converses, remarks: Remarks::default(), learned_turns: 0 }
    }

    /// Reads a row of a preference file. The inner `Err` is the reason to drop the row.
    pub fn preference(&mut self, row: &Row) -> Result<Pair> {
        let both = ["chosen", "rejected"];
        if both.iter().any(|key| row.keys.get(*key).is_some_and(serde_json::Value::is_null)) && both.iter().any(|key| row.has(key)) {
            return Ok(Err(DropReason::EmptyCompletion));
        }
        if !both.iter().all(|key| row.has(key)) {
            return Err(unknown(row, "\"prompt\", \"chosen\" and \"rejected\""));
        }
        let format = PREFERENCES.iter().find(|format| (format.matches)(row)).unwrap_or(&PREFERENCES[5]);
        let read = (format.read)(row, self)?;
        if let Ok(pair) = &read {
            columns::judge(row, format.uses, &[&pair.prompt, &pair.chosen, &pair.rejected], &mut self.remarks)?;
        }
        Ok(read)
    }

    /// Reads a row of a completion file.
    pub fn completion(&mut self, row: &Row) -> Result<Completions> {
        let Some(format) = COMPLETIONS.iter().find(|format| (format.matches)(row)) else {
            return Err(unknown(row, "\"prompt\" and \"completion\", \"messages\" or \"text\""));
        };
        let read = (format.read)(row, self)?;
        if let Ok([first, ..]) = read.as_deref() {
            columns::judge(row, format.uses, &[&first.prompt, &first.completion], &mut self.remarks)?;
        }
        Ok(read)
    }

    /// Reads a completion with its label, which is true if the completion is desirable.
    pub fn labelled(&mut self, row: &Row) -> Result<Result<(CompletionRow, bool), DropReason>> {
        let format = LABELLED.iter().find(|format| (format.matches)(row));
        let Some(format) = format.filter(|_| row.has("completion") && row.has("label")) else {
            return Err(unknown(row, "\"prompt\", \"completion\" and \"label\" (or \"prompt\", \"chosen\" and \"rejected\")"));
        };
        let Some(label) = row.label() else {
            return Err(row.error(format!("\"label\" must be true or false, or 1 or 0, not {}", row.keys["label"])));
        };
        match (format.read)(row, self)?.map(|texts| texts.into_iter().next()) {
            Ok(Some(text)) => {
                columns::judge(row, format.uses, &[&text.prompt, &text.completion], &mut self.remarks)?;
                Ok(Ok((text, label)))
            }
            Ok(None) => Ok(Err(DropReason::EmptyCompletion)),
            Err(reason) => Ok(Err(reason)),
        }
    }

    /// Reads the prompt of a row, whatever its answers are. Returns the text, and whether a chat template wrote it.
    pub fn prompt(&mut self, row: &Row) -> Result<(String, bool)> {
        let read = match row.keys.get("prompt") {
            Some(serde_json::Value::Array(_)) => conversations::prompt(row, self)?,
            _ if row.has("instruction") => alpaca::prompt(row, self)?,
            Some(serde_json::Value::String(text)) => (text.clone(), false),
            _ => return Err(unknown(row, "\"prompt\" or \"instruction\"")),
        };
        let used: Vec<&str> = ANSWERS.into_iter().chain(columns::OF_CONVERSATIONS).collect();
        let used: Vec<&str> =
            if read.1 { used } else { used.into_iter().filter(|name| !columns::OF_CONVERSATIONS.contains(name)).collect() };
        columns::judge(row, &used, &[&read.0], &mut self.remarks)?;
        Ok(read)
    }
}
