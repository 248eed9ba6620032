//! Rows as text, before they are tokens: what is learned of a row, and a preference pair.

use crate::boundary::Text;
use std::ops::Range;

/// A text of which parts are learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletionRow {
    /// Its line in the file, counted from 1; a conversation may give several texts.
    pub line: usize,
    /// What is answered; empty for a plain text.
    pub prompt: String,
    /// The prompt as the chat template writes it where no answer follows, if that is another text.
    pub alone: Option<String>,
    /// What is to be learned.
    pub completion: String,
    /// Bytes of the completion that are context only, ascending: what others say between the model's turns.
    pub context: Vec<Range<usize>>,
    /// For parts of the context, by their place, the text up to the next turn as the chat template writes it where that turn does not
    /// follow.
    pub openings: Vec<(usize, String)>,
    /// True if a chat template wrote the text, with every special token that belongs there.
    pub framed: bool,
}

impl CompletionRow {
    /// The row for the tokenizer.
    pub(super) fn text(&self) -> Text<'_, 1> {
        let completions = [self.completion.as_str()];
        Text {
            prompt: &self.prompt,
            alone: self.alone.as_deref(),
            completions,
            context: &self.context,
            openings: &self.openings,
            framed: self.framed,
        }
    }
}

/// A pair as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreferenceRow {
    /// Its line in the file, counted from 1.
    pub line: usize,
    /// What is answered; may be empty.
    pub prompt: String,
    /// The prompt as the chat template writes it where no answer follows, if that is another text.
    pub alone: Option<String>,
    /// The preferred completion.
    pub chosen: String,
    /// The other completion.
    pub rejected: String,
    /// True if a chat template wrote the texts, with every special token that belongs there.
    pub framed: bool,
}

impl PreferenceRow {
    /// The row for the tokenizer.
    pub(super) fn text(&self) -> Text<'_, 2> {
        let completions = [self.chosen.as_str(), &self.rejected];
        Text { prompt: &self.prompt, alone: self.alone.as_deref(), completions, context: &[], openings: &[], framed: self.framed }
    }
}
