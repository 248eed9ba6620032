//! The device that a command computes on: what `--device` asks for. `auto` is the processor: the CUDA path has not been run on a GPU yet,
//! so it is taken only where it is asked for by name.

use crate::arguments::Device as Asked;
use crate::failure::Failure;
use crate::processes;
use engine::backend::cuda::Precision;
use engine::{Cuda, Device};
use std::sync::OnceLock;

static CURRENT: OnceLock<Device> = OnceLock::new();

/// Takes what is asked for.
///
/// # Errors
/// [`Failure::Failed`] where CUDA is asked for and cannot be used, saying what is missing.
pub fn choose(asked: Asked) -> Result<(), Failure> {
    let device = match asked {
        Asked::Auto | Asked::Cpu => Device::default(),
        Asked::Cuda => Device::Cuda(Cuda::open(processes::gpu()?, Precision::F32).map_err(|error| Failure::Failed(error.to_string()))?),
    };
    CURRENT.get_or_init(|| device);
    Ok(())
}

/// The device of this command.
pub fn current() -> Device {
    CURRENT.get_or_init(Device::default).clone()
}
