//! Makes the runs of a study stage by stage. It can be stopped at any time and goes on from there.

use super::design::{Design, Key};
use super::estimate;
use super::record::Record;
use super::stages::{self, Records, Stage};
use super::store::Store;
use super::workers::run_all;
use crate::failure::Failure;
use crate::interrupt;
use crate::output::Output;
use crate::progress::Progress;
use model::study::path::Moment;
use std::path::Path;

/// How a study is run.
pub struct Driver<'a> {
    /// The study.
    pub design: &'a Design,
    /// The folder of its files.
    pub folder: &'a Path,
    /// Runs that are made side by side, each on one thread.
    pub threads: usize,
    /// True if standard output is for one JSON object only.
    pub json: bool,
    /// The command that goes on after a stop.
    pub again: String,
}

impl Driver<'_> {
    /// Makes all runs that are not in the store yet. `run` makes one.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] after a stop; the errors of the runs and of the store.
    pub fn make(&self, store: &mut Store, run: impl Fn(Key) -> Result<(Record, Vec<Moment>), Failure> + Sync) -> Result<(), Failure> {
        interrupt::save_first();
        let out = Output::new(self.json);
        let (estimate, timed) = estimate::of(&run, self.design, store.records(), self.threads)?;
        out.stream(&format!("{estimate}\n"))?;
        if let Some((record, path)) = timed {
            store.add(record, &path, false)?;
        }
        while let Some(stage) = stages::next(self.design, store.records()) {
            let keys = unfinished(&stage, store.records());
            let is_drawn = stages::drawn(&stage, self.design, store.records());
            out.stream(&format!("{}: {} runs on {} threads\n", stage.name, keys.len(), self.threads))?;
            let mut bar = Progress::new(keys.len() as u64, !self.json);
            let mut made = 0;
            let is_whole = run_all(&run, &keys, self.threads, interrupt::requested, |record, path| {
                made += 1;
                bar.step(made, &[(self.design.values[0], record.end.values[0]), ("kl", record.end.divergence)], 0);
                let is_drawn = is_drawn.contains(&record.key);
                store.add(record, &path, is_drawn)
            })?;
            bar.finish();
            if !is_whole {
                let (runs, place) = (store.records().len(), self.folder.display());
                return Err(Failure::Interrupted(format!("{runs} runs are saved in {place}; {} goes on from there", self.again)));
            }
        }
        Ok(())
    }
}

/// The runs of a stage that are not made yet, world by world.
fn unfinished(stage: &Stage, records: &Records) -> Vec<Key> {
    let mut keys: Vec<Key> = stage.keys.iter().copied().filter(|key| !records.contains_key(key)).collect();
    keys.sort_by_key(|key| (key.cell, key.seed));
    keys
}
