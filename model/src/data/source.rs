//! The kind of a data file, told by its content first and its name second, and its text without byte-order mark and foreign line ends.
//!
//! Rows are JSON lines, one JSON array or object, or Parquet. All other UTF-8 is running text. CSV, archives and compressed files are
//! refused with an explanation wherever data is read.

use super::jsonl::{self, Row};
use super::parquet;
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::path::Path;

/// The contents of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// Rows with columns.
    Rows(Vec<Row>),
    /// Running text.
    Text(String),
}

/// The starts of files that are not read, and what these files are.
const REFUSED: [(&[u8], &str); 9] = [
    (b"\x1f\x8b", "compressed with gzip: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard: unpack it first"),
    (b"BZh", "compressed with bzip2: unpack it first"),
    (b"\xfd7zXZ", "compressed with xz: unpack it first"),
    (b"PK\x03\x04", "a ZIP archive (or a spreadsheet): unpack it first, or save it as JSON lines"),
    (b"ARROW1", "an Arrow file: save it as Parquet or JSON lines"),
    (b"SQLite format 3", "a database: save its rows as JSON lines"),
    (b"\xff\xfe", "UTF-16 text: save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text: save it as UTF-8"),
];

/// Columns by which a first line is recognised as rows, of JSON or of CSV.
const COLUMNS: [&str; 14] = [
    "text",
    "prompt",
    "chosen",
    "rejected",
    "completion",
    "messages",
    "conversations",
    "instruction",
    "input",
    "output",
    "question",
    "query",
    "response",
    "label",
];

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`]. [`Error::BadRow`] if the file is not UTF-8, or its rows are not JSON. [`Error::BadFile`] for forms that are not read.
    pub fn read(path: &Path) -> Result<Self> {
        Self::of(path, crate::files::read_data(path)?)
    }

    /// Like [`Source::read`], for a file's contents. `path` names them in messages. Its extension can mark the contents as rows.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn of(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        opened(path, bytes, Self::Rows, |text| {
            let named = has_ending(path, &["json", "jsonl", "ndjson", "parquet"]);
            if named || begins_with_a_row(text) {
                return jsonl::from_text(path, text).map(Self::Rows);
            }
            Ok(Self::Text(with_line_feeds(text).into_owned()))
        })
    }
}

/// Reads a file of rows. Blank lines are skipped. A file that starts as Parquet does is read as Parquet.
///
/// # Errors
/// [`Error::Io`]. [`Error::BadRow`] for a line that is not UTF-8, not JSON or not an object. [`Error::BadFile`] for a damaged Parquet file,
/// for CSV and for compressed files.
pub fn read_rows(path: &Path) -> Result<Vec<Row>> {
    rows_of_bytes(path, crate::files::read_data(path)?)
}

/// Like [`read_rows`], for a file's contents. `path` names them in messages.
///
/// # Errors
/// As [`read_rows`].
pub fn rows_of_bytes(path: &Path, bytes: Vec<u8>) -> Result<Vec<Row>> {
    opened(path, bytes, |rows| rows, |text| jsonl::from_text(path, text))
}

/// Applies `of_rows` to the rows of a Parquet file, and `of_text` to the text of any other file that is not refused.
fn opened<T>(path: &Path, bytes: Vec<u8>, of_rows: impl FnOnce(Vec<Row>) -> T, of_text: impl FnOnce(&str) -> Result<T>) -> Result<T> {
    refuse(path, &bytes)?;
    if parquet::is_parquet(&bytes) {
        return parquet::read(path, bytes).map(of_rows);
    }
    let text = jsonl::utf8(path, &bytes)?;
    if is_csv(path, text) {
        return Err(csv(path));
    }
    of_text(text)
}

/// Refuses a file that is not a data file.
///
/// # Errors
/// [`Error::BadFile`] that says what the file is and what to do.
fn refuse(path: &Path, bytes: &[u8]) -> Result<()> {
    let found = REFUSED.iter().find(|(start, _)| bytes.starts_with(start));
    found.map_or(Ok(()), |(_, what)| Err(Error::bad_file(path, format!("this file is {what}"))))
}

/// Makes the error that refuses CSV.
fn csv(path: &Path) -> Error {
    Error::bad_file(
        path,
        "CSV is not read: save the table as JSON lines or Parquet, for example with pandas' to_json(lines=True, orient=\"records\")",
    )
}

/// True if the file is named as CSV or TSV, or its first line is a list of known columns.
fn is_csv(path: &Path, text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let is_list = |separator: char| {
        let names: Vec<&str> = first.split(separator).map(|name| name.trim().trim_matches('"')).collect();
        names.len() > 1
            && names.iter().all(|name| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_-".contains(c)))
            && names.iter().filter(|name| COLUMNS.contains(name)).count() > 1
    };
    has_ending(path, &["csv", "tsv"]) || [',', '\t', ';'].into_iter().any(is_list)
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    endings.iter().any(|known| known.eq_ignore_ascii_case(ending))
}

/// True if the text begins with a JSON object that has a known column, or with a list of such objects.
fn begins_with_a_row(text: &str) -> bool {
    let start = text.trim_start();
    let start = start.strip_prefix('[').map_or(start, str::trim_start);
    if !start.starts_with('{') {
        return false;
    }
    // Only the first value is parsed. More rows may follow.
    let first = serde_json::Deserializer::from_str(start).into_iter::<serde_json::Value>().next();
    first.is_some_and(|value| value.is_ok_and(|value| COLUMNS.iter().any(|column| value.get(column).is_some())))
}

/// Replaces all line ends by line feeds.
fn with_line_feeds(text: &str) -> Cow<'_, str> {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n").into() } else { text.into() }
}
