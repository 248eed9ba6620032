//! Prompts with a completion to be learned, conversations, and plain texts to be learned whole.

use super::formats::Reader;
use super::rows::{Whole, tokenize_rows};
use super::turns::{Turner, Turns};
use super::{ChatTemplate, CompletionRow, DataReport, DropReason, jsonl};
use crate::boundary::{Limits, Sequence};
use crate::error::Result;
use crate::tokenizer::Tokenizer;
use std::collections::BTreeSet;
use std::path::Path;

/// The rows of a file as tokens, with a report on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletionSet {
    /// The sequences to train on, in the order of the file.
    pub sequences: Vec<Sequence>,
    /// The line of each sequence.
    pub lines: Vec<usize>,
    /// The numbers of rows that were kept, cut and dropped.
    pub report: DataReport,
}

/// Reads rows as text. A row has one of these forms:
/// - `prompt`, `completion`: texts, or conversations `[{role, content}]`;
/// - `messages` or `conversations` (ShareGPT): a conversation. `turns` says which of the assistant's turns are learned;
/// - `instruction`, an optional `input`, `output` (Alpaca): the prompt is the instruction and the input, a line each;
/// - `text`: learned whole.
///
/// Rows with an empty completion, or without a learned turn, are dropped and counted. Columns that are not used are named in the report.
///
/// # Errors
/// [`crate::Error::Io`]. [`crate::Error::BadRow`] for a row of no such form, or a column that holds part of the prompt and is not used.
/// [`crate::Error::NoData`] if no row is left.
pub fn read(path: &Path, chat: &ChatTemplate, turns: Turns) -> Result<(Vec<CompletionRow>, DataReport)> {
    read_rows(path, super::read_rows(path)?, chat, turns)
}

/// Like [`read`], for rows that were already read from the file at `path`.
///
/// # Errors
/// As [`read`].
pub fn read_rows(path: &Path, rows: Vec<jsonl::Row>, chat: &ChatTemplate, turns: Turns) -> Result<(Vec<CompletionRow>, DataReport)> {
    let mut report = DataReport::new(path, rows.len());
    let mut reader = Reader::new(Turner::new(chat), turns, &rows);
    let mut kept = Vec::new();
    let mut used = 0;
    for row in rows {
        let completions = match reader.completion(&row)? {
            Ok(completions) => completions,
            Err(reason) => {
                report.drop_row(row.line, reason);
                continue;
            }
        };
        let before = kept.len();
        kept.extend(completions.into_iter().filter(|text| !text.completion.trim().is_empty()));
        if kept.len() == before {
            report.drop_row(row.line, DropReason::EmptyCompletion);
        } else {
            used += 1;
        }
    }
    report.turns = reader.learned_turns;
    report.remarks = reader.remarks.sentences();
    let report = report.finish(used)?;
    Ok((kept, report))
}

impl CompletionSet {
    /// Reads the rows of a file like [`read`], and tokenizes them.
    ///
    /// # Errors
    /// As [`read`], and [`crate::Error::Tokenizer`].
    pub fn load(path: &Path, tokenizer: &Tokenizer, chat: &ChatTemplate, turns: Turns, limits: &Limits) -> Result<Self> {
        let (rows, report) = read(path, chat, turns)?;
        Self::from_rows(&rows, report, tokenizer, limits)
    }

    /// Tokenizes rows. `report` is the report on their reading, which is continued.
    ///
    /// # Errors
    /// [`crate::Error::Tokenizer`]. [`crate::Error::NoData`] if no row is left.
    pub fn from_rows(rows: &[CompletionRow], report: DataReport, tokenizer: &Tokenizer, limits: &Limits) -> Result<Self> {
        let whole = tokenize_rows(tokenizer, rows, CompletionRow::text, limits)?;
        Self::from_tokens(rows, whole, report, tokenizer, limits)
    }

    /// Cuts tokenized rows to length.
    ///
    /// # Errors
    /// [`crate::Error::NoData`] if no row is left.
    pub(super) fn from_tokens(
        rows: &[CompletionRow],
        whole: Vec<Whole<1>>,
        mut report: DataReport,
        tokenizer: &Tokenizer,
        limits: &Limits,
    ) -> Result<Self> {
        let (mut sequences, mut lines) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for (row, tokenized) in rows.iter().zip(whole) {
            match tokenized.and_then(|whole| whole.fit(tokenizer, limits)) {
                Ok(tokenized) => {
                    report.count(&tokenized);
                    sequences.extend(tokenized.sequences);
                    lines.push(row.line);
                }
                Err(reason) => report.drop_row(row.line, reason),
            }
        }
        report.truncation = limits.truncation;
        let kept: BTreeSet<usize> = lines.iter().copied().collect();
        // A row is dropped only if none of its texts is left.
        report.dropped.retain(|dropped| !kept.contains(&dropped.line));
        report.dropped.dedup_by_key(|dropped| dropped.line);
        let report = report.finish(kept.len())?;
        Ok(Self { sequences, lines, report })
    }
}
