//! Preference pairs: one prompt, the preferred completion and the other one.

use super::formats::Reader;
use super::rows::{Whole, tokenize_rows};
use super::turns::{Turner, Turns};
use super::{ChatTemplate, DataReport, DropReason, PreferenceRow, jsonl};
use crate::boundary::{Limits, Sequence, Tokenized};
use crate::error::Result;
use crate::tokenizer::Tokenizer;
use std::path::Path;

/// A pair as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreferencePair {
    /// Its line in the file, counted from 1.
    pub line: usize,
    /// The prompt with the preferred completion.
    pub chosen: Sequence,
    /// The prompt with the other completion.
    pub rejected: Sequence,
}

/// The pairs of a file, with a report on its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreferenceSet {
    /// The pairs to train on, in the order of the file.
    pub pairs: Vec<PreferencePair>,
    /// The numbers of rows that were kept, cut and dropped.
    pub report: DataReport,
}

/// Reads pairs as text. A row has one of these forms:
/// - `prompt`, `chosen`, `rejected`: texts, or conversations `[{role, content}]`;
/// - `chosen`, `rejected` alone: two conversations or two HH transcripts that share all but the last turn, or two texts whose common start
///   is the prompt;
/// - `instruction`, an optional `input`, `chosen`, `rejected` (Alpaca): the prompt is the instruction and the input, a line each;
/// - `question` or `query`, an optional `system`, `chosen`, `rejected`: a conversation;
/// - `conversations`, `chosen`, `rejected` (ShareGPT).
///
/// Files are JSON lines, one JSON array, or Parquet. Rows with an empty completion, equal completions or different prompts are dropped and
/// counted. Columns that are not used are named in the report.
///
/// # Errors
/// [`crate::Error::Io`]. [`crate::Error::BadRow`] for a row of no such form, or a column that holds part of the prompt and is not used.
/// [`crate::Error::NoData`] if no row is left.
pub fn read(path: &Path, chat: &ChatTemplate) -> Result<(Vec<PreferenceRow>, DataReport)> {
    read_rows(path, super::read_rows(path)?, chat)
}

/// Like [`read`], for rows that were already read from the file at `path`.
///
/// # Errors
/// As [`read`].
pub fn read_rows(path: &Path, rows: Vec<jsonl::Row>, chat: &ChatTemplate) -> Result<(Vec<PreferenceRow>, DataReport)> {
    let mut report = DataReport::new(path, rows.len());
    let mut reader = Reader::new(Turner::new(chat), Turns::Last, &rows);
    let mut kept = Vec::new();
    for row in rows {
        match reader.preference(&row)?.and_then(usable) {
            Ok(pair) => kept.push(pair),
            Err(reason) => report.drop_row(row.line, reason),
        }
    }
    report.remarks = reader.remarks.sentences();
    let report = report.finish(kept.len())?;
    Ok((kept, report))
}

fn usable(row: PreferenceRow) -> Result<PreferenceRow, DropReason> {
    if row.chosen.trim().is_empty() || row.rejected.trim().is_empty() {
        return Err(DropReason::EmptyCompletion);
    }
    if row.chosen == row.rejected {
        return Err(DropReason::EqualCompletions);
    }
    Ok(row)
}

impl PreferenceSet {
    /// Reads the pairs of a file like [`read`], and tokenizes them.
    ///
    /// # Errors
    /// As [`read`], and [`crate::Error::Tokenizer`].
    pub fn load(path: &Path, tokenizer: &Tokenizer, chat: &ChatTemplate, limits: &Limits) -> Result<Self> {
        let (rows, report) = read(path, chat)?;
        Self::from_rows(&rows, report, tokenizer, limits)
    }

    /// Tokenizes rows. `report` is the report on their reading, which is continued.
    ///
    /// # Errors
    /// [`crate::Error::Tokenizer`]. [`crate::Error::NoData`] if no row is left.
    pub fn from_rows(rows: &[PreferenceRow], report: DataReport, tokenizer: &Tokenizer, limits: &Limits) -> Result<Self> {
        let whole = tokenize_rows(tokenizer, rows, PreferenceRow::text, limits)?;
        Self::from_tokens(rows, whole, report, tokenizer, limits)
    }

    /// Cuts tokenized rows to length.
    ///
    /// # Errors
    /// [`crate::Error::NoData`] if no row is left.
    pub(super) fn from_tokens(
        rows: &[PreferenceRow],
        whole: Vec<Whole<2>>,
        mut report: DataReport,
        tokenizer: &Tokenizer,
        limits: &Limits,
    ) -> Result<Self> {
        let mut pairs = Vec::with_capacity(rows.len());
        for (row, tokenized) in rows.iter().zip(whole) {
            match tokenized.and_then(|whole| whole.fit(tokenizer, limits)) {
                Ok(Tokenized { sequences: [chosen, rejected], .. }) if chosen.tokens == rejected.tokens => {
                    report.drop_row(row.line, DropReason::EqualTokens);
                }
                Ok(pair) => {
                    report.count(&pair);
                    let [chosen, rejected] = pair.sequences;
                    let line = row.line;
                    pairs.push(PreferencePair { line, chosen, rejected });
                }
                Err(reason) => report.drop_row(row.line, reason),
            }
        }
        report.truncation = limits.truncation;
        let report = report.finish(pairs.len())?;
        Ok(Self { pairs, report })
    }
}
