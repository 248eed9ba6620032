//! Labelled rows: one prompt, one completion, and whether the completion is desirable.

use super::formats::Reader;
use super::rows::{Whole, tokenize_rows};
use super::turns::{Turner, Turns};
use super::{ChatTemplate, CompletionRow, DataReport, DropReason, PreferenceSet, jsonl, preferences};
use crate::boundary::{Limits, Sequence};
use crate::error::Result;
use crate::tokenizer::Tokenizer;
use serde::Serialize;
use std::path::Path;

/// A labelled row as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledSequence {
    /// Its line in the file, counted from 1.
    pub line: usize,
    /// The prompt with the completion.
    pub sequence: Sequence,
    /// True if the completion is desirable.
    pub is_desirable: bool,
}

/// The labelled rows of a file, with a report on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledSet {
    /// The rows to train on, in the order of the file.
    pub rows: Vec<LabelledSequence>,
    /// The numbers of rows of the file that were kept, cut and dropped.
    pub report: DataReport,
}

/// The numbers of desirable and undesirable rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Rows whose completion is desirable.
    pub desirable: usize,
    /// Rows whose completion is undesirable.
    pub undesirable: usize,
}

impl Balance {
    /// Counts the rows of each label.
    pub fn of(rows: &[LabelledSequence]) -> Self {
        let desirable = rows.iter().filter(|row| row.is_desirable).count();
        Self { desirable, undesirable: rows.len() - desirable }
    }
}

/// True if the rows are preference pairs, as the first one shows.
pub(super) fn are_pairs(rows: &[jsonl::Row]) -> bool {
    rows.first().is_some_and(|row| row.has("chosen") || row.has("rejected"))
}

/// Reads labelled rows as text: `prompt` and `completion`, texts or conversations `[{role, content}]`, and a `label`, which is true, false,
/// 1 or 0. `rows` were read from the file at `path`. Rows with an empty completion are dropped and counted.
///
/// # Errors
/// [`crate::Error::BadRow`] for a row of no such form, or a column that holds part of the prompt and is not used. [`crate::Error::NoData`]
/// if no row is left.
pub fn read_rows(path: &Path, rows: Vec<jsonl::Row>, chat: &ChatTemplate) -> Result<(Vec<(CompletionRow, bool)>, DataReport)> {
    let mut report = DataReport::new(path, rows.len());
    let mut reader = Reader::new(Turner::new(chat), Turns::Last, &rows);
    let mut kept = Vec::new();
    for row in rows {
        match reader.labelled(&row)? {
            Ok((text, _)) if text.completion.trim().is_empty() => report.drop_row(row.line, DropReason::EmptyCompletion),
            Ok(labelled) => kept.push(labelled),
            Err(reason) => report.drop_row(row.line, reason),
        }
    }
    report.remarks = reader.remarks.sentences();
    let report = report.finish(kept.len())?;
    Ok((kept, report))
}

impl LabelledSet {
    /// Reads a file of labelled rows like [`read_rows`], or of preference pairs like [`preferences::read`], and tokenizes it. The first row
    /// decides. Each pair gives two rows: the chosen completion is desirable, the rejected one is not.
    ///
    /// # Errors
    /// As those functions, [`crate::Error::Io`] and [`crate::Error::Tokenizer`].
    pub fn load(path: &Path, tokenizer: &Tokenizer, chat: &ChatTemplate, limits: &Limits) -> Result<Self> {
        let rows = super::read_rows(path)?;
        if are_pairs(&rows) {
            let (rows, report) = preferences::read_rows(path, rows, chat)?;
            return Ok(Self::from_pairs(PreferenceSet::from_rows(&rows, report, tokenizer, limits)?));
        }
        let (rows, report) = read_rows(path, rows, chat)?;
        Self::from_rows(&rows, report, tokenizer, limits)
    }

    /// Tokenizes rows, each with its label. `report` is the report on their reading, which is continued.
    ///
    /// # Errors
    /// [`crate::Error::Tokenizer`]. [`crate::Error::NoData`] if no row is left.
    pub fn from_rows(rows: &[(CompletionRow, bool)], report: DataReport, tokenizer: &Tokenizer, limits: &Limits) -> Result<Self> {
        let whole = tokenize_rows(tokenizer, rows, |(row, _)| row.text(), limits)?;
        Self::from_tokens(rows, whole, report, tokenizer, limits)
    }

    /// Cuts tokenized rows to length.
    ///
    /// # Errors
    /// [`crate::Error::NoData`] if no row is left.
    pub(super) fn from_tokens(
        rows: &[(CompletionRow, bool)],
        whole: Vec<Whole<1>>,
        mut report: DataReport,
        tokenizer: &Tokenizer,
        limits: &Limits,
    ) -> Result<Self> {
        let mut kept = Vec::with_capacity(rows.len());
        for ((row, is_desirable), tokenized) in rows.iter().zip(whole) {
            match tokenized.and_then(|whole| whole.fit(tokenizer, limits)) {
                Ok(tokenized) => {
                    report.count(&tokenized);
                    let [sequence] = tokenized.sequences;
                    kept.push(LabelledSequence { line: row.line, sequence, is_desirable: *is_desirable });
                }
                Err(reason) => report.drop_row(row.line, reason),
            }
        }
        report.truncation = limits.truncation;
        let report = report.finish(kept.len())?;
        Ok(Self { rows: kept, report })
    }

    /// Takes each pair as two rows, the chosen completion first.
    pub fn from_pairs(set: PreferenceSet) -> Self {
        let rows = set.pairs.into_iter().flat_map(|pair| {
            let row = |sequence, is_desirable| LabelledSequence { line: pair.line, sequence, is_desirable };
            [row(pair.chosen, true), row(pair.rejected, false)]
        });
        Self { rows: rows.collect(), report: set.report }
    }
}
