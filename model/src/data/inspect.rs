//! A look at a dataset before training: how long its rows are, what is cut, merged and dropped, and what is learned.

use super::rows::tokenize_rows;
use super::{
    Balance, ChatTemplate, CompletionRow, DataReport, LabelledSet, PreferenceRow, Turns, completions, jsonl, preferences, read_rows,
    unpaired,
};
use crate::boundary::{Limits, Sequence, Tokenized, Truncation};
use crate::error::Result;
use crate::tokenizer::Tokenizer;
use serde::Serialize;
use std::path::Path;

/// The form of a file's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A prompt with a chosen and a rejected completion.
    Preferences,
    /// A prompt with one completion, or a text.
    Completions,
    /// A prompt with one completion, and whether that is desirable.
    Unpaired,
}

/// The data that training would use, and how it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// The form of the rows.
    pub form: Form,
    /// The rows that are kept, dropped, cut and merged, exactly as in a training run with the same limits.
    pub report: DataReport,
    /// The most tokens of a sequence.
    pub max_tokens: usize,
    /// Lengths in tokens before anything is cut, of every row that has tokens. First comes the prompt's length, then each completion's
    /// (with EOS), then the longest whole sequence of a row.
    pub lengths: Vec<Lengths>,
    /// Lines of the rows that were cut, ascending.
    pub truncated_lines: Vec<usize>,
    /// Lines of the rows in which a completion begins inside a token of the prompt, ascending.
    pub merged_lines: Vec<usize>,
    /// The numbers of desirable and undesirable rows that are kept, if the rows are labelled.
    pub labels: Option<Balance>,
    /// The first rows that are kept.
    pub examples: Vec<Example>,
}

/// The distribution of one length, in tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Lengths {
    /// The name of what is measured.
    pub name: &'static str,
    /// The lengths, ascending. There is at least one.
    sorted: Vec<usize>,
}

/// A row in the form in which it is learned, after cutting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Its line.
    pub line: usize,
    /// The name and the tokens of each sequence.
    pub sequences: Vec<(&'static str, Sequence)>,
}

/// The settings with which training would read a file.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The way in which conversations become text.
    pub chat: &'a ChatTemplate,
    /// The turns of the model that are learned.
    pub turns: Turns,
    /// The limits on the length of sequences.
    pub limits: Limits,
}

/// Reads a file as training would, and measures every row. The first row decides if the rows are preferences or labelled. The first
/// `examples` rows are kept for display.
///
/// # Errors
/// The errors of reading such a file: see [`preferences::read`], [`unpaired::read_rows`] and [`completions::read`].
pub fn inspect(path: &Path, reading: &Reading, examples: usize) -> Result<Inspection> {
    let rows = read_rows(path)?;
    if unpaired::are_pairs(&rows) {
        inspect_preferences(path, rows, reading, examples)
    } else if rows.first().is_some_and(jsonl::Row::is_labelled) {
        inspect_labelled(path, rows, reading, examples)
    } else {
        inspect_completions(path, rows, reading, examples)
    }
}

fn inspect_preferences(path: &Path, rows: Vec<jsonl::Row>, reading: &Reading, examples: usize) -> Result<Inspection> {
    let (rows, report) = preferences::read_rows(path, rows, reading.chat)?;
    let mut tally = Tally::new(&reading.limits);
    let whole = tokenize_rows(reading.tokenizer, &rows, PreferenceRow::text, &reading.limits)?;
    for (row, whole) in rows.iter().zip(&whole) {
        whole.iter().for_each(|whole| tally.add(row.line, whole));
    }
    let set = super::PreferenceSet::from_tokens(&rows, whole, report, reading.tokenizer, &reading.limits)?;
    let first = set.pairs.iter().take(examples);
    let examples = first
        .map(|pair| Example { line: pair.line, sequences: vec![("chosen", pair.chosen.clone()), ("rejected", pair.rejected.clone())] });
    Ok(tally.finish(Form::Preferences, &["prompt", "chosen", "rejected", "row"], set.report, examples.collect()))
}

