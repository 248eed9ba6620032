//! The files of a study: `runs.csv` with a line for each run, and `paths.csv` with the moments of the runs whose paths are drawn.
//!
//! A run's moments are written before its line. So a line that is there has its moments, and moments without a line belong to a run that
//! was cut off: they are left out when the study goes on.

use super::record::{Key, Record};
use super::results::Results;
use super::stages::{MIDDLE, Records, Scale};
use crate::failure::Failure;
use crate::run_folder::write_atomically;
use model::Error;
use model::study::arms::Arm;
use model::study::cells::Cell;
use model::study::grid::Trial;
use model::study::path::{Moment, NAMES};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The file of runs.
pub const RUNS: &str = "runs.csv";
/// The file of paths.
pub const PATHS: &str = "paths.csv";

/// The open files of a study, with its finished runs.
pub struct Store {
    scale: Scale,
    records: Records,
    runs: (PathBuf, File),
    paths: (PathBuf, File),
}

impl Store {
    /// Begins a study in a folder.
    ///
    /// # Errors
    /// [`Failure::Usage`] if there is a study; [`Error::Io`].
    pub fn begin(folder: &Path, scale: &Scale) -> Result<Self, Failure> {
        let (runs, paths) = (folder.join(RUNS), folder.join(PATHS));
        if model::files::is_there(&runs)? {
            let place = folder.display();
            return Err(Failure::Usage(format!("{place} holds a study: give --resume to go on with it, or choose another --out")));
        }
        write(&paths, &format!("{}\n", paths_header()))?;
        write(&runs, &format!("{}\n", Record::header()))?;
        Self::open(runs, paths, scale, Records::new())
    }

    /// Goes on with the study in a folder. A line that was cut off is dropped.
    ///
    /// # Errors
    /// [`Failure::Usage`] if the study has another scale. [`Failure::Failed`] if there is none, or if its file has another form.
    /// [`Error::Io`].
    pub fn resume(folder: &Path, scale: &Scale) -> Result<Self, Failure> {
        let (runs, paths) = (folder.join(RUNS), folder.join(PATHS));
        let (name, records) = read(&runs)?;
        if name.as_ref().is_some_and(|name| name != scale.name) {
            let flag = if scale.name == "quick" { "leave out --quick" } else { "give --quick" };
            return Err(Failure::Usage(format!("{}: the study there is {}: {flag}", folder.display(), name.unwrap_or_default())));
        }
        let text = model::files::read_text(&runs, model::files::of_memory())?;
        let whole: Vec<&str> = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
        write(&runs, &whole.concat())?;
        let moments = model::files::read_text(&paths, model::files::of_memory())?;
        let is_kept =
            |line: &&str| line.ends_with('\n') && (line.starts_with("cell,") || records.keys().any(|key| line.starts_with(&start(key))));
        write(&paths, &moments.split_inclusive('\n').filter(is_kept).collect::<String>())?;
        Self::open(runs, paths, scale, records)
    }

    fn open(runs: PathBuf, paths: PathBuf, scale: &Scale, records: Records) -> Result<Self, Failure> {
        let append = |path: &Path| OpenOptions::new().append(true).open(path).map_err(Error::io(path));
        let (runs_file, paths_file) = (append(&runs)?, append(&paths)?);
        Ok(Self { scale: scale.clone(), records, runs: (runs, runs_file), paths: (paths, paths_file) })
    }

    /// Returns the finished runs.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Adds a run, and its moments if its path `is_drawn`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn add(&mut self, record: Record, path: &[Moment], is_drawn: bool) -> Result<(), Failure> {
        if is_drawn {
            let lines: String = path.iter().map(|moment| line_of(&record.key, moment)).collect();
            append(&mut self.paths, &lines)?;
        }
        let line = format!("{}\n", record.to_line(self.scale.name));
        append(&mut self.runs, &line)?;
        // Decisions read the numbers as they are in the file.
        let (_, record) = Record::parse(line.trim_end()).expect("a record reads back");
        self.records.insert(record.key, record);
        Ok(())
    }
}

