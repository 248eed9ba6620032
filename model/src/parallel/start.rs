//! Brings every process to the same step, weights and settings before the first common step.

use super::numbers::Numbers;
use super::processes::Processes;
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::train::Trainer;
use engine::{Backend, Tensor};
use serde::{Deserialize, Serialize};

/// The state of the first process's trainer.
#[derive(Serialize, Deserialize)]
struct Position {
    steps: u64,
    skipped: u64,
    /// Names and shapes of the optimiser's moments.
    moments: Vec<(String, Vec<usize>)>,
}

/// Copies the first process's weights, moving reference, moments and step count to every trainer, bit for bit.
///
/// # Errors
/// [`Error::Lost`].
pub fn follow_first<B: Backend>(processes: &Processes, trainer: &mut Trainer<B>) -> Result<()> {
    let backend = trainer.decoder.backend().clone();
    let first = processes.rank() == 0;
    let moments = if first { trainer.optimizer.state(&backend) } else { Vec::new() };
    let position = Position {
        steps: trainer.optimizer.steps(),
        skipped: trainer.skipped,
        moments: moments.iter().map(|(name, tensor)| (name.clone(), tensor.shape().to_vec())).collect(),
    };
    let own = if first { serde_json::to_vec(&position).map_err(Error::json("the trainer's position"))? } else { Vec::new() };
    let all = processes.gather(own)?;
    let position: Position = serde_json::from_slice(&all[0]).map_err(Error::json("the first process's position"))?;
    let reference = trainer.moving_reference.iter_mut().flat_map(Decoder::parameters_mut);
    for parameter in trainer.decoder.parameters_mut().into_iter().chain(reference) {
        let shape = parameter.tensor.shape().to_vec();
        let elements = from_first(processes, first.then_some(&parameter.tensor), &shape)?;
        if !first {
            parameter.set_array(&backend, backend.from_vec(elements, &shape));
        }
    }
    let mut found = Vec::with_capacity(position.moments.len());
    for (index, (name, shape)) in position.moments.iter().enumerate() {
        let elements = from_first::<B>(processes, moments.get(index).map(|(_, tensor)| tensor), shape)?;
        found.push((name, shape, elements));
    }
    if first {
        return Ok(());
    }
    trainer.skipped = position.skipped;
    trainer.optimizer.restore(&trainer.decoder, position.steps, |name, shape| {
        let known = found.iter().find(|(found, of, _)| *found == name && of.as_slice() == shape);
        // A parameter that no step has moved has no moments yet.
        Ok(known.map_or_else(|| vec![0.0; shape.iter().product()], |(_, _, x)| x.iter().map(|x| engine::Scalar::to_f64(*x)).collect()))
    })
}

/// Returns the elements of a tensor of the first process.
fn from_first<B: Backend>(processes: &Processes, own: Option<&Tensor<B>>, shape: &[usize]) -> Result<Vec<B::Scalar>> {
    let own = own.map(|tensor| Numbers::of(tensor.to_vec()).to_bytes()).unwrap_or_default();
    let mut elements = Numbers::of(vec![B::Scalar::default(); shape.iter().product()]);
    let all = processes.gather_at_most(own, elements.byte_len())?;
    match elements.read(&all[0]) {
        true => Ok(elements.into_elements()),
        false => Err(Error::Launch(format!("the first process has another model: {} bytes for a tensor of shape {shape:?}", all[0].len()))),
    }
}

/// Checks that every process was started with the same settings, given as lines.
///
/// # Errors
/// [`Error::Launch`] in every process, with the first difference; [`Error::Lost`].
pub fn agree(processes: &Processes, settings: &str) -> Result<()> {
    let all = processes.gather_text(settings)?;
    let different = all.iter().enumerate().find(|(_, other)| **other != all[0]);
    let Some((rank, other)) = different else { return Ok(()) };
    let (mut ours, mut theirs) = (all[0].lines(), other.lines());
    let (first, second) = std::iter::from_fn(|| match (ours.next(), theirs.next()) {
        (None, None) => None,
        lines => Some(lines),
    })
    .find(|(first, second)| first != second)
    .unwrap_or_default();
    let said = |line: Option<&str>| line.map_or("nothing".to_owned(), |line| format!("`{}`", line.trim()));
    Err(Error::Launch(format!(
        "all processes must be started with the same settings: process 0 has {}, process {rank} has {}",
        said(first),
        said(second)
    )))
}
