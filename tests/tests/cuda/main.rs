//! The GPU's kernels and the losses against `Cpu<f64>`, values and gradients, and whole steps with what the host waits for: on a GPU where
//! there is one, and compiled for the processor everywhere else, where that shows wrong arithmetic, indices and barriers, and says nothing
//! of the driver or cuBLAS.

mod group;
mod kernels;
mod optimizer;
mod preference_losses;
mod sampling;
mod steps;

use engine::backend::Core;
use engine::gradcheck::{Function, check_on};
use engine::{Cuda, Device, Precision};
use model::config::Config;
use model::decoder::Decoder;
use model::optimizer::{Rule, Schedule};
use model::train::Trainer;
use slpo_tests::normal_sample;
use std::path::Path;
use std::sync::OnceLock;

/// What the kernels run on here; says what is left out and why.
fn devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| [Precision::F32, Precision::Bf16].into_iter().flat_map(with_precision).collect())
}

fn in_bf16(device: &Device) -> bool {
    matches!(device, Device::Cuda(cuda) if cuda.precision() == Precision::Bf16)
}

fn with_precision(precision: Precision) -> impl Iterator<Item = Device> {
    let gpu = Cuda::open(0, precision).map_err(|error| println!("skipped: no CUDA device: {error}"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda-kernels");
    let emulated = Cuda::emulated(&folder, precision).map_err(|reason| println!("skipped: kernels on the processor: {reason}"));
    gpu.into_iter().chain(emulated).map(Device::Cuda)
}

fn agrees(name: &str, f: impl Function, shapes: &[&[usize]]) {
    let sample = normal_sample(f, shapes);
    devices().iter().for_each(|device| check_on(device, name, &sample).assert());
}

fn is_emulated(cuda: &Cuda) -> bool {
    cuda.name().contains("emulat")
}

fn trainer(device: &Device) -> Trainer<Device> {
    trainer_by(Rule::default(), device)
}

fn trainer_by(rule: Rule, device: &Device) -> Trainer<Device> {
    let config = Config { vocab_size: 32, layers: 1, ..Config::preset("nano").unwrap() };
    let schedule = Schedule { learning_rate: 1e-2, warmup: 0, steps: 9, final_fraction: 1.0 };
    Trainer::new(Decoder::random(device, &config, 3).unwrap(), rule, schedule, 1.0)
}

fn weights(trainer: &Trainer<Device>) -> Vec<f64> {
    trainer.decoder.parameters().into_iter().flat_map(|parameter| parameter.tensor.to_f64()).collect()
}