fn inspect_labelled(path: &Path, rows: Vec<jsonl::Row>, reading: &Reading, examples: usize) -> Result<Inspection> {
    let (rows, report) = unpaired::read_rows(path, rows, reading.chat)?;
    let mut tally = Tally::new(&reading.limits);
    let whole = tokenize_rows(reading.tokenizer, &rows, |(row, _)| row.text(), &reading.limits)?;
    for ((row, _), whole) in rows.iter().zip(&whole) {
        whole.iter().for_each(|whole| tally.add(row.line, whole));
    }
    let set = LabelledSet::from_tokens(&rows, whole, report, reading.tokenizer, &reading.limits)?;
    let name = |is_desirable: bool| if is_desirable { "desirable" } else { "undesirable" };
    let first = set.rows.iter().take(examples);
    let examples = first.map(|row| Example { line: row.line, sequences: vec![(name(row.is_desirable), row.sequence.clone())] });
    let seen = tally.finish(Form::Unpaired, &["prompt", "completion", "row"], set.report.clone(), examples.collect());
    Ok(Inspection { labels: Some(Balance::of(&set.rows)), ..seen })
}

fn inspect_completions(path: &Path, rows: Vec<jsonl::Row>, reading: &Reading, examples: usize) -> Result<Inspection> {
    let (rows, report) = completions::read_rows(path, rows, reading.chat, reading.turns)?;
    let mut tally = Tally::new(&reading.limits);
    let whole = tokenize_rows(reading.tokenizer, &rows, CompletionRow::text, &reading.limits)?;
    for (row, whole) in rows.iter().zip(&whole) {
        whole.iter().for_each(|whole| tally.add(row.line, whole));
    }
    let set = super::CompletionSet::from_tokens(&rows, whole, report, reading.tokenizer, &reading.limits)?;
    let first = set.lines.iter().zip(&set.sequences).take(examples);
    let examples = first.map(|(&line, sequence)| Example { line, sequences: vec![("completion", sequence.clone())] });
    Ok(tally.finish(Form::Completions, &["prompt", "completion", "row"], set.report.clone(), examples.collect()))
}

/// Lengths and lines, collected row by row.
struct Tally {
    limits: Limits,
    /// One list for each kind of length.
    lengths: Vec<Vec<usize>>,
    truncated: Vec<usize>,
    merged: Vec<usize>,
}

impl Tally {
    fn new(limits: &Limits) -> Self {
        Self { limits: *limits, lengths: Vec::new(), truncated: Vec::new(), merged: Vec::new() }
    }

    /// Adds a row before it is cut to length.
    fn add<const N: usize>(&mut self, line: usize, row: &Tokenized<N>) {
        let prompt = row.sequences.iter().map(|sequence| sequence.prompt().len()).max().unwrap_or(0);
        let longest = row.sequences.iter().map(|sequence| sequence.tokens.len()).max().unwrap_or(0);
        let completions = row.sequences.iter().map(|sequence| sequence.completion().len());
        let lengths: Vec<usize> = [prompt].into_iter().chain(completions).chain([longest]).collect();
        self.lengths.resize(lengths.len(), Vec::new());
        self.lengths.iter_mut().zip(lengths).for_each(|(list, length)| list.push(length));
        if longest > self.limits.max_tokens && self.limits.truncation != Truncation::Drop {
            self.truncated.push(line);
        }
        if row.merged > 0 {
            self.merged.push(line);
        }
    }

