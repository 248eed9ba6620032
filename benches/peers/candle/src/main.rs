//! One optimiser step of slpo's presets in candle on a CPU: forward, backward, clip to 1.0, AdamW. Prints one JSON object, as
//! pytorch_step.py does. RAYON_NUM_THREADS says the number of threads.

mod decoder;
#[path = "../../harness.rs"]
mod harness;

use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};

use decoder::Decoder;
use harness::Run;

struct Batch {
    inputs: Tensor,
    targets: Tensor,
}

/// −ln p of each sequence.
fn sequence_losses(model: &Decoder, batch: &Batch) -> Result<Tensor> {
    model.losses(&batch.inputs, &batch.targets)?.reshape(batch.inputs.shape())?.sum(1)
}

/// The mean of −ln σ(0.1 (gain of the chosen − gain of the rejected)), where a gain is ln p − ln p of the reference.
fn dpo_loss(model: &Decoder, reference: &Decoder, batch: &Batch) -> Result<Tensor> {
    let gain = (sequence_losses(reference, batch)? - sequence_losses(model, batch)?)?;
    let pairs = gain.dim(0)? / 2;
    let margin = ((gain.narrow(0, 0, pairs)? - gain.narrow(0, pairs, pairs)?)? * 0.1)?;
    (margin.neg()?.exp()? + 1.0)?.log()?.mean_all()
}

/// Scales the gradients so that their norm is at most `most`.
fn clip(gradients: &mut GradStore, variables: &[Var], most: f32) -> Result<()> {
    let squares = variables.iter().filter_map(|var| gradients.get(var)).map(|gradient| gradient.sqr()?.sum_all()?.to_scalar::<f32>());
    let norm = squares.sum::<Result<f32>>()?.sqrt();
    if norm > most {
        for var in variables {
            if let Some(gradient) = gradients.remove(var) {
                gradients.insert(var, (gradient * f64::from(most / norm))?);
            }
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let run = Run::from_arguments();
    let (inputs, targets) = run.batch();
    let batch = Batch {
        inputs: Tensor::from_vec(inputs, (run.sequences(), run.shape.tokens), &Device::Cpu)?,
        targets: Tensor::new(targets, &Device::Cpu)?,
    };
    let (model, variables) = Decoder::trained(run.shape)?;
    let reference = if run.dpo { Some(Decoder::frozen(run.shape, &variables)?) } else { None };
    let variables = variables.all_vars();
    let settings = ParamsAdamW { lr: 1e-4, beta1: 0.9, beta2: 0.95, weight_decay: 0.1, ..ParamsAdamW::default() };
    let mut optimizer = AdamW::new(variables.clone(), settings)?;
    let parameters = variables.iter().map(|var| var.elem_count()).sum();
    run.report("candle", (include_str!("../Cargo.lock"), "candle-core"), parameters, || {
        let loss = match &reference {
            Some(reference) => dpo_loss(&model, reference, &batch)?,
            None => model.losses(&batch.inputs, &batch.targets)?.mean_all()?,
        };
        let mut gradients = loss.backward()?;
        clip(&mut gradients, &variables, 1.0)?;
        optimizer.step(&gradients)?;
        loss.to_scalar::<f32>()
    })
}
