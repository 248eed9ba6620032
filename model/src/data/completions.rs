//! Prompts with the completion that is to be learned, and plain texts that are to be learned whole.

use super::{ChatTemplate, DataReport, DropReason, formats, jsonl};
use crate::boundary::{Limits, Sequence, tokenize};
use crate::error::Result;
use crate::tokenizer::Tokenizer;
use std::path::Path;

/// A row as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletionRow {
    /// Its line in the file, counted from 1.
    pub line: usize,
    /// What is answered; empty for a plain text.
    pub prompt: String,
    /// What is to be learned.
    pub completion: String,
}

/// The rows of a file as tokens, and what became of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletionSet {
    /// What can be trained on, in the order of the file.
    pub sequences: Vec<Sequence>,
    /// What was kept, cut and dropped.
    pub report: DataReport,
}

/// Reads rows as text. A row is one of
/// - `prompt`, `completion`: texts, or conversations `[{role, content}]`;
/// - `messages` or `conversations` (ShareGPT): a conversation whose last turn is to be learned;
/// - `instruction`, perhaps `input`, `output` (Alpaca): the prompt is both, a line each;
/// - `text`: learned whole.
///
/// Rows with an empty completion are dropped and counted.
///
/// # Errors
/// [`crate::Error::Io`]; [`crate::Error::BadRow`] for a row of none of these forms; [`crate::Error::NoData`] where no row is left.
pub fn read(path: &Path, chat: &ChatTemplate) -> Result<(Vec<CompletionRow>, DataReport)> {
    read_rows(path, jsonl::read(path)?, chat)
}

/// As [`read`], of rows that were read before from the file at `path`.
///
/// # Errors
/// As [`read`].
pub fn read_rows(path: &Path, rows: Vec<jsonl::Row>, chat: &ChatTemplate) -> Result<(Vec<CompletionRow>, DataReport)> {
    let mut report = DataReport::new(path, rows.len());
    let mut kept = Vec::new();
    for row in rows {
        let completion = formats::completion(&row, chat)?;
        if completion.completion.trim().is_empty() {
            report.drop_row(row.line, DropReason::EmptyCompletion);
        } else {
            kept.push(completion);
        }
    }
    let report = report.finish(kept.len())?;
    Ok((kept, report))
}

impl CompletionSet {
    /// Reads the rows of a file, as [`read`], into tokens.
    ///
    /// # Errors
    /// As [`read`], and [`crate::Error::Tokenizer`].
    pub fn load(path: &Path, tokenizer: &Tokenizer, chat: &ChatTemplate, limits: &Limits) -> Result<Self> {
        let (rows, report) = read(path, chat)?;
        Self::from_rows(&rows, report, tokenizer, limits)
    }

    /// Makes tokens of rows that were read or made before; goes on with their `report`.
    ///
    /// # Errors
    /// [`crate::Error::Tokenizer`]; [`crate::Error::NoData`] where no row is left.
    pub fn from_rows(rows: &[CompletionRow], mut report: DataReport, tokenizer: &Tokenizer, limits: &Limits) -> Result<Self> {
        let mut sequences = Vec::with_capacity(rows.len());
        for row in rows {
            match tokenize(tokenizer, &row.prompt, [&row.completion], limits)? {
                Ok(tokenized) => {
                    report.count(&tokenized);
                    sequences.extend(tokenized.sequences);
                }
                Err(reason) => report.drop_row(row.line, reason),
            }
        }
        let report = report.finish(sequences.len())?;
        Ok(Self { sequences, report })
    }
}
