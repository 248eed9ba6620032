//! Rows of a Parquet file, as the Hugging Face hub stores datasets: each column is a key, lists of structs are lists of objects.
//!
//! Pages may be plain or compressed with Snappy, gzip or LZ4. The decoder belongs to another project and panics on some damaged files. So
//! it runs in its own thread, and a panic is reported as a damaged file.
//!
//! A small file can stand for a large amount of data: pages that inflate, a long value that a dictionary names again and again, a list of
//! 10⁹ nulls in a few bytes. The size of a row is known only after decoding, so the headers of all pages are checked first (`pages.rs`).
//! The bound is 1024 times the file's size, as much as gzip can make of a page. It is never more than the available memory.

mod pages;

use super::jsonl::Row;
use crate::error::{Error, Result};
use crate::memory;
use pages::Page;
use parquet::basic::Type;
use parquet::column::page::{Page as DecodedPage, PageReader};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Map, Number, Value};
use std::path::Path;
use std::sync::Arc;

/// The name of the thread that decodes. A panic in this thread is the file's fault.
pub const THREAD: &str = "parquet-decoder";

const MAGIC: &[u8] = b"PAR1";

/// The most memory that rows may take: [`EXPANSION`] bytes for each byte of the file, and [`ALLOWANCE`] bytes more.
const EXPANSION: usize = 1024;
const ALLOWANCE: usize = 64 << 20;

/// The deepest schema. A list of structs takes four levels.
const DEEPEST_SCHEMA: usize = 256;
/// The fewest bytes that a value takes as a field of a row.
const FIELD: u64 = 64;
/// The number of a column's values that are decoded in one batch.
const BATCH: u64 = 1024;

/// The format's numbers for encodings: those of dictionaries, and that of texts that share their beginning with the text before.
const DICTIONARIES: [u64; 2] = [2, 8];
const SHARED_BEGINNINGS: u64 = 7;