/// Reads the file of runs: the name of the study, if it has a run, and the runs.
///
/// # Errors
/// [`Failure::Failed`] if the file has another form or another header; [`Error::Io`].
pub fn read(path: &Path) -> Result<(Option<String>, Records), Failure> {
    let text = model::files::read_text(path, model::files::of_memory())?;
    let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::trim_end);
    let failed = |line: usize, reason: &str| Failure::Failed(format!("{}:{line}: {reason}", path.display()));
    if lines.next() != Some(Record::header().as_str()) {
        return Err(failed(1, "these are not the columns of a study by this version"));
    }
    let (mut name, mut records) = (None, Records::new());
    for (number, line) in (2..).zip(lines) {
        let (study, record) = Record::parse(line).ok_or_else(|| failed(number, "this is not a run of a study by this version"))?;
        name = Some(study);
        records.insert(record.key, record);
    }
    Ok((name, records))
}

fn paths_header() -> String {
    let names = ["cell", "arm", "rate_place", "strength_place", "seed", "steps", "step", "kl"];
    names.into_iter().chain(NAMES).collect::<Vec<_>>().join(",")
}

/// The start of the lines of a run's moments.
fn start(key: &Key) -> String {
    format!("{},{},{},{},{},{},", key.cell, key.arm().name, key.trial.rate, key.trial.strength, key.seed, key.steps)
}

fn line_of(key: &Key, moment: &Moment) -> String {
    let numbers = std::iter::once(moment.divergence).chain(moment.values).map(|value| format!("{value:.3e}"));
    format!("{}{},{}\n", start(key), moment.step, numbers.collect::<Vec<_>>().join(","))
}

/// Appends a text whole: by one call, which the system makes at once.
fn append((path, file): &mut (PathBuf, File), text: &str) -> Result<(), Failure> {
    file.write_all(text.as_bytes()).map_err(Error::io(&*path)).map_err(Failure::from)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    write_atomically(path, text.as_bytes()).map_err(Error::io(path)).map_err(Failure::from)
}

/// The moments of runs whose paths are drawn.
pub struct Paths(BTreeMap<Key, Vec<Moment>>);

impl Paths {
    /// Reads the file of paths.
    ///
    /// # Errors
    /// [`Failure::Failed`] if the file has another form; [`Error::Io`].
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = model::files::read_text(path, model::files::of_memory())?;
        let mut all: BTreeMap<Key, Vec<Moment>> = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()).skip(1) {
            let place = || format!("{}:{number}: this is no moment of a study by this version", path.display());
            let (key, moment) = moment_of(line).ok_or_else(|| Failure::Failed(place()))?;
            all.entry(key).or_default().push(moment);
        }
        Ok(Self(all))
    }

    /// Returns the paths of an arm at the trial that was chosen for the middle divergence, seed by seed.
    pub fn of(&self, results: &Results, arm: usize) -> Vec<&[Moment]> {
        let trial = results.chosen[arm][MIDDLE];
        self.0.iter().filter(|(key, _)| key.arm == arm && key.trial == trial).map(|(_, path)| path.as_slice()).collect()
    }
}

fn moment_of(line: &str) -> Option<(Key, Moment)> {
    let fields: Vec<&str> = line.split(',').collect();
    let [cell, arm, rate, strength, seed, steps, step, numbers @ ..] = &fields[..] else { return None };
    let trial = Trial { rate: rate.parse().ok()?, strength: strength.parse().ok()? };
    let (cell, arm) = (Cell::named(cell)?.name, Arm::named(arm)?);
    let key = Key { cell, arm, trial, seed: seed.parse().ok()?, steps: steps.parse().ok()? };
    let numbers: Vec<f64> = numbers.iter().map(|number| number.parse().ok()).collect::<Option<_>>()?;
    let (divergence, values) = numbers.split_first()?;
    Some((key, Moment { step: step.parse().ok()?, divergence: *divergence, values: values.try_into().ok()? }))
}
