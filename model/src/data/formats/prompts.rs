//! Plain texts: `prompt` with `chosen` and `rejected`, `prompt` with `completion`, or only `text`.

use super::Pair;
use crate::data::jsonl::Row;
use crate::data::{ChatTemplate, CompletionRow, PreferenceRow};
use crate::error::Result;

pub fn pair(row: &Row, _: &ChatTemplate) -> Result<Pair> {
    Ok(Ok(PreferenceRow {
        line: row.line,
        prompt: row.text("prompt")?.to_owned(),
        chosen: row.text("chosen")?.to_owned(),
        rejected: row.text("rejected")?.to_owned(),
    }))
}

pub fn completion(row: &Row, _: &ChatTemplate) -> Result<CompletionRow> {
    Ok(CompletionRow { line: row.line, prompt: row.text("prompt")?.to_owned(), completion: row.text("completion")?.to_owned() })
}

pub fn text(row: &Row, _: &ChatTemplate) -> Result<CompletionRow> {
    Ok(CompletionRow { line: row.line, prompt: String::new(), completion: row.text("text")?.to_owned() })
}
