//! The device that a command computes on: what `--device` and `--precision` ask for. `auto` is the processor: the CUDA path has not been
//! run on a GPU yet, so it is taken only where it is asked for by name.

use crate::arguments::{Device as Asked, Rounding};
use crate::failure::Failure;
use crate::processes;
use engine::{Cpu, Cuda, Device, Precision};
use std::sync::OnceLock;

static CURRENT: OnceLock<Device> = OnceLock::new();

/// Takes what is asked for.
///
/// # Errors
/// [`Failure::Failed`] where CUDA is asked for and cannot be used, saying what is missing; [`Failure::Usage`] for a precision that the
/// processor does not have.
pub fn choose(asked: Asked, rounding: Rounding) -> Result<(), Failure> {
    let device = match asked {
        Asked::Auto | Asked::Cpu => {
            let cpu = Cpu::with_precision(precision(rounding));
            Device::Cpu(cpu.map_err(|error| Failure::Usage(format!("--precision: {error}")))?)
        }
        Asked::Cuda => {
            let opened = Cuda::open(processes::gpu()?, precision(rounding));
            Device::Cuda(opened.map_err(|error| Failure::Failed(error.to_string()))?)
        }
    };
    CURRENT.get_or_init(|| device);
    Ok(())
}

fn precision(rounding: Rounding) -> Precision {
    match rounding {
        Rounding::F32 => Precision::F32,
        Rounding::Tf32 => Precision::Tf32,
        Rounding::Bf16 => Precision::Bf16,
    }
}

/// The device of this command.
pub fn current() -> Device {
    CURRENT.get_or_init(Device::default).clone()
}

/// The processor as it is asked for, for a command that computes on nothing else.
///
/// # Errors
/// [`Failure::Usage`] where another device is asked for.
pub fn processor() -> Result<Device, Failure> {
    match current() {
        processor @ Device::Cpu(_) => Ok(processor),
        Device::Cuda(_) => Err(Failure::Usage("this command computes on the processor: leave out --device cuda".to_owned())),
    }
}
