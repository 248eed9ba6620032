//! One optimiser step of slpo's presets in burn on a CPU (its flex backend): forward, backward, clip to 1.0, AdamW. Prints one JSON object,
//! as pytorch_step.py does. RAYON_NUM_THREADS says the number of threads.

mod decoder;
#[path = "../../harness.rs"]
mod harness;

use std::convert::Infallible;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Device, Int, Tensor, TensorData};

use decoder::{Decoder, Positions};
use harness::Run;

struct Batch {
    inputs: Tensor<2, Int>,
    targets: Tensor<2, Int>,
    positions: Positions,
}

impl Batch {
    fn new(run: &Run, device: &Device) -> Self {
        let (inputs, targets) = run.batch();
        let tensor = |tokens: Vec<u32>| {
            let tokens: Vec<i64> = tokens.into_iter().map(i64::from).collect();
            Tensor::from_data(TensorData::new(tokens, [run.sequences(), run.shape.tokens]), device)
        };
        Self { inputs: tensor(inputs), targets: tensor(targets), positions: Positions::new(run.shape, device) }
    }

    fn losses(&self, model: &Decoder, frozen: bool) -> Tensor<2> {
        model.losses(self.inputs.clone(), self.targets.clone(), &self.positions, frozen)
    }
}

/// A model without gradients, and its batch on the device without them.
struct Reference {
    model: Decoder,
    batch: Batch,
}

/// The mean of −ln σ(0.1 (gain of the chosen − gain of the rejected)), where a gain is ln p − ln p of the reference.
fn dpo_loss(model: &Decoder, batch: &Batch, reference: &Reference) -> Tensor<1> {
    let before = reference.batch.losses(&reference.model, true).sum_dim(1).autodiff();
    let gain = before - batch.losses(model, false).sum_dim(1);
    let pairs = gain.dims()[0] / 2;
    let margin = (gain.clone().narrow(0, 0, pairs) - gain.narrow(0, pairs, pairs)) * 0.1;
    -log_sigmoid(margin).mean()
}

/// Adds up the squares of all gradients.
struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: f32,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(parameter.id) {
            self.sum += gradient.square().sum().into_scalar::<f32>();
        }
    }
}

/// Multiplies all gradients by `factor`.
struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f32,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(parameter.id) {
            self.gradients.register(parameter.id, gradient * self.factor);
        }
    }
}

/// Scales the gradients so that their norm over all parameters is at most `most`; burn's own clipping is for each parameter alone.
fn clip(gradients: &mut GradientsParams, model: &Decoder, most: f32) {
    let mut squares = Squares { gradients, sum: 0.0 };
    model.visit(&mut squares);
    let norm = squares.sum.sqrt();
    if norm > most {
        model.visit(&mut Scale { gradients, factor: most / norm });
    }
}

fn main() -> Result<(), Infallible> {
    let run = Run::from_arguments();
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    let batch = Batch::new(&run, &device);
    let first = Decoder::new(run.shape, &device);
    let reference = run.dpo.then(|| Reference { model: first.valid(), batch: Batch::new(&run, &plain) });
    let mut optimizer = AdamWConfig::new().with_beta_1(0.9).with_beta_2(0.95).with_epsilon(1e-8).with_weight_decay(0.1).init();
    let parameters = first.num_params();
    let mut current = Some(first);
    run.report("burn", (include_str!("../Cargo.lock"), "burn"), parameters, || {
        let model = current.take().expect("each step puts the next model here");
        let loss = match &reference {
            Some(reference) => dpo_loss(&model, &batch, reference),
            None => batch.losses(&model, false).mean(),
        };
        let mut gradients = GradientsParams::from_grads(loss.backward(), &model);
        clip(&mut gradients, &model, 1.0);
        current = Some(optimizer.step(1e-4, model, gradients));
        Ok(loss.into_scalar::<f32>())
    })
}
