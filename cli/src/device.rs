//! The device that a command computes on: what `--device` asks for, or the best that is there.

use crate::arguments::Device as Asked;
use crate::failure::Failure;
use engine::backend::cuda::Precision;
use engine::{Cuda, Device};
use std::sync::OnceLock;

static CURRENT: OnceLock<Device> = OnceLock::new();

/// Takes what is asked for. With `auto` the choice is made where a device is first needed.
///
/// # Errors
/// [`Failure::Failed`] where CUDA is asked for and cannot be used, saying what is missing.
pub fn choose(asked: Asked) -> Result<(), Failure> {
    let device = match asked {
        Asked::Auto => return Ok(()),
        Asked::Cpu => Device::default(),
        Asked::Cuda => Device::Cuda(Cuda::open(0, Precision::F32).map_err(|error| Failure::Failed(error.to_string()))?),
    };
    CURRENT.get_or_init(|| device);
    Ok(())
}

/// The device of this command.
pub fn current() -> Device {
    CURRENT.get_or_init(|| Cuda::open(0, Precision::F32).map_or_else(|_| Device::default(), Device::Cuda)).clone()
}
