//! Metrics by step, as one JSON object a line (`metrics.jsonl`) and for TensorBoard.
//!
//! A record is `{"step": 12, "loss": 1.25, …}` in the order in which the values were logged. JSON has no numbers for what is
//! not finite: these are the strings `"NaN"`, `"Infinity"` and `"-Infinity"`. No clock enters the file, so equal runs write
//! equal bytes.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::atomic::{read_whole, write_atomically};
use super::error::{RunFolderError, reading, writing};
use super::names::MetricNames;
use super::record::{self, Record};
use super::tensorboard::EventWriter;

/// The name of the metrics file in the run's folder.
pub(super) const FILE: &str = "metrics.jsonl";

/// Appends records to a run's metrics. Nothing is buffered: the operating system has each record when [`log`](Self::log) returns.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
    events: EventWriter,
    names: MetricNames,
}

impl Metrics {
    pub(super) fn create(folder: &Path) -> Result<Self, RunFolderError> {
        let path = folder.join(FILE);
        let file = OpenOptions::new().read(true).append(true).create_new(true).open(&path).map_err(writing(&path))?;
        Ok(Self { path, file, events: EventWriter::create(folder, None)?, names: MetricNames::Own })
    }

    pub(super) fn resume(folder: &Path, step: Option<u64>) -> Result<Self, RunFolderError> {
        let path = folder.join(FILE);
        let kept = match step {
            Some(step) => records_until(&path, &read_whole(&path).map_err(reading(&path))?, step)?,
            None => String::new(),
        };
        let file = write_and_open(&path, kept.as_bytes())?;
        Ok(Self { path, file, events: EventWriter::create(folder, Some(step.map_or(0, |step| step + 1)))?, names: MetricNames::Own })
    }

    /// The same metrics under these names in the files that other programs read, from here on.
    pub fn with_names(self, names: MetricNames) -> Self {
        Self { names, ..self }
    }

    /// Writes records to `metrics.csv`, a table for spreadsheets: a row for each record, a column for each name. A record without a value
    /// has an empty cell.
    ///
    /// # Errors
    /// [`RunFolderError`] where the file cannot be written.
    pub fn write_table(&self, records: &[Record]) -> Result<(), RunFolderError> {
        let rows: Vec<Vec<(String, f64)>> = records.iter().map(|record| self.names.in_table(&record.named())).collect();
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in rows.iter().flatten() {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let row = |(record, row): (&Record, &Vec<(String, f64)>)| {
            let cell = |name: &&str| row.iter().find(|(own, _)| own == name).map_or_else(String::new, |(_, value)| value.to_string());
            std::iter::once(record.step.to_string()).chain(names.iter().map(cell)).collect::<Vec<_>>().join(",") + "\n"
        };
        let header = std::iter::once("step").chain(names.iter().copied()).collect::<Vec<_>>().join(",") + "\n";
        let path = self.path.with_file_name("metrics.csv");
        let text = header + &records.iter().zip(&rows).map(row).collect::<String>();
        write_atomically(&path, text.as_bytes()).map_err(writing(&path))
    }

    /// True if the open file is still the one at its path.
    pub fn are_there(&self) -> bool {
        is_same_file(&self.file, &self.path)
    }

    /// The same metrics, all that were logged so far, in a folder that was made again.
    pub(super) fn written_again(&self, folder: &Path) -> Result<Self, RunFolderError> {
        let mut bytes = Vec::new();
        let mut old = &self.file;
        old.seek(SeekFrom::Start(0)).and_then(|_| old.read_to_end(&mut bytes)).map_err(reading(&self.path))?;
        let path = folder.join(FILE);
        let file = write_and_open(&path, &bytes)?;
        let mut events = EventWriter::create(folder, None)?;
        for record in read_metrics(&path)? {
            events.scalars(record.step, &self.names.in_tensorboard(&record.named()))?;
        }
        Ok(Self { path, file, events, names: self.names })
    }

    /// Forces what was logged to the disk, so that a checkpoint written afterwards is never ahead of it.
    ///
    /// # Errors
    /// [`RunFolderError::Write`].
    pub fn sync(&self) -> Result<(), RunFolderError> {
        self.file.sync_all().map_err(writing(&self.path))
    }

    /// Writes one record.
    ///
    /// # Errors
    /// [`RunFolderError::Write`], for example where the disk is full.
    ///
    /// # Panics
    /// If a name is `step` or occurs twice.
    #[track_caller]
    pub fn log(&mut self, step: u64, values: &[(&str, f64)]) -> Result<(), RunFolderError> {
        for (index, (name, _)) in values.iter().enumerate() {
            assert!(*name != "step", "a metric cannot be named `step`");
            assert!(values[..index].iter().all(|(other, _)| other != name), "{name} is logged twice");
        }
        let failed = |source: std::io::Error| RunFolderError::Write { path: self.path.clone(), source };
        let mut line = serde_json::to_vec(&Line { step, values }).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(failed)?;
        self.events.scalars(step, &self.names.in_tensorboard(values))
    }
}

/// Replaces the file by `bytes` and opens it for appending.
fn write_and_open(path: &Path, bytes: &[u8]) -> Result<File, RunFolderError> {
    write_atomically(path, bytes).map_err(writing(path))?;
    OpenOptions::new().read(true).append(true).open(path).map_err(writing(path))
}

#[cfg(unix)]
fn is_same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (open, named) = (file.metadata().map(identity), fs::metadata(path).map(identity));
    open.is_ok() && open.ok() == named.ok()
}

#[cfg(not(unix))]
fn is_same_file(_file: &File, path: &Path) -> bool {
    fs::metadata(path).is_ok()
}

/// Reads a metrics file back.
///
/// # Errors
/// [`RunFolderError::Read`], [`RunFolderError::Malformed`] with the line.
pub fn read_metrics(path: &Path) -> Result<Vec<Record>, RunFolderError> {
    let text = read_whole(path).map_err(reading(path))?;
    record::parse_all(&text).map_err(|(line, reason)| RunFolderError::Malformed { path: path.to_owned(), line, reason })
}

/// The lines of `text` whose step is at most `step`. A last line without its line break was cut off and does not count.
fn records_until(path: &Path, text: &str, step: u64) -> Result<String, RunFolderError> {
    let mut kept = String::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let Some(record) = line.strip_suffix('\n') else { break };
        let record =
            record::parse(record).map_err(|reason| RunFolderError::Malformed { path: path.to_owned(), line: index + 1, reason })?;
        if record.step <= step {
            kept.push_str(line);
        }
    }
    Ok(kept)
}

/// One line as it is written.
struct Line<'a> {
    step: u64,
    values: &'a [(&'a str, f64)],
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len() + 1))?;
        map.serialize_entry("step", &self.step)?;
        for &(name, value) in self.values {
            match value {
                _ if value.is_finite() => map.serialize_entry(name, &value)?,
                _ if value.is_nan() => map.serialize_entry(name, "NaN")?,
                _ if value > 0.0 => map.serialize_entry(name, "Infinity")?,
                _ => map.serialize_entry(name, "-Infinity")?,
            }
        }
        map.end()
    }
}
