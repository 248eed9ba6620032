//! Prompts alone, to be answered by a model.

use super::{ChatTemplate, formats, jsonl};
use crate::error::{Error, Result};
use std::path::Path;

/// A prompt as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptRow {
    /// Its line in the file, counted from 1.
    pub line: usize,
    /// What is to be answered.
    pub prompt: String,
}

/// Reads the `prompt` of each row: a text, or a conversation `[{role, content}]`; or `instruction` and perhaps `input` (Alpaca). Other
/// keys are left alone, so files of completions and of preferences can be read too.
///
/// # Errors
/// [`Error::Io`]; [`Error::BadRow`] for a row without a prompt; [`Error::NoData`] for a file without rows.
pub fn read(path: &Path, chat: &ChatTemplate) -> Result<Vec<PromptRow>> {
    let rows = jsonl::read(path)?;
    if rows.is_empty() {
        return Err(Error::NoData { path: path.to_owned(), reason: "the file has no rows".to_owned() });
    }
    rows.iter().map(|row| Ok(PromptRow { line: row.line, prompt: formats::prompt(row, chat)? })).collect()
}
