//! Alpaca's form: an `instruction`, perhaps an `input` to it, and an `output` or two answers.
//!
//! The prompt is the instruction and, where it is not empty, the input, each on its own line.

use super::Pair;
use crate::data::jsonl::Row;
use crate::data::{ChatTemplate, CompletionRow, PreferenceRow};
use crate::error::Result;

pub fn pair(row: &Row, _: &ChatTemplate) -> Result<Pair> {
    Ok(Ok(PreferenceRow {
        line: row.line,
        prompt: prompt(row)?,
        chosen: row.text("chosen")?.to_owned(),
        rejected: row.text("rejected")?.to_owned(),
    }))
}

pub fn completion(row: &Row, _: &ChatTemplate) -> Result<CompletionRow> {
    Ok(CompletionRow { line: row.line, prompt: prompt(row)?, completion: row.text("output")?.to_owned() })
}

/// The instruction and its input, a line each.
pub fn prompt(row: &Row) -> Result<String> {
    let instruction = row.text("instruction")?;
    let input = if row.has("input") { row.text("input")? } else { "" };
    Ok(match input {
        "" => format!("{instruction}\n"),
        input => format!("{instruction}\n{input}\n"),
    })
}
