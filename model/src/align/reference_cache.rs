//! The reference's log-probabilities on disk, so that a second epoch or a second run need not compute them again.
//!
//! The file is JSON: `{"version": 1, "reference": …, "log_probs": {…}}`. Two fingerprints make sure that no value is used for the wrong
//! pair:
//!
//! - `reference` is a fingerprint of the reference's weights and of how the device rounds its products.
//! - Each pair's key is a fingerprint of its tokens and of where its completions begin. Other data, another tokenizer or another cut give
//!   other keys.
//!
//! The values are f32 written exactly. Cached and live values have the same bits on one kind of device.

mod contents;

pub use contents::parse;

use crate::atomic::atomic_write;
use crate::data::PreferencePair;
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::files;
use crate::fingerprint::{fingerprint, sequence_words};
use crate::parallel::{Processes, Share};
use crate::preference::{PairBatch, Scored};
use contents::{Contents, VERSION};
use engine::backend::Core;
use engine::{Backend, Device, Precision};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The file's usual name, in a run's folder.
pub const FILE: &str = "reference-log-probs.json";

/// A cache of ln π_ref of the chosen and the rejected completion of each pair, kept in a file.
#[derive(Clone)]
pub struct ReferenceCache {
    path: PathBuf,
    contents: Contents,
}

/// How far [`ReferenceCache::fill`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Every pair has its values.
    Whole,
    /// `stop` ended it early. The values computed by then are in the file.
    Stopped {
        /// Pairs whose values are in the file.
        known: usize,
        /// Requested pairs that have no values yet.
        missing: usize,
    },
}

impl ReferenceCache {
    /// Opens the file of this reference. The cache starts empty if there is no file. It also starts empty if the file is no cache or
    /// belongs to another reference; the second value then says why.
    ///
    /// # Errors
    /// [`Error::Io`] where the path leads to something else than a regular file that fits into memory.
    pub fn open(path: &Path, reference: &Decoder<Device>) -> Result<(Self, Option<String>)> {
        let words = reference.parameters().into_iter().flat_map(|p| p.tensor.to_vec()).map(f32::to_bits);
        let reference = fingerprint(words.chain(rounding(reference.backend())));
        let (log_probs, remark) = match files::read(path, files::of_memory()) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => (BTreeMap::new(), None),
            Err(error) => return Err(error),
            Ok(bytes) => match parse(&bytes, &reference) {
                Ok(log_probs) => (log_probs, None),
                Err(why) => (BTreeMap::new(), Some(why)),
            },
        };
        let remark = remark.map(|why| format!("{} is made anew: {why}", path.display()));
        Ok((Self { path: path.to_owned(), contents: Contents { version: VERSION, reference, log_probs } }, remark))
    }

    /// Makes an empty cache without a file: for a process that receives its values from the first process, or where nothing is kept.
    pub fn in_memory() -> Self {
        let contents = Contents { version: VERSION, reference: String::new(), log_probs: BTreeMap::new() };
        Self { path: PathBuf::new(), contents }
    }

    /// Returns the path of the file; empty for a cache without a file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Computes the missing values of these pairs, at most `at_once` pairs per micro-batch, and writes the file if any were missing.
    /// Several processes share the work. All processes call `stop` at the same point, before each micro-batch; true ends the work early.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be written; [`Error::Lost`]; those of `stop`.
    ///
    /// # Panics
    /// If `at_once` is 0.
    pub fn fill<'a, B: Backend>(
        &mut self,
        pairs: impl Iterator<Item = &'a PreferencePair>,
        decoder: &Decoder<B>,
        at_once: usize,
        processes: Option<&Processes>,
        stop: &dyn Fn() -> Result<bool>,
    ) -> Result<Fill> {
        if let Some(processes) = processes {
            self.take_from_first(processes)?;
        }
        let pairs: Vec<&PreferencePair> = pairs.collect();
        let missing = pairs.iter().filter(|pair| self.get(pair).is_none()).count();
        if missing == 0 {
            return Ok(Fill::Whole);
        }
        let (rank, size) = processes.map_or((0, 1), |processes| (processes.rank(), processes.size()));
        // The batches are cut before known pairs are left out, so that a stopped run continues with the same bits.
        let share = |rank: usize| Share::of(pairs.len(), at_once, rank, size).micro_batches.into_iter();
        let missing_of =
            |rank: usize| share(rank).map(|rows| pairs[rows].iter().copied().filter(|pair| self.get(pair).is_none()).collect());
        let parts: Vec<Vec<Vec<&PreferencePair>>> = (0..size).map(|rank| missing_of(rank).collect()).collect();
        let own = compute(&parts[rank], decoder, parts.iter().map(Vec::len).max().unwrap_or(0), stop)?;
        let all = match processes {
            Some(processes) => processes.gather(own.iter().flat_map(|value| value.to_le_bytes()).collect())?,
            None => vec![own.iter().flat_map(|value| value.to_le_bytes()).collect()],
        };
        // A stopped process contributes the values of its first pairs only.
        let mut computed = 0;
        for (parts, bytes) in parts.iter().zip(&all) {
            let values = bytes.as_chunks::<16>().0.iter().map(|bytes| {
                let [chosen, rejected] = [0, 8].map(|start| f64::from_le_bytes(std::array::from_fn(|index| bytes[start + index])));
                (chosen, rejected)
            });
            computed += values.len();
            self.contents.log_probs.extend(parts.iter().flatten().map(|pair| key(pair)).zip(values));
        }
        let has_file = !self.path.as_os_str().is_empty();
        if computed > 0 && rank == 0 && has_file {
            self.write()?;
        }
        if computed == missing {
            return Ok(Fill::Whole);
        }
        processes.map_or(Ok(()), Processes::meet)?;
        Ok(Fill::Stopped { known: self.contents.log_probs.len(), missing: missing - computed })
    }

    fn write(&self) -> Result<()> {
        let failed = |source: io::Error| Error::Io { path: self.path.clone(), source };
        let text = serde_json::to_vec(&self.contents).map_err(|error| failed(error.into()))?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder.map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
        atomic_write(&self.path, &text)
    }

    /// Replaces the contents by those of the first process.
    fn take_from_first(&mut self, processes: &Processes) -> Result<()> {
        let own = if processes.rank() == 0 { serde_json::to_vec(&self.contents).unwrap_or_default() } else { Vec::new() };
        let all = processes.gather(own)?;
        self.contents = serde_json::from_slice(&all[0]).map_err(Error::json("the reference cache of the first process"))?;
        Ok(())
    }

    /// Returns a pair's values (chosen, rejected) in nats, if they are known.
    pub fn get(&self, pair: &PreferencePair) -> Option<(f64, f64)> {
        self.contents.log_probs.get(&key(pair)).copied()
    }
}

