//! Rows of JSON: one object a line or one array of objects. Every row knows its line.

use crate::error::{Error, Result};
use rayon::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

/// One row of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The file.
    pub path: Arc<Path>,
    /// The line on which the row begins, counted from 1. In a Parquet file, the number of the row.
    pub line: usize,
    /// The row's keys.
    pub keys: Map<String, Value>,
}

/// Reads the rows of a text: a JSON object a line, one list of objects, or one object over several lines.
pub(super) fn from_text(path: &Path, text: &str) -> Result<Vec<Row>> {
    let path: Arc<Path> = path.into();
    match text.trim_start().chars().next() {
        Some('[') => read_array(&path, text),
        Some('{') if text.trim_start().lines().next().is_some_and(|first| serde_json::from_str::<Value>(first).is_err()) => {
            read_object(&path, text)
        }
        Some('{') | None => {
            let lines: Vec<_> = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).collect();
            let rows: Vec<_> = lines.into_par_iter().map(|(line, text)| parse(&path, line, text)).collect();
            rows.into_iter().collect()
        }
        Some(_) => {
            let line = line_at(&text.as_bytes()[..text.len() - text.trim_start().len()]);
            let first = text.trim_start().lines().next().unwrap_or_default();
            if serde_json::from_str::<Value>(first).is_err() {
                let reason =
                    "this is plain text where rows are wanted: JSON lines, a JSON list or Parquet (`slpo train` learns from plain text)";
                return Err(bad_row(&path, line, reason));
            }
            parse(&path, line, first).map(|row| vec![row])
        }
    }
}

/// Reads one object over several lines as a row, unless it wraps a list of rows.
fn read_object(path: &Arc<Path>, text: &str) -> Result<Vec<Row>> {
    let line = line_at(&text.as_bytes()[..text.len() - text.trim_start().len()]);
    let first = text.trim_start().lines().next().unwrap_or_default();
    let Ok(Value::Object(keys)) = serde_json::from_str::<Value>(text) else {
        // The error is about the first line, which would be a row if each line were one.
        return parse(path, line, first).map(|row| vec![row]);
    };
    let wrapped = keys.iter().find(|(_, value)| value.as_array().is_some_and(|items| items.iter().any(Value::is_object)));
    match wrapped {
        Some((key, _)) if !["messages", "conversations", "chosen", "rejected", "prompt", "completion"].contains(&key.as_str()) => {
            Err(bad_row(
                path,
                line,
                format!("the file is one object, whose {key:?} holds a list: give the file that list alone, or a row a line"),
            ))
        }
        _ => Ok(vec![Row { path: path.clone(), line, keys }]),
    }
}

impl Row {
    /// True if the row has `key`, with a value other than `null`.
    pub fn has(&self, key: &str) -> bool {
        self.keys.get(key).is_some_and(|value| !value.is_null())
    }

    /// Returns the text under `key`.
    ///
    /// # Errors
    /// [`Error::BadRow`] if it is missing or is not a string.
    pub fn text(&self, key: &str) -> Result<&str> {
        match self.keys.get(key) {
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(self.error(format!("{key:?} must be a string, not {}", kind(other)))),
            None => Err(self.error(format!("{key:?} is missing"))),
        }
    }

    /// True if the row is a completion with a label: true, false, 1 or 0.
    pub fn is_labelled(&self) -> bool {
        self.has("completion") && self.label().is_some()
    }

    /// Returns the row's `label`, if it is true, false, 1 or 0.
    pub fn label(&self) -> Option<bool> {
        match self.keys.get("label")? {
            Value::Bool(label) => Some(*label),
            number if number.as_f64() == Some(1.0) => Some(true),
            number if number.as_f64() == Some(0.0) => Some(false),
            _ => None,
        }
    }

    /// Makes an [`Error::BadRow`] about this row.
    pub fn error(&self, reason: impl Into<String>) -> Error {
        bad_row(&self.path, self.line, reason)
    }
}

/// Names the kind of a value, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Returns the file's text without a byte order mark.
pub(super) fn utf8<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let line = line_at(&bytes[..error.valid_up_to()]);
        bad_row(path, line, "not UTF-8 text")
    })
}

fn read_array(path: &Arc<Path>, text: &str) -> Result<Vec<Row>> {
    let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| bad_row(path, error.line(), json_reason(&error)))?;
    let mut rows = Vec::with_capacity(items.len());
    let (mut seen, mut line) = (0, 1);
    for item in items {
        // Each item is a slice of `text`.
        let start = item.get().as_ptr().addr() - text.as_ptr().addr();
        line += line_at(&text.as_bytes()[seen..start]) - 1;
        seen = start;
        rows.push(parse(path, line, item.get())?);
    }
    Ok(rows)
}

fn line_at(before: &[u8]) -> usize {
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

fn parse(path: &Arc<Path>, line: usize, text: &str) -> Result<Row> {
    let value: Value = serde_json::from_str(text).map_err(|error| bad_row(path, line, json_reason(&error)))?;
    match value {
        Value::Object(keys) => Ok(Row { path: path.clone(), line, keys }),
        other => {
            let reason = format!("a row must be a JSON object, not {}", kind(&other));
            Err(bad_row(path, line, reason))
        }
    }
}

/// Returns the parser's words, without its own line number.
fn json_reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let words = text.split(" at line ").next().unwrap_or_default();
    format!("not valid JSON: {words} at column {}", error.column())
}

fn bad_row(path: &Path, line: usize, reason: impl Into<String>) -> Error {
    Error::BadRow { path: path.to_owned(), line, reason: reason.into() }
}
