//! Prompts without answers, for a model to answer.

use super::formats::Reader;
use super::turns::{Turner, Turns};
use super::{ChatTemplate, read_rows};
use crate::error::{Error, Result};
use std::path::Path;

/// A prompt as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptRow {
    /// Its line in the file, counted from 1.
    pub line: usize,
    /// The text to be answered.
    pub prompt: String,
    /// True if a chat template wrote the prompt, with all its special tokens.
    pub framed: bool,
}

/// Reads the prompt of each row. A row has one of these forms:
///
/// - `prompt`: a text, or a conversation `[{role, content}]`. If its last message is the assistant's, that message is continued.
/// - `instruction` and an optional `input` (Alpaca).
///
/// Columns with answers are ignored, so files of completions and of preferences can be read too. The second list has a sentence for each
/// thing that was not used.
///
/// # Errors
/// [`Error::Io`]; [`Error::BadRow`] for a row without a prompt; [`Error::NoData`] for a file without rows.
pub fn read(path: &Path, chat: &ChatTemplate) -> Result<(Vec<PromptRow>, Vec<String>)> {
    let rows = read_rows(path)?;
    if rows.is_empty() {
        return Err(Error::NoData { path: path.to_owned(), reason: "the file has no rows".to_owned() });
    }
    let mut reader = Reader::new(Turner::new(chat), Turns::All, &rows);
    let mut prompts = Vec::with_capacity(rows.len());
    for row in &rows {
        let (prompt, framed) = reader.prompt(row)?;
        prompts.push(PromptRow { line: row.line, prompt, framed });
    }
    Ok((prompts, reader.remarks.sentences()))
}
