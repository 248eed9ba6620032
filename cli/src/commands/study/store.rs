//! The files of a study: `runs.csv` with a line for each run, and `paths.csv` with the moments of the runs whose paths are drawn.
//!
//! A run's moments are written before its line. So a line that is there has its moments, and moments without a line belong to a run that
//! was cut off: they are left out when the study goes on.

use super::design::{Design, Key};
use super::record::{Record, measured, rounded};
use super::results::Results;
use super::stages::Records;
use crate::failure::Failure;
use crate::run_folder::write_atomically;
use model::Error;
use model::study::grid::Trial;
use model::study::path::Moment;
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
    design: Design,
    records: Records,
    runs: (PathBuf, File),
    paths: (PathBuf, File),
}

impl Store {
    /// Begins a study in a folder.
    ///
    /// # Errors
    /// [`Failure::Usage`] if there is a study; [`Error::Io`].
    pub fn begin(folder: &Path, design: &Design) -> Result<Self, Failure> {
        let (runs, paths) = (folder.join(RUNS), folder.join(PATHS));
        if model::files::is_there(&runs)? {
            let place = folder.display();
            return Err(Failure::Usage(format!("{place} holds a study: give --resume to go on with it, or choose another --out")));
        }
        write(&paths, &format!("{}\n", paths_header(design)))?;
        write(&runs, &format!("{}\n", Record::header(design)))?;
        Self::open(runs, paths, design, Records::new())
    }

    /// Goes on with the study in a folder. A line that was cut off is dropped.
    ///
    /// # Errors
    /// [`Failure::Usage`] if the study is another one. [`Failure::Failed`] if there is none, or if its file has another form.
    /// [`Error::Io`].
    pub fn resume(folder: &Path, design: &Design) -> Result<Self, Failure> {
        let (runs, paths) = (folder.join(RUNS), folder.join(PATHS));
        let text = text_of(&runs)?;
        if let Some(name) = study_of(&text).filter(|name| *name != design.name) {
            let chosen_by = Design::all().into_iter().find(|(known, _)| known.name == name).map(|(_, flags)| flags);
            let advice = match chosen_by.filter(|_| Design::named(design.name).is_some()) {
                Some(flags) => format!("give {flags}"),
                None => "choose another --out".to_owned(),
            };
            return Err(Failure::Usage(format!("{}: the study there is {name}: {advice}", folder.display())));
        }
        let records = read(&runs, &text, design)?;
        let whole: Vec<&str> = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
        write(&runs, &whole.concat())?;
        let moments = text_of(&paths)?;
        let is_of_run = |line: &str| moment_of(line.trim_end(), design).is_some_and(|(key, _)| records.contains_key(&key));
        let is_kept = |line: &&str| line.ends_with('\n') && (line.starts_with("cell,") || is_of_run(line));
        write(&paths, &moments.split_inclusive('\n').filter(is_kept).collect::<String>())?;
        Self::open(runs, paths, design, records)
    }

    fn open(runs: PathBuf, paths: PathBuf, design: &Design, records: Records) -> Result<Self, Failure> {
        let append = |path: &Path| OpenOptions::new().append(true).open(path).map_err(Error::io(path));
        let (runs_file, paths_file) = (append(&runs)?, append(&paths)?);
        Ok(Self { design: design.clone(), records, runs: (runs, runs_file), paths: (paths, paths_file) })
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
            let lines: String = path.iter().map(|moment| line_of(&record.key, moment, &self.design)).collect();
            append(&mut self.paths, &lines)?;
        }
        let line = format!("{}\n", record.to_line(&self.design));
        append(&mut self.runs, &line)?;
        // Decisions read the numbers as they are in the file.
        let record = Record::parse(line.trim_end(), &self.design).expect("a record reads back");
        self.records.insert(record.key, record);
        Ok(())
    }
}

/// Reads a file of a study.
///
/// # Errors
/// [`Error::Io`].
pub fn text_of(path: &Path) -> Result<String, Failure> {
    Ok(model::files::read_text(path, model::files::of_memory())?)
}

/// Returns the name of the study that the text of a file of runs belongs to, or `None` if it has no run.
pub fn study_of(text: &str) -> Option<&str> {
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).nth(1)?.split(',').next()
}

/// Reads the text of the file of runs at `path`.
///
/// # Errors
/// [`Failure::Failed`] if the file has another form or another header.
pub fn read(path: &Path, text: &str, design: &Design) -> Result<Records, Failure> {
    let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::trim_end);
    let failed = |line: usize, reason: &str| Failure::Failed(format!("{}:{line}: {reason}", path.display()));
    if lines.next() != Some(Record::header(design).as_str()) {
        return Err(failed(1, "these are not the columns of a study by this version"));
    }
    let mut records = Records::new();
    for (number, line) in (2..).zip(lines) {
        let record = Record::parse(line, design).ok_or_else(|| failed(number, "this is not a run of a study by this version"))?;
        records.insert(record.key, record);
    }
    Ok(records)
}

fn paths_header(design: &Design) -> String {
    let names = ["cell", "arm", "rate_place", "strength_place", "seed", "steps", "step", "kl"];
    names.iter().chain(design.values).copied().collect::<Vec<_>>().join(",")
}

/// The start of the lines of a run's moments.
fn start(key: &Key, design: &Design) -> String {
    format!("{},{},{},{},{},{},", key.cell, design.arms[key.arm].name, key.trial.rate, key.trial.strength, key.seed, key.steps)
}

fn line_of(key: &Key, moment: &Moment, design: &Design) -> String {
    let numbers = std::iter::once(moment.divergence).chain(moment.values.iter().copied()).map(|value| rounded(value, 3));
    format!("{}{},{}\n", start(key, design), moment.step, numbers.collect::<Vec<_>>().join(","))
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
    pub fn read(path: &Path, design: &Design) -> Result<Self, Failure> {
        let text = text_of(path)?;
        let mut all: BTreeMap<Key, Vec<Moment>> = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()).skip(1) {
            let place = || format!("{}:{number}: this is no moment of a study by this version", path.display());
            let (key, moment) = moment_of(line, design).ok_or_else(|| Failure::Failed(place()))?;
            all.entry(key).or_default().push(moment);
        }
        Ok(Self(all))
    }

    /// Returns the paths of an arm at the trial that was chosen for the middle divergence, seed by seed.
    pub fn of(&self, results: &Results, arm: usize) -> Vec<&[Moment]> {
        let trial = results.chosen[arm][results.design.middle()];
        self.0.iter().filter(|(key, _)| key.arm == arm && key.trial == trial).map(|(_, path)| path.as_slice()).collect()
    }
}

fn moment_of(line: &str, design: &Design) -> Option<(Key, Moment)> {
    let fields: Vec<&str> = line.split(',').collect();
    let [cell, arm, rate, strength, seed, steps, step, numbers @ ..] = &fields[..] else { return None };
    let trial = Trial { rate: rate.parse().ok()?, strength: strength.parse().ok()? };
    let cell = design.cells.iter().find(|known| *known == cell)?;
    let arm = design.arms.iter().position(|known| known.name == *arm)?;
    let key = Key { cell, arm, trial, seed: seed.parse().ok()?, steps: steps.parse().ok()? };
    let numbers: Vec<f64> = numbers.iter().map(|number| measured(number)).collect::<Option<_>>()?;
    let (divergence, values) = numbers.split_first()?;
    let moment = Moment { step: step.parse().ok()?, divergence: *divergence, values: values.to_vec() };
    (values.len() == design.values.len()).then_some((key, moment))
}
