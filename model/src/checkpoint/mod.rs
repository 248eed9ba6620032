//! Checkpoints: everything that a run needs to continue as if it had never stopped.
//!
//! A folder `checkpoints/step-N` holds these files:
//!
//! - `weights.safetensors`: the weights
//! - `optimizer.safetensors`: the optimiser's moments
//! - `reference.safetensors`: the weights of a reference that moves with the policy, if there is one
//! - `state.json`: everything else
//! - the manifest, which the others are checked against
//!
//! The order of the data and every random number are functions of the seed and the step ([`crate::order::Order`], [`engine::Generator`]).
//! So the seed, the step and a fingerprint of the data are their whole state. Gradients are accumulated within one step and checkpoints are
//! taken between steps, so no gradients are pending.
//!
//! A checkpoint is written in four steps:
//!
//! 1. Write the files into `checkpoints/partial`.
//! 2. Force each file to the disk.
//! 3. Rename the folder to `checkpoints/step-N`.
//! 4. Force its parent folder to the disk.
//!
//! A stop between any two writes leaves the earlier checkpoints whole. A checkpoint that is damaged later is found by its checksums, and
//! the one before it is used.

mod difference;
mod manifest;
mod state;
#[cfg(test)]
mod tests;
mod values;

use crate::atomic::{atomic_write, make_folder, sync_folder};
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::files::{self, Limit, entries, is_there};
use crate::safetensors_file::RawTensor;
use crate::train::Trainer;
pub use difference::Difference;
use engine::{Backend, Tensor};
use indexmap::IndexMap;
pub use state::RunState;
use state::State;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const FOLDER: &str = "checkpoints";
const WEIGHTS: &str = "weights.safetensors";
const MOMENTS: &str = "optimizer.safetensors";
const REFERENCE: &str = "reference.safetensors";
const STATE: &str = "state.json";
const FILES: [&str; 3] = [WEIGHTS, MOMENTS, STATE];
/// Largest size of a state file. A state has a few hundred bytes, so a longer file is no state.
const LONGEST_STATE: Limit = Limit { bytes: 1 << 16, of: "a state" };

/// The result of restoring a trainer.
#[derive(Clone, Debug, PartialEq)]
pub struct Restored {
    /// The step the checkpoint was taken after.
    pub step: u64,
    /// Newer checkpoints that could not be used, each with the reason.
    pub damaged: Vec<String>,
    /// Settings that differ from those of the checkpoint. If there are any, the run is not the one that was stopped.
    pub changed: Vec<Difference>,
}

/// Returns the step in a checkpoint folder's name.
fn step_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok()
}

/// Lists the checkpoints of a run, oldest first.
fn all(run: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut found: Vec<_> = entries(&run.join(FOLDER))?.into_iter().filter_map(|path| Some((step_of(&path)?, path))).collect();
    found.sort();
    Ok(found)
}

/// True if the run's folder has a checkpoint, damaged or not.
///
/// # Errors
/// [`Error::Io`] where the folder cannot be read.
pub fn exists(run: &Path) -> Result<bool> {
    Ok(!all(run)?.is_empty())
}

/// Writes a checkpoint of the last step into a run's folder, then drops all but the newest `keep` (at least 1). Checkpoints of later steps
/// are dropped too: they were damaged, or the run would have gone on from them.
///
/// # Errors
/// [`Error::Io`], [`Error::NonFinite`]. The earlier checkpoints stay, and no half-written one remains.
pub fn save<B: Backend>(run: &Path, trainer: &Trainer<B>, state: &RunState, keep: usize) -> Result<()> {
    let step = trainer.steps();
    let folder = run.join(FOLDER);
    let (partial, whole) = (folder.join("partial"), folder.join(format!("step-{step}")));
    remove(&partial)?;
    make_folder(&partial)?;
    if let Err(error) = write(&partial, trainer, state) {
        // The first failure is the one to report.
        let _ = fs::remove_dir_all(&partial);
        return Err(error);
    }
    remove(&whole)?;
    fs::rename(&partial, &whole).map_err(Error::io(&whole))?;
    sync_folder(&folder).and_then(|()| sync_folder(run)).map_err(Error::io(&folder))?;
    all(run)?.iter().filter(|(other, _)| *other > step).try_for_each(|(_, path)| remove(path))?;
    drop_old(run, step, keep)
}

/// Drops all checkpoints up to `step` but the newest `keep` (at least 1). A resumed run calls it, because the stopped run may not have
/// dropped them.
///
/// # Errors
/// [`Error::Io`].
pub fn drop_old(run: &Path, step: u64, keep: usize) -> Result<()> {
    let kept: Vec<_> = all(run)?.into_iter().filter(|(other, _)| *other <= step).collect();
    kept[..kept.len().saturating_sub(keep.max(1))].iter().try_for_each(|(_, path)| remove(path))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io(path)),
    }
}

