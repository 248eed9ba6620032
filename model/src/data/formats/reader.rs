//! The parts that all forms of rows share: the reader of a file's rows, and the results of reading a row.

use crate::data::columns::Remarks;
use crate::data::jsonl::Row;
use crate::data::turns::{Learned, Turner, Turns};
use crate::data::{ChatTemplate, CompletionRow, DropReason, PreferenceRow};
use crate::error::Result;
use losses::Loss;
use std::ops::Range;

/// A pair, or the reason why the row has none.
pub type Pair = Result<PreferenceRow, DropReason>;

/// The learned texts of a row, or the reason why it has none.
pub type Completions = Result<Vec<CompletionRow>, DropReason>;

/// The reader of one file's rows.
pub struct Reader<'a> {
    pub turner: Turner<'a>,
    pub turns: Turns,
    /// True if some Alpaca row of the file has a system text or earlier turns. Then all of them are conversations.
    pub alpaca_converses: bool,
    /// The things that were noticed so far.
    pub remarks: Remarks,
    /// The number of the model's turns that are learned.
    pub learned_turns: usize,
}

impl Reader<'_> {
    /// True if a chat template writes the texts of conversations. Then nothing is put around them.
    pub fn framed(&self) -> bool {
        matches!(self.turner.chat(), ChatTemplate::Jinja(_))
    }

    /// Returns the learned texts as rows.
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

/// Makes a row of plain texts.
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

/// The commands that read rows with these columns, for the error about rows that another command got.
const OTHER_USES: [(&[&str], &str); 4] = [
    (&["chosen", "rejected"], "these are preferences, which `slpo align` learns from"),
    (&["completion"], "these are completions, which `slpo sft` learns from"),
    (&["messages"], "these are conversations, which `slpo sft` learns from"),
    (&["text"], "these are texts, which `slpo train` and `slpo sft` learn from"),
];

/// Makes the error about a row of no known form. It says what was expected, what was found and which command reads such rows.
pub fn unknown(row: &Row, expected: &str) -> crate::Error {
    let found: Vec<_> = row.keys.keys().map(|key| format!("{key:?}")).collect();
    let other = OTHER_USES.iter().find(|(columns, _)| columns.iter().all(|column| row.has(column)));
    let other = match other {
        _ if row.is_labelled() => {
            format!(": these are labelled rows, which `slpo align` learns from with the losses {}", Loss::listed(Loss::is_unpaired))
        }
        Some((_, what)) => format!(": {what}"),
        None => String::new(),
    };
    let found = if found.is_empty() { "no columns".to_owned() } else { found.join(", ") };
    row.error(format!("a row needs {expected}; this one has {found}{other}"))
}
