//! The forms in which rows come: one file for each, and here the order in which they are tried.

mod alpaca;
mod conversations;
mod hh;
mod prompts;
mod question;

use super::columns::{self, Remarks};
use super::jsonl::Row;
use super::turns::{Learned, Turner, Turns};
use super::{CompletionRow, DropReason, PreferenceRow};
use crate::error::Result;
use std::ops::Range;

/// A pair, or why the row has none.
pub type Pair = Result<PreferenceRow, DropReason>;

/// What is learned of a row, or why it has nothing.
pub type Completions = Result<Vec<CompletionRow>, DropReason>;

/// How the rows of one file are read.
pub struct Reader<'a> {
    turner: Turner<'a>,
    turns: Turns,
    /// Some Alpaca row of the file has a system text or earlier turns, so all of them are conversations.
    alpaca_converses: bool,
    /// What was noticed so far.
    pub remarks: Remarks,
    /// Turns of the model that are learned.
    pub learned_turns: usize,
}

/// One form of row: when it is this form, which columns it uses, how it is read.
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

/// Columns of rows with prompts that hold answers, which nobody asks for where prompts are read.
const ANSWERS: [&str; 9] = ["prompt", "instruction", "input", "system", "history", "chosen", "rejected", "completion", "output"];

impl<'a> Reader<'a> {
    /// A reader for these rows.
    pub fn new(turner: Turner<'a>, turns: Turns, rows: &[Row]) -> Self {
        let alpaca_converses = rows.iter().any(alpaca::has_conversation);
        Self { turner, turns, alpaca_converses, remarks: Remarks::default(), learned_turns: 0 }
    }

    /// Reads a row of a preference file; the inner `Err` says why it must be dropped.
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

    /// Reads the prompt of a row, whatever answers the row has: the text, and whether a chat template wrote it.
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

    /// True if texts of conversations are written by a chat template, so that nothing is to be put around them.
    fn framed(&self) -> bool {
        matches!(self.turner.chat(), super::ChatTemplate::Jinja(_))
    }

    /// The texts that are learned as rows.
    fn rows(&mut self, row: &Row, learned: Vec<Learned>) -> Completions {
        if learned.is_empty() {
            return Err(DropReason::NothingLearned);
        }
        self.learned_turns += learned.iter().map(|text| text.turns).sum::<usize>();
        let framed = self.framed();
        let each = |Learned { prompt, alone, completion, context, openings, .. }| CompletionRow {
            line: row.line,
            prompt,
            alone,
            completion,
            context,
            openings,
            framed,
        };
        Ok(learned.into_iter().map(each).collect())
    }
}

/// A row of plain texts.
fn plain(row: &Row, prompt: &str, completion: &str) -> CompletionRow {
    let context: Vec<Range<usize>> = Vec::new();
    CompletionRow {
        line: row.line,
        prompt: prompt.to_owned(),
        alone: None,
        completion: completion.to_owned(),
        context,
        openings: Vec::new(),
        framed: false,
    }
}

/// Which command reads rows with these columns; for rows that another one was given.
const OTHER_USES: [(&[&str], &str); 4] = [
    (&["chosen", "rejected"], "these are preferences, which `slpo align` learns from"),
    (&["completion"], "these are completions, which `slpo sft` learns from"),
    (&["messages"], "these are conversations, which `slpo sft` learns from"),
    (&["text"], "these are texts, which `slpo train` and `slpo sft` learn from"),
];

/// An error for a row of no known form, which says what was expected, what is there and who reads that.
pub(super) fn unknown(row: &Row, expected: &str) -> crate::Error {
    let found: Vec<_> = row.keys.keys().map(|key| format!("{key:?}")).collect();
    let other = OTHER_USES.iter().find(|(columns, _)| columns.iter().all(|column| row.has(column)));
    let other = other.map_or(String::new(), |(_, what)| format!(": {what}"));
    let found = if found.is_empty() { "no columns".to_owned() } else { found.join(", ") };
    row.error(format!("a row needs {expected}; this one has {found}{other}"))
}
