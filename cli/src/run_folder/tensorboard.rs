//! TensorBoard event files: scalars only.
//!
//! The file is a TFRecord stream: for each record its length (u64), the masked CRC-32C of the length, the bytes, and their
//! masked CRC-32C, all little-endian, where mask(c) = rotate_right(c, 15) + 0xa282ead8 (TensorFlow, `lib/io/record_writer`).
//! The bytes are an `Event` protocol buffer; the messages below hold the fields of `event.proto` and `summary.proto` that
//! scalars need.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;

use super::error::{RunFolderError, writing};

/// `tensorflow.Event`. `file_version`, `summary` and `session_log` are one `oneof` there: at most one is set.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

/// `tensorflow.Summary`.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<SummaryValue>,
}

/// `tensorflow.Summary.Value`; `simple_value` is optional here so that a zero is written.
#[derive(Clone, PartialEq, Message)]
struct SummaryValue {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// `tensorflow.SessionLog`.
#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    /// 1 is START: readers then forget the events of this step and later ones from files before this one.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Writes one event file.
#[derive(Debug)]
pub(super) struct EventWriter {
    path: PathBuf,
    file: File,
}

impl EventWriter {
    /// Begins a new event file in `folder`. Where a run is resumed, `forget_from` is the first step that it will log again.
    pub(super) fn create(folder: &Path, forget_from: Option<u64>) -> Result<Self, RunFolderError> {
        let (path, file) = new_file(folder)?;
        let mut writer = Self { path, file };
        writer.write(&Event { file_version: Some("brain.Event:2".to_owned()), ..Event::now(0) })?;
        if let Some(step) = forget_from {
            writer.write(&Event { session_log: Some(SessionLog { status: 1 }), ..Event::now(step) })?;
        }
        Ok(writer)
    }

    /// Writes the values of one step, rounded to f32 (the format's precision); NaN and ±∞ are kept.
    pub(super) fn scalars(&mut self, step: u64, values: &[(String, f64)]) -> Result<(), RunFolderError> {
        let scalar = |(name, value): &(String, f64)| SummaryValue { tag: name.clone(), simple_value: Some(*value as f32) };
        let summary = Summary { value: values.iter().map(scalar).collect() };
        self.write(&Event { summary: Some(summary), ..Event::now(step) })
    }

    fn write(&mut self, event: &Event) -> Result<(), RunFolderError> {
        self.file.write_all(&frame(&event.encode_to_vec())).map_err(writing(&self.path))
    }
}

impl Event {
    fn now(step: u64) -> Self {
        Self { wall_time: since_epoch().as_secs_f64(), step: step as i64, ..Self::default() }
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A new file whose name sorts after those of earlier runs, as readers take them in that order.
fn new_file(folder: &Path) -> Result<(PathBuf, File), RunFolderError> {
    let mut seconds = since_epoch().as_secs();
    loop {
        let path = folder.join(format!("events.out.tfevents.{seconds:010}.slpo"));
        match OpenOptions::new().append(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => seconds += 1,
            Err(error) => return Err(writing(&path)(error)),
        }
    }
}

/// The bytes of one TFRecord.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut framed = Vec::with_capacity(bytes.len() + 16);
    framed.extend(length);
    framed.extend(masked_crc(&length).to_le_bytes());
    framed.extend(bytes);
    framed.extend(masked_crc(bytes).to_le_bytes());
    framed
}

fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32c_masked() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283, "the check value of CRC-32C");
        assert_eq!(masked_crc(b"123456789"), 0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8));
        let framed = frame(b"abc");
        assert_eq!(framed[..8], 3u64.to_le_bytes());
        assert_eq!(&framed[12..15], b"abc");
        assert_eq!(framed.len(), 19);
    }

    #[test]
    fn a_scalar_event_is_laid_out_as_the_format_says() {
        let value = SummaryValue { tag: "loss".to_owned(), simple_value: Some(0.0) };
        let event = Event { step: 3, summary: Some(Summary { value: vec![value] }), ..Event::default() };
        let inner = [&[0x0a, 4][..], b"loss", &[0x15, 0, 0, 0, 0]].concat();
        let expected = [&[0x10, 3, 0x2a, inner.len() as u8 + 2, 0x0a, inner.len() as u8][..], &inner].concat();
        assert_eq!(event.encode_to_vec(), expected, "step 3, summary {{ value {{ tag, simple_value }} }}");
    }
}
