//! What the forms of rows share: how the rows of one file are read, and what reading a row gives.

use crate::data::columns::Remarks;
use crate::data::jsonl::Row;
use crate::data::turns::{Learned, Turner, Turns};
use crate::data::{ChatTemplate, CompletionRow, DropReason, PreferenceRow};
use crate::error::Result;
use std::ops::Range;

/// A pair, or why the row has none.
pub type Pair = Result<PreferenceRow, DropReason>;

/// What is learned of a row, or why it has nothing.
pub type Completions = Result<Vec<CompletionRow>, DropReason>;

/// How the rows of one file are read.
pub struct Reader<'a> {
    pub turner: Turner<'a>,
    pub turns: Turns,
    /// Some Alpaca row of the file has a system text or earlier turns, so all of them are conversations.
    pub alpaca_converses: bool,
    /// What was noticed so far.
    pub remarks: Remarks,
    /// Turns of the model that are learned.
    pub learned_turns: usize,
}

impl Reader<'_> {
    /// True if texts of conversations are written by a chat template, so that nothing is to be put around them.
    pub fn framed(&self) -> bool {
        matches!(self.turner.chat(), ChatTemplate::Jinja(_))
    }

    /// The texts that are learned as rows.
    pub fn rows(&mut self, row: &Row, learned: Vec<Learned>) -> Completions {
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
pub fn plain(row: &Row, prompt: &str, completion: &str) -> CompletionRow {
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
pub fn unknown(row: &Row, expected: &str) -> crate::Error {
    let found: Vec<_> = row.keys.keys().map(|key| format!("{key:?}")).collect();
    let other = OTHER_USES.iter().find(|(columns, _)| columns.iter().all(|column| row.has(column)));
    let other = other.map_or(String::new(), |(_, what)| format!(": {what}"));
    let found = if found.is_empty() { "no columns".to_owned() } else { found.join(", ") };
    row.error(format!("a row needs {expected}; this one has {found}{other}"))
}
