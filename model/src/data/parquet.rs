//! Rows of a Parquet file, as the Hugging Face hub stores datasets: each column is a key, lists of structs are lists of objects.
//!
//! Pages may be plain or compressed with Snappy, gzip or LZ4. The decoder is another project's and has been seen to panic on
//! damaged files, so it works in a thread of its own, whose panic is a damaged file.

use super::jsonl::Row;
use crate::error::{Error, Result};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Map, Number, Value};
use std::path::Path;

/// The name of the thread that decodes: a panic there is the file's fault.
pub const THREAD: &str = "parquet-decoder";

const MAGIC: &[u8] = b"PAR1";

/// What rows may take in memory at most for each byte of the file, and besides.
const EXPANSION: usize = 1024;
const ALLOWANCE: usize = 64 << 20;

/// Whether a file with these contents is meant to be Parquet.
pub fn is_parquet(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads the contents of a Parquet file; a row's line is its number, from 1.
///
/// # Errors
/// [`Error::BadFile`] where the file is damaged, compressed in a way that is not supported, or stands for far more than it holds.
pub fn read(path: &Path, bytes: Vec<u8>) -> Result<Vec<Row>> {
    let owned = path.to_owned();
    let decode = move || decode(&owned, bytes);
    let thread = std::thread::Builder::new().name(THREAD.to_owned()).spawn(decode).map_err(Error::io(path))?;
    thread.join().unwrap_or_else(|_| Err(Error::bad_file(path, "a damaged Parquet file")))
}

fn decode(path: &Path, bytes: Vec<u8>) -> Result<Vec<Row>> {
    let bad = |error: parquet::errors::ParquetError| Error::bad_file(path, format!("cannot be read as Parquet: {}", one_line(&error)));
    let mut left = bytes.len().saturating_mul(EXPANSION).saturating_add(ALLOWANCE);
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).map_err(bad)?;
    let mut rows = Vec::new();
    for (index, row) in reader.get_row_iter(None).map_err(bad)?.enumerate() {
        let keys = object(row.map_err(bad)?.into_columns(), &mut left, 0);
        let Some(keys) = keys else {
            return Err(Error::bad_file(
                path,
                format!("row {} of the Parquet file stands for far more data than the file holds", index + 1),
            ));
        };
        rows.push(Row { path: path.to_owned(), line: index + 1, keys });
    }
    Ok(rows)
}

/// The columns or members as an object; none where `left` bytes are not enough for it.
fn object(members: Vec<(String, Field)>, left: &mut usize, depth: usize) -> Option<Map<String, Value>> {
    *left = left.checked_sub(128)?;
    members.into_iter().map(|(name, field)| Some((name, value(field, left, depth)?))).collect()
}

fn value(field: Field, left: &mut usize, depth: usize) -> Option<Value> {
    const DEEPEST: usize = 64;
    if depth > DEEPEST {
        return None;
    }
    *left = left.checked_sub(64)?;
    Some(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::Bool(value),
        Field::Byte(value) => value.into(),
        Field::Short(value) => value.into(),
        Field::Int(value) | Field::Date(value) | Field::TimeMillis(value) => value.into(),
        Field::Long(value) | Field::TimeMicros(value) | Field::TimestampMillis(value) | Field::TimestampMicros(value) => value.into(),
        Field::UByte(value) => value.into(),
        Field::UShort(value) => value.into(),
        Field::UInt(value) => value.into(),
        Field::ULong(value) => value.into(),
        Field::Float(value) => Number::from_f64(value.into()).map_or(Value::Null, Value::Number),
        Field::Double(value) => Number::from_f64(value).map_or(Value::Null, Value::Number),
        Field::Str(text) => {
            *left = left.checked_sub(text.len())?;
            Value::String(text)
        }
        Field::Bytes(bytes) => {
            *left = left.checked_sub(bytes.len())?;
            // Texts that their writer did not mark as such.
            std::str::from_utf8(bytes.data()).map_or(Value::Null, Value::from)
        }
        Field::Group(row) => Value::Object(object(row.into_columns(), left, depth + 1)?),
        Field::ListInternal(list) => {
            Value::Array(list.elements().iter().map(|item| value(item.clone(), left, depth + 1)).collect::<Option<_>>()?)
        }
        Field::MapInternal(map) => {
            // A text as it is, any other key as it is written.
            let name = |key: &Field| if let Field::Str(text) = key { text.clone() } else { key.to_string() };
            let entry = |(key, item): &(Field, Field)| Some((name(key), value(item.clone(), left, depth + 1)?));
            Value::Object(map.entries().iter().map(entry).collect::<Option<_>>()?)
        }
        other => Value::String(other.to_string()),
    })
}

fn one_line(error: &parquet::errors::ParquetError) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