/// True if the contents start as a Parquet file does.
pub fn is_parquet(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads the contents of a Parquet file. A row's line is its number, counted from 1.
///
/// # Errors
/// [`Error::BadFile`] if the file is damaged, is compressed in a way that is not supported, or stands for far more data than it holds.
pub fn read(path: &Path, bytes: Vec<u8>) -> Result<Vec<Row>> {
    let owned = path.to_owned();
    let decode = move || decode(&owned, bytes);
    let thread = std::thread::Builder::new().name(THREAD.to_owned()).spawn(decode).map_err(Error::io(path))?;
    thread.join().unwrap_or_else(|_| Err(Error::bad_file(path, "a damaged Parquet file")))
}

fn decode(path: &Path, bytes: Vec<u8>) -> Result<Vec<Row>> {
    let bad = |error: parquet::errors::ParquetError| Error::bad_file(path, format!("cannot be read as Parquet: {}", one_line(&error)));
    let of_file = bytes.len().saturating_mul(EXPANSION).saturating_add(ALLOWANCE);
    let mut left = memory::available().map_or(of_file, |available| of_file.min(available as usize));
    if pages::schema_depth(&bytes).is_some_and(|depth| depth > DEEPEST_SCHEMA) {
        return Err(Error::bad_file(path, format!("its Parquet schema is nested more than {DEEPEST_SCHEMA} levels deep")));
    }
    let bytes = bytes::Bytes::from(bytes);
    let reader = SerializedFileReader::new(bytes.clone()).map_err(bad)?;
    check_pages(path, &bytes, &reader, left as u64)?;
    let shared: Arc<Path> = path.into();
    let mut rows = Vec::new();
    for (index, row) in reader.get_row_iter(None).map_err(bad)?.enumerate() {
        let keys = object(row.map_err(bad)?.into_columns(), &mut left, 0);
        let Some(keys) = keys else {
            return Err(too_much(path, &format!("row {}", index + 1)));
        };
        rows.push(Row { path: shared.clone(), line: index + 1, keys });
    }
    Ok(rows)
}

/// Checks the total size of a file's pages against `most` bytes before a page is decompressed. The only exception is the dictionary of a
/// text column with lists, because one row may name a dictionary's value any number of times.
fn check_pages(path: &Path, bytes: &[u8], reader: &SerializedFileReader<bytes::Bytes>, most: u64) -> Result<()> {
    let mut total = 0_u64;
    for (number, group) in reader.metadata().row_groups().iter().enumerate() {
        for (place, column) in group.columns().iter().enumerate() {
            let name = column.column_path().string();
            let (start, length) = column.byte_range();
            let chunk = usize::try_from(start).ok().zip(usize::try_from(length).ok());
            let chunk = chunk.and_then(|(start, length)| bytes.get(start..start.checked_add(length)?));
            let pages = chunk
                .and_then(|chunk| pages::pages(chunk, u64::try_from(column.num_values()).ok()?))
                .ok_or_else(|| Error::bad_file(path, format!("a damaged page in its column {name:?}")))?;
            let inflated = pages.iter().fold(0, |sum: u64, page| sum.saturating_add(page.uncompressed));
            total = total.saturating_add(inflated);
            let column_is_too_much = || Err(too_much(path, &format!("column {name:?} in row group {}", number + 1)));
            if total > most {
                return column_is_too_much();
            }
            let descriptor = column.column_descr();
            let is_text = matches!(descriptor.physical_type(), Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY);
            let has_lists = descriptor.max_rep_level() > 0;
            let longest = || longest_entry(reader, number, place);
            let values = of_values(&pages, is_text, has_lists, longest);
            if values.is_none_or(|values| values > most) {
                return column_is_too_much();
            }
        }
    }
    Ok(())
}

fn too_much(path: &Path, what: &str) -> Error {
    Error::bad_file(path, format!("{what} of the Parquet file stands for far more data than the file or the memory holds"))
}

/// Returns the most bytes that one row, or one batch of decoded values, can take of a column's pages. Returns `None` if the column's
/// dictionary cannot be read.
fn of_values(pages: &[Page], is_text: bool, has_lists: bool, longest: impl Fn() -> Option<u64>) -> Option<u64> {
    let longest = if is_text && has_lists && pages.iter().any(|page| DICTIONARIES.contains(&page.encoding)) { longest()? } else { 0 };
    let of_page = |page: &Page| {
        let count = if has_lists { page.values } else { page.values.min(BATCH) };
        let each = match page.encoding {
            SHARED_BEGINNINGS => page.uncompressed,
            encoding if DICTIONARIES.contains(&encoding) => longest,
            _ => 0,
        };
        count.saturating_mul(each.saturating_add(FIELD))
    };
    let pages = pages.iter().map(of_page);
    Some(if has_lists { pages.fold(0, u64::saturating_add) } else { pages.max().unwrap_or(0) })
}

/// Returns the length of the longest text in a column's dictionary. Each text follows its length (4 bytes).
fn longest_entry(reader: &SerializedFileReader<bytes::Bytes>, group: usize, column: usize) -> Option<u64> {
    let mut pages = reader.get_row_group(group).ok()?.get_column_page_reader(column).ok()?;
    let Some(DecodedPage::DictionaryPage { buf, .. }) = PageReader::get_next_page(pages.as_mut()).ok()? else { return Some(0) };
    let (mut rest, mut longest) = (buf.as_ref(), 0);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length);
        rest = after.get(length as usize..).unwrap_or_default();
        longest = longest.max(u64::from(length));
    }
    Some(longest)
}

/// Converts columns or members to an object. Returns `None` if `left` bytes are not enough, or the levels are too many.
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
            // Texts that their writer did not mark as texts.
            std::str::from_utf8(bytes.data()).map_or(Value::Null, Value::from)
        }
        Field::Group(row) => Value::Object(object(row.into_columns(), left, depth + 1)?),
        Field::ListInternal(list) => {
            Value::Array(list.elements().iter().map(|item| value(item.clone(), left, depth + 1)).collect::<Option<_>>()?)
        }
        Field::MapInternal(map) => {
            // A key that is a text stays the same, any other key becomes a text.
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

#[cfg(test)]
mod tests;
