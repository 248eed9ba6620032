//! Whole steps: how often the host waits, graphs, and what is not finite.

use crate::preference_losses::{hyperparameters, losses_by_inputs, preference_pairs};
use crate::{devices, trainer, trainer_by, weights, with_precision};
use engine::{Device, Generator, Precision, Tensor};
use losses::{Kind, Objective};
use model::align::total;
use model::batch::Batch;
use model::decoder::{Decoder, ForwardOptions};
use model::optimizer::Rule;
use model::preference::Scored;
use model::train::{OnNonFinite, Trainer};

/// Reading the loss and the norm of the gradient is all that a step waits for, and they come together.
#[test]
fn a_step_waits_for_the_device_once() {
    let windows: Vec<Vec<u32>> = (0..2).map(|row| (0..9).map(|i| (i * 3 + row) % 32).collect()).collect();
    let (batch, pairs, options) = (Batch::of_windows(windows.iter().map(Vec::as_slice)), preference_pairs(), ForwardOptions::default());
    // Devices of this test's own: others that run beside it would be counted.
    for device in [Precision::F32, Precision::Bf16].into_iter().flat_map(with_precision) {
        let Device::Cuda(cuda) = &device else { continue };
        let mut trainer = trainer(&device);
        let reference = trainer.decoder.clone();
        let once = |name: &str, step: &mut dyn FnMut(usize) -> f64| {
            for number in 0..2 {
                let before = cuda.waits();
                assert!(step(number).is_finite(), "{name}, step {number}");
                assert_eq!(cuda.waits() - before, 1, "{name}, step {number}");
            }
        };
        let mut descending = trainer_by(Rule::Sgd { momentum: 0.9 }, &device);
        for (name, trainer) in [("language modelling", &mut trainer), ("language modelling by descent", &mut descending)] {
            once(name, &mut |_| {
                trainer.step(2, |decoder, _| Ok((batch.loss(decoder, &options), batch.target_count() as f64))).unwrap().loss
            });
        }
        // Losses of a batch arrange its pairs on the host.
        for loss in losses_by_inputs().filter(|loss| loss.kind() != Kind::Batchwise) {
            once(loss.name(), &mut |step| {
                let objective = Objective::new(loss, hyperparameters()[step]).unwrap();
                let aligned = trainer.step(1, |decoder, _| {
                    total(&objective, &Scored::policy(&pairs, decoder, &options), &Scored::reference(&pairs, &reference), None)
                });
                aligned.unwrap().loss
            });
        }
    }
}

/// Other tokens, another rate and other weights every time: the first steps of a device run kernel by kernel, the later ones as graphs.
#[test]
fn a_step_that_repeats_runs_as_graphs_and_gives_the_bits_of_one_that_does_not() {
    const STEPS: u32 = 9;
    let step_on = |trainer: &mut Trainer<Device>, step: u32| {
        let mut generator = Generator::new(u64::from(step));
        let windows: Vec<Vec<u32>> = (0..4).map(|_| (0..20).map(|_| generator.below(32) as u32).collect()).collect();
        let outcome = trainer.step(2, |decoder, index| {
            let batch = Batch::of_windows(windows[2 * index..2 * index + 2].iter().map(Vec::as_slice));
            Ok((batch.loss(decoder, &ForwardOptions::default()), batch.target_count() as f64))
        });
        outcome.unwrap().loss.to_bits()
    };
    for precision in [Precision::F32, Precision::Bf16] {
        for (device, plain) in with_precision(precision).zip(with_precision(precision)) {
            let (Device::Cuda(cuda), Device::Cuda(plain)) = (&device, plain) else { continue };
            let plain = plain.without_graphs();
            let (mut with_graphs, mut without) = (trainer(&device), trainer(&Device::Cuda(plain.clone())));
            for step in 0..STEPS {
                let before = cuda.graphs();
                assert_eq!(step_on(&mut with_graphs, step), step_on(&mut without, step), "step {step}");
                let after = cuda.graphs();
                assert_eq!(after.failure, None);
                let (in_graphs, alone) = (after.commands - before.commands, after.alone - before.alone);
                println!("step {step}: {in_graphs} commands in graphs, {alone} alone");
                assert!(step < 4 || in_graphs > 9 * alone, "step {step}: {in_graphs} commands in graphs, {alone} alone");
            }
            assert_eq!(plain.graphs().replayed, 0);
        }
    }
}

/// A step whose loss or gradient is not finite is not made, is named as on the processor, and may be passed over.
#[test]
fn a_step_that_is_not_finite_is_not_made() {
    let batch = Batch::of_windows([&[1, 2, 3, 4][..]]);
    let loss = |gradient_only: bool| {
        let batch = batch.clone();
        move |decoder: &Decoder<Device>, _: usize| {
            let loss = batch.loss(decoder, &ForwardOptions::default());
            let root = |x: &Tensor<Device>| x.scale(0.0).mul(&x.scale(0.0)).sqrt().sum_all();
            let spoiled = if gradient_only { loss.add(&root(decoder.head_weight())) } else { loss.scale(1e38).scale(1e38) };
            Ok((spoiled, batch.target_count() as f64))
        }
    };
    for gradient_only in [false, true] {
        let said = trainer(&Device::default()).step(1, loss(gradient_only)).unwrap_err().to_string();
        for device in devices() {
            let mut trainer = trainer(device);
            let before = weights(&trainer);
            let message = trainer.step(1, loss(gradient_only)).unwrap_err().to_string();
            let start = |text: &str| text.split([';', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']).next().map(str::to_owned);
            assert_eq!(start(&message), start(&said), "{message} for {said}");
            assert_eq!(message.contains("gradient of"), gradient_only, "{message}");
            trainer.on_non_finite = OnNonFinite::Skip;
            assert!(trainer.step(1, loss(gradient_only)).unwrap().skipped.is_some());
            assert!(weights(&trainer) == before && trainer.optimizer.steps() == 0 && trainer.skipped == 1);
            let made = trainer.step(1, |decoder, _| Ok((batch.loss(decoder, &ForwardOptions::default()), 3.0))).unwrap();
            assert!(made.skipped.is_none() && weights(&trainer) != before);
        }
    }
}