    /// Makes the result. Lines of dropped rows are removed from the lists.
    fn finish(mut self, form: Form, names: &[&'static str], report: DataReport, examples: Vec<Example>) -> Inspection {
        let kept = |line: &usize| report.dropped.binary_search_by_key(line, |row| row.line).is_err();
        self.truncated.retain(kept);
        self.truncated.dedup();
        self.merged.retain(kept);
        self.merged.dedup();
        let lengths = names.iter().zip(self.lengths).map(|(name, mut sorted)| {
            sorted.sort_unstable();
            Lengths { name, sorted }
        });
        Inspection {
            form,
            max_tokens: self.limits.max_tokens,
            lengths: lengths.collect(),
            truncated_lines: self.truncated,
            merged_lines: self.merged,
            report,
            labels: None,
            examples,
        }
    }
}

impl Lengths {
    /// Returns the smallest length that a fraction `q` of the rows, 0 ≤ `q` ≤ 1, does not exceed.
    pub fn quantile(&self, q: f64) -> usize {
        let rank = (q.clamp(0.0, 1.0) * self.sorted.len() as f64).ceil() as usize;
        self.sorted.get(rank.max(1) - 1).copied().unwrap_or(0)
    }

    /// Returns the mean length.
    pub fn mean(&self) -> f64 {
        self.sorted.iter().sum::<usize>() as f64 / self.sorted.len().max(1) as f64
    }

    /// Counts the rows in each of up to `bins` equally wide ranges of whole lengths: (first length, last length, rows).
    pub fn histogram(&self, bins: usize) -> Vec<(usize, usize, usize)> {
        let (Some(&low), Some(&high)) = (self.sorted.first(), self.sorted.last()) else { return Vec::new() };
        let width = (high - low + 1).div_ceil(bins.max(1));
        let starts = (low..=high).step_by(width);
        let rows_below = |length: usize| self.sorted.partition_point(|&other| other < length);
        starts.map(|start| (start, start + width - 1, rows_below(start + width) - rows_below(start))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_lengths_that_occur() {
        let lengths = Lengths { name: "row", sorted: vec![1, 2, 3, 10] };
        assert_eq!([0.0, 0.25, 0.5, 0.51, 1.0].map(|q| lengths.quantile(q)), [1, 1, 2, 3, 10]);
        assert_eq!(lengths.mean(), 4.0);
    }

    #[test]
    fn a_histogram_has_every_row_once() {
        let lengths = Lengths { name: "row", sorted: vec![1, 1, 2, 7, 10] };
        assert_eq!(lengths.histogram(5), [(1, 2, 3), (3, 4, 0), (5, 6, 0), (7, 8, 1), (9, 10, 1)]);
        assert_eq!(Lengths { name: "row", sorted: vec![4, 4] }.histogram(9), [(4, 4, 2)]);
    }

    #[test]
    fn lines_are_told_for_what_was_cut_and_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let rows = [("p", "a", "b"), ("a long prompt", "yes", "no"), ("p", "", "b"), ("q", "c", "cd")];
        let text = rows
            .map(|(prompt, chosen, rejected)| serde_json::json!({"prompt": prompt, "chosen": chosen, "rejected": rejected}).to_string());
        std::fs::write(&path, text.join("\n")).unwrap();
        let (tokenizer, chat) = (Tokenizer::bytes(), ChatTemplate::default());
        let reading = Reading { tokenizer: &tokenizer, chat: &chat, turns: Turns::All, limits: Limits::new(8) };
        let seen = inspect(&path, &reading, 1).unwrap();
        assert_eq!((seen.form, seen.report.kept, seen.truncated_lines.as_slice()), (Form::Preferences, 3, &[2][..]));
        assert_eq!(seen.report.dropped.iter().map(|row| row.line).collect::<Vec<_>>(), [3]);
        let names: Vec<_> = seen.lengths.iter().map(|lengths| (lengths.name, lengths.quantile(1.0))).collect();
        assert_eq!(names, [("prompt", 14), ("chosen", 4), ("rejected", 3), ("row", 18)]);
        assert_eq!((seen.examples.len(), seen.examples[0].sequences[0].1.completion()), (1, &[97, 257][..]));
    }
}
