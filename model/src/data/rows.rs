//! Rows as text, before they are tokenized: a text with learned parts, and a preference pair.

use crate::boundary::{Limits, Text, Tokenized, Unusable, tokenize_whole};
use crate::error::Result;
use crate::tokenizer::Tokenizer;
use rayon::prelude::*;
use std::ops::Range;

/// A text with parts that are learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletionRow {
    /// Its line in the file, counted from 1. A conversation may give several texts.
    pub line: usize,
    /// The text that is answered. It is empty for a plain text.
    pub prompt: String,
    /// The prompt as the chat template writes it when no answer follows, if it differs from `prompt`.
    pub alone: Option<String>,
    /// The text to be learned.
    pub completion: String,
    /// Bytes of the completion that are context only, ascending: the words of others between the model's turns.
    pub context: Vec<Range<usize>>,
    /// Pairs of an index into `context` and a text. The text goes up to the turn after that part of the context, as the chat template
    /// writes it when the turn does not follow.
    pub openings: Vec<(usize, String)>,
    /// True if a chat template wrote the text, with all its special tokens.
    pub framed: bool,
}

impl CompletionRow {
    /// Borrows the row for tokenization.
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

/// A preference pair as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreferenceRow {
    /// Its line in the file, counted from 1.
    pub line: usize,
    /// The text that is answered. It may be empty.
    pub prompt: String,
    /// The prompt as the chat template writes it when no answer follows, if it differs from `prompt`.
    pub alone: Option<String>,
    /// The preferred completion.
    pub chosen: String,
    /// The other completion.
    pub rejected: String,
    /// True if a chat template wrote the texts, with all their special tokens.
    pub framed: bool,
}

impl PreferenceRow {
    /// Borrows the row for tokenization.
    pub(super) fn text(&self) -> Text<'_, 2> {
        let completions = [self.chosen.as_str(), &self.rejected];
        Text { prompt: &self.prompt, alone: self.alone.as_deref(), completions, context: &[], openings: &[], framed: self.framed }
    }
}

/// A row as tokens, before it is cut to length, or the reason why it cannot be used.
pub(super) type Whole<const N: usize> = Result<Tokenized<N>, Unusable>;

/// Tokenizes rows on all threads, in their order.
///
/// # Errors
/// [`crate::Error::Tokenizer`], that of the first row that has one.
pub(super) fn tokenize_rows<'a, R: Sync, const N: usize>(
    tokenizer: &Tokenizer,
    rows: &'a [R],
    text: impl Fn(&'a R) -> Text<'a, N> + Sync,
    limits: &Limits,
) -> Result<Vec<Whole<N>>> {
    let whole: Vec<_> = rows.par_iter().map(|row| tokenize_whole(tokenizer, &text(row), limits.add_eos)).collect();
    whole.into_iter().collect()
}