fn write<B: Backend>(folder: &Path, trainer: &Trainer<B>, run: &RunState) -> Result<()> {
    let weights = |decoder: &Decoder<B>| -> Vec<(String, Tensor<B>)> {
        decoder.parameters().into_iter().map(|p| (p.name.clone(), p.tensor.clone())).collect()
    };
    values::write(&folder.join(WEIGHTS), &weights(&trainer.decoder))?;
    if let Some(reference) = &trainer.moving_reference {
        values::write(&folder.join(REFERENCE), &weights(reference))?;
    }
    values::write(&folder.join(MOMENTS), &trainer.optimizer.state(trainer.decoder.backend()))?;
    let state = state_of(trainer, run);
    let path = folder.join(STATE);
    atomic_write(&path, &serde_json::to_vec_pretty(&state).map_err(Error::json(&path))?)?;
    manifest::write(folder, &names_of(trainer))
}

/// Lists the files of a trainer's checkpoint, without the manifest.
fn names_of<B: Backend>(trainer: &Trainer<B>) -> Vec<&'static str> {
    FILES.into_iter().chain(trainer.moving_reference.is_some().then_some(REFERENCE)).collect()
}

fn state_of<B: Backend>(trainer: &Trainer<B>, run: &RunState) -> State {
    State {
        step: trainer.steps(),
        skipped: trainer.skipped,
        precision: values::precision::<B>().to_owned(),
        rounding: rounding(trainer),
        rule: trainer.optimizer.rule(),
        schedule: trainer.schedule,
        clip: trainer.clip,
        run: run.clone(),
        running: trainer.running,
        processes: trainer.place().1,
    }
}

fn rounding<B: Backend>(trainer: &Trainer<B>) -> String {
    trainer.decoder.backend().precision().name().to_owned()
}

/// Restores a trainer from the newest undamaged checkpoint of a run's folder.
///
/// # Errors
/// [`Error::NoData`] where there is no checkpoint; [`Error::BadFile`] where none of them can be used, with the newest one's reason.
pub fn restore<B: Backend>(run: &Path, trainer: &mut Trainer<B>, state: &RunState) -> Result<Restored> {
    let mut damaged = Vec::new();
    for (step, path) in all(run)?.into_iter().rev() {
        match read(&path, step, trainer) {
            Ok(found) => return Ok(Restored { step, damaged, changed: difference::all(&found, &state_of(trainer, state)) }),
            Err(error) => damaged.push(error.to_string()),
        }
    }
    let folder = run.join(FOLDER);
    match damaged.first() {
        None => {
            Err(Error::NoData { path: folder, reason: "there is no checkpoint to resume from; start the run without --resume".to_owned() })
        }
        Some(newest) => Err(Error::bad_file(folder, format!("no checkpoint can be used; the newest: {newest}"))),
    }
}

/// Reads one checkpoint into the trainer. On an error the trainer is unchanged.
fn read<B: Backend>(folder: &Path, step: u64, trainer: &mut Trainer<B>) -> Result<State> {
    if !is_there(&folder.join(manifest::FILE))? && is_there(&folder.join("model.safetensors"))? {
        let reason = "a checkpoint of slpo before its checkpoints had a manifest: finish that run with the version that began it, \
                      or start it again";
        return Err(Error::bad_file(folder, reason));
    }
    manifest::check(folder, &names_of(trainer))?;
    let found = read_state(&folder.join(STATE))?;
    if found.precision != values::precision::<B>() || found.step != step || found.skipped > step {
        let reason = format!("it is of step {} in {}, not of step {step} in {}", found.step, found.precision, values::precision::<B>());
        return Err(Error::bad_file(folder.join(STATE), reason));
    }
    let decoder = with_trained(&trainer.decoder, values::read::<B>(&folder.join(WEIGHTS))?)?;
    let of_file = |reference: &Decoder<B>| with_trained(reference, values::read::<B>(&folder.join(REFERENCE))?);
    let reference = trainer.moving_reference.as_ref().map(of_file).transpose()?;
    let mut moments = values::read::<B>(&folder.join(MOMENTS))?;
    let made = step - found.skipped;
    trainer.optimizer.restore(&decoder, made, |name, shape| match moments.contains_key(name) {
        true => values::take(&mut moments, name, shape),
        // A parameter that no step has moved has no moments yet.
        false => Ok(vec![0.0; shape.iter().product()]),
    })?;
    (trainer.decoder, trainer.skipped, trainer.running) = (decoder, found.skipped, found.running);
    trainer.moving_reference = reference;
    Ok(found)
}

/// Returns the decoder with these values of its trained parameters: the adapter's, or all if there is no adapter.
fn with_trained<B: Backend>(decoder: &Decoder<B>, mut weights: IndexMap<String, RawTensor>) -> Result<Decoder<B>> {
    let backend = decoder.backend().clone();
    let mut take = |name: &str, shape: &[usize]| Ok(Tensor::parameter(&backend, &values::take(&mut weights, name, shape)?, shape));
    let Some(settings) = decoder.adapter() else { return Decoder::build(decoder.config(), &mut take) };
    let adapted: Vec<String> = decoder.parameters().into_iter().map(|parameter| parameter.name.clone()).collect();
    decoder.with_adapter(settings, &mut |name, shape| {
        if adapted.iter().any(|known| known == name) { take(name, shape).map(Some) } else { Ok(None) }
    })
}

fn read_state(path: &Path) -> Result<State> {
    serde_json::from_slice(&files::read(path, LONGEST_STATE)?).map_err(Error::json(path))
}
