//! `slpo bench`: measures the cost of a training step and of generating, and the speed of this machine.

mod generate;
mod peak;
mod step;

use crate::arguments::{Bench, Measurement, Shared};
use crate::failure::Failure;
use engine::Device;

/// Runs the measurement that was asked for.
///
/// # Errors
/// [`Failure::Usage`] for a shape that no decoder has; [`Failure::Failed`] if a step is not finite; [`Failure::Output`].
pub fn run(arguments: &Bench, shared: &Shared) -> Result<(), Failure> {
    match &arguments.what {
        Measurement::Step(step) => step::run(step, shared),
        Measurement::Generate(generate) => generate::run(generate, shared),
        Measurement::Peak(peak) => peak::run(peak, shared),
    }
}

/// Returns the most memory in use at once, in MiB: that of arrays on a GPU, else that of this process if the system tells.
fn peak_memory(device: &Device) -> Option<f64> {
    if let Device::Cuda(cuda) = device {
        return Some(cuda.peak_bytes() as f64 / (1 << 20) as f64);
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib / 1024.0)
}
