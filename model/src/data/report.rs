//! The report on the rows of a file: kept, cut and dropped, each with its reason.

use crate::boundary::{Tokenized, Truncation, Unusable};
use crate::error::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The reason why a row was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// A completion is empty or only white space.
    EmptyCompletion,
    /// Chosen and rejected are the same text.
    EqualCompletions,
    /// Chosen and rejected do not answer the same prompt.
    PromptsDiffer,
    /// The prompt alone is as long as a sequence may be.
    PromptFillsLimit,
    /// The text is a single token with nothing before it.
    NothingToPredict,
    /// Chosen and rejected have the same tokens after cutting.
    EqualTokens,
    /// The row is longer than a sequence may be, and such rows are dropped.
    TooLong,
    /// Every turn of the model has weight 0.
    NothingLearned,
}

impl From<Unusable> for DropReason {
    fn from(reason: Unusable) -> Self {
        match reason {
            Unusable::EmptyCompletion => Self::EmptyCompletion,
            Unusable::NothingToPredict => Self::NothingToPredict,
            Unusable::PromptFillsLimit => Self::PromptFillsLimit,
            Unusable::TooLong => Self::TooLong,
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyCompletion => "empty completion",
            Self::EqualCompletions => "chosen equal to rejected",
            Self::PromptsDiffer => "chosen and rejected after different prompts",
            Self::PromptFillsLimit => "prompt as long as the limit",
            Self::NothingToPredict => "nothing to predict",
            Self::EqualTokens => "same tokens once cut to length",
            Self::TooLong => "longer than the limit",
            Self::NothingLearned => "no turn to learn (weight 0)",
        })
    }
}

/// A row that was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// Its line in the file, counted from 1.
    pub line: usize,
    /// The reason.
    pub reason: DropReason,
}

/// The report on a file's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DataReport {
    /// The file.
    pub path: PathBuf,
    /// Rows in the file.
    pub rows: usize,
    /// Rows that can be trained on.
    pub kept: usize,
    /// The dropped rows, in the order of the file.
    pub dropped: Vec<Dropped>,
    /// Completions whose first token begins in the prompt.
    pub merged_boundaries: usize,
    /// Rows that were cut to length.
    pub truncated: usize,
    /// The way in which rows that are too long are cut.
    pub truncation: Truncation,
    /// Turns of the model that are learned from conversations. 0 if there are none.
    pub turns: usize,
    /// A sentence for each thing that was noticed and not used.
    pub remarks: Vec<String>,
}

impl DataReport {
    /// Makes a report on `rows` rows of which nothing is known yet. `path` names their source in messages.
    pub fn new(path: &Path, rows: usize) -> Self {
        Self {
            path: path.to_owned(),
            rows,
            kept: 0,
            dropped: Vec::new(),
            merged_boundaries: 0,
            truncated: 0,
            truncation: Truncation::default(),
            turns: 0,
            remarks: Vec::new(),
        }
    }

    /// Counts the dropped rows for each reason.
    pub fn drop_counts(&self) -> BTreeMap<DropReason, usize> {
        let mut counts = BTreeMap::new();
        for dropped in &self.dropped {
            *counts.entry(dropped.reason).or_default() += 1;
        }
        counts
    }

    pub(super) fn drop_row(&mut self, line: usize, reason: impl Into<DropReason>) {
        let reason = reason.into();
        self.dropped.push(Dropped { line, reason });
    }

    pub(super) fn count<const N: usize>(&mut self, row: &Tokenized<N>) {
        self.merged_boundaries += row.merged;
        self.truncated += usize::from(row.truncated);
    }

    /// Sets the number of kept rows. Returns an error if there are none.
    pub(super) fn finish(mut self, kept: usize) -> Result<Self> {
        self.kept = kept;
        self.dropped.sort_by_key(|dropped| dropped.line);
        if kept > 0 {
            return Ok(self);
        }
        let reason = match self.rows {
            0 => "the file has no rows".to_owned(),
            _ => format!("no row can be used: {self}"),
        };
        let path = self.path;
        Err(Error::NoData { path, reason })
    }
}

/// Writes one line for a log: `888 rows, 836 kept, 52 dropped (52 empty completion: line 3, 8, 21, …)`.
impl fmt::Display for DataReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LINES: usize = 3;
        write!(f, "{} rows, {} kept, {} dropped", self.rows, self.kept, self.dropped.len())?;
        for (index, (reason, count)) in self.drop_counts().into_iter().enumerate() {
            let lines = self.dropped.iter().filter(|dropped| dropped.reason == reason);
            let mut shown: Vec<_> = lines.take(LINES).map(|dropped| dropped.line.to_string()).collect();
            if count > LINES {
                shown.push("…".to_owned());
            }
            let open = if index == 0 { " (" } else { "; " };
            write!(f, "{open}{count} {reason}: line {}", shown.join(", "))?;
        }
        if !self.dropped.is_empty() {
            f.write_str(")")?;
        }
        if self.turns > 0 {
            write!(f, ", {} turns learned", self.turns)?;
        }
        if self.truncated > 0 {
            write!(f, ", {} cut to length ({})", self.truncated, self.truncation)?;
        }
        if self.merged_boundaries > 0 {
            write!(f, ", {} completions begin inside a token of their prompt", self.merged_boundaries)?;
        }
        Ok(())
    }
}
