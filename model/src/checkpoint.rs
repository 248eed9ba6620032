//! Checkpoints: what a run needs to go on as if it had never stopped.
//!
//! `checkpoints/step-N` holds the weights, the optimiser's moments and the step. The order of the data and every random number are functions
//! of the seed and the step, so nothing else is needed. A checkpoint is written under another name and renamed when it is whole.

use crate::atomic::{atomic_write, make_folder};
use crate::decoder::{Decoder, layout};
use crate::error::{Error, Result};
use crate::safetensors_file::{self, NamedTensor, NamedTensors};
use crate::train::Trainer;
use engine::{Backend, Tensor};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

const FOLDER: &str = "checkpoints";
const WEIGHTS: &str = "model.safetensors";
const MOMENTS: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
/// How many checkpoints are kept.
const KEPT: usize = 2;

/// What is neither weight nor moment.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    step: u64,
}

/// The step of a checkpoint folder's name.
fn step_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok()
}

/// The checkpoints of a run, oldest first.
fn all(run: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(run.join(FOLDER)).into_iter().flatten().flatten();
    let mut found: Vec<(u64, PathBuf)> = entries.filter_map(|e| Some((step_of(&e.path())?, e.path()))).collect();
    found.sort();
    found
}

fn values<B: Backend>(tensor: &Tensor<B>) -> NamedTensor {
    NamedTensor::new(tensor.shape().to_vec(), tensor.to_f64().into_iter().map(|x| x as f32).collect())
}

/// What a decoder's training changes, in its file's names.
fn trained<B: Backend>(decoder: &Decoder<B>) -> NamedTensors {
    if decoder.adapter().is_some() { decoder.adapter_tensors() } else { decoder.to_tensors() }
}

/// The decoder with other values of what its training changes.
fn with_trained<B: Backend>(decoder: &Decoder<B>, weights: NamedTensors) -> Result<Decoder<B>> {
    match decoder.adapter() {
        Some(settings) => decoder.with_adapter_tensors(settings, weights),
        None => Decoder::from_tensors(decoder.backend(), decoder.config(), &weights),
    }
}

/// Writes a checkpoint of the last step into a run's folder and drops the oldest.
///
/// # Errors
/// [`Error::Io`], [`Error::NonFinite`]; the checkpoints that were there stay.
pub fn save<B: Backend>(run: &Path, trainer: &Trainer<B>) -> Result<()> {
    let step = trainer.optimizer.steps();
    let (partial, whole) = (run.join(FOLDER).join("partial"), run.join(FOLDER).join(format!("step-{step}")));
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(Error::io(&partial))?;
    }
    make_folder(&partial)?;
    safetensors_file::write(&partial.join(WEIGHTS), &trained(&trainer.decoder))?;
    let moments = trainer.optimizer.state(trainer.decoder.backend());
    safetensors_file::write(&partial.join(MOMENTS), &moments.iter().map(|(name, tensor)| (name.clone(), values(tensor))).collect())?;
    let state = serde_json::to_vec(&State { step }).map_err(Error::json(partial.join(STATE)))?;
    atomic_write(&partial.join(STATE), &state)?;
    if whole.exists() {
        fs::remove_dir_all(&whole).map_err(Error::io(&whole))?;
    }
    fs::rename(&partial, &whole).map_err(Error::io(&whole))?;
    let found = all(run);
    for (_, old) in &found[..found.len().saturating_sub(KEPT)] {
        fs::remove_dir_all(old).map_err(Error::io(old))?;
    }
    Ok(())
}

/// Brings a trainer to the newest checkpoint of a run's folder; the step it was taken after.
///
/// # Errors
/// [`Error::NoData`] where there is no checkpoint; those of reading its files.
pub fn restore<B: Backend>(run: &Path, trainer: &mut Trainer<B>) -> Result<u64> {
    let Some((_, newest)) = all(run).pop() else {
        let reason = "there is no checkpoint to resume from; start the run without --resume".to_owned();
        return Err(Error::NoData { path: run.join(FOLDER), reason });
    };
    let path = newest.join(STATE);
    let state: State = serde_json::from_slice(&fs::read(&path).map_err(Error::io(&path))?).map_err(Error::json(&path))?;
    let weights = safetensors_file::read(&newest.join(WEIGHTS))?;
    trainer.decoder = with_trained(&trainer.decoder, weights)?;
    let mut moments: NamedTensors = safetensors_file::read(&newest.join(MOMENTS))?;
    trainer.optimizer.restore(&trainer.decoder, state.step, |name, shape| {
        Ok(layout::take(&mut moments, name, shape)?.data.into_iter().map(f64::from).collect())
    })?;
    Ok(state.step)
}