/// Computes ln π_ref of the chosen and the rejected completion of each pair, in the order of the batches. Ends early if `stop` says so.
/// Every process calls `stop` in each of `rounds` rounds, so that all processes end after the same round.
fn compute<B: Backend>(
    batches: &[Vec<&PreferencePair>],
    decoder: &Decoder<B>,
    rounds: usize,
    stop: &dyn Fn() -> Result<bool>,
) -> Result<Vec<f64>> {
    let mut values = Vec::new();
    for round in 0..rounds {
        if stop()? {
            break;
        }
        let Some(batch) = batches.get(round).filter(|batch| !batch.is_empty()) else { continue };
        let packed = PairBatch::new(batch.iter().copied());
        let (chosen, rejected) = Scored::reference(&packed, decoder).sequence_log_probs();
        values.extend(chosen.to_f64().into_iter().zip(rejected.to_f64()).flat_map(|(chosen, rejected)| [chosen, rejected]));
    }
    Ok(values)
}

fn key(pair: &PreferencePair) -> String {
    fingerprint([&pair.chosen, &pair.rejected].into_iter().flat_map(sequence_words))
}

/// Returns words for the fingerprint that describe how a device rounds the operands of products. Empty in f32, where it does not round
/// them.
fn rounding(device: &Device) -> Vec<u32> {
    let precision = device.precision();
    if precision == Precision::F32 {
        Vec::new()
    } else {
        format!("{} {}", device.kind(), precision.name()).bytes().map(u32::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boundary::Sequence;
    use crate::config::Config;

    fn pair(first: u32, second: u32) -> PreferencePair {
        let sequence = |token: u32| Sequence::new(vec![1, 2, token, 4], 2);
        PreferencePair { line: 1, chosen: sequence(first), rejected: sequence(second) }
    }

    #[test]
    fn values_are_kept_bit_for_bit_and_another_reference_or_a_broken_file_starts_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.json");
        let config = Config { vocab_size: 16, layers: 1, ..Config::preset("nano").unwrap() };
        let decoder = |seed| Decoder::random(&Device::default(), &config, seed).unwrap();
        let pairs = [pair(3, 5), pair(6, 7)];
        let (mut cache, remark) = ReferenceCache::open(&path, &decoder(1)).unwrap();
        assert_eq!(remark, None);
        assert_eq!(cache.fill(pairs.iter(), &decoder(1), 2, None, &|| Ok(false)).unwrap(), Fill::Whole);
        let (again, remark) = ReferenceCache::open(&path, &decoder(1)).unwrap();
        assert_eq!(remark, None);
        let packed = PairBatch::new(&pairs);
        let decoder_1 = decoder(1);
        let (chosen, rejected) = Scored::reference(&packed, &decoder_1).sequence_log_probs();
        for (index, pair) in pairs.iter().enumerate() {
            assert_eq!(again.get(pair), Some((chosen.to_f64()[index], rejected.to_f64()[index])));
        }
        assert_eq!(again.get(&pair(3, 8)), None, "another pair has no value");
        let (other, remark) = ReferenceCache::open(&path, &decoder(2)).unwrap();
        assert!(other.get(&pairs[0]).is_none() && remark.unwrap().ends_with("it is of another reference or another precision"));
        if let Ok(rounding) = engine::Cpu::with_precision(Precision::Bf16) {
            let (other, remark) = ReferenceCache::open(&path, &decoder(1).to_backend(&Device::Cpu(rounding))).unwrap();
            assert!(other.get(&pairs[0]).is_none() && remark.is_some(), "log-probabilities of products that round are others");
        }
        std::fs::write(&path, b"{}").unwrap();
        let remark = ReferenceCache::open(&path, &decoder(1)).unwrap().1.unwrap();
        assert!(remark.ends_with("it is not a cache that this version wrote"), "{remark}");
        let message = ReferenceCache::open(folder.path(), &decoder(1)).err().unwrap().to_string();
        assert!(message.contains("is a folder, and a regular file is needed"), "{message}");
    }
}
