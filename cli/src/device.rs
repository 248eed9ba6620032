//! The device of a command, as `--device` and `--precision` choose it. `auto` is the processor: the CUDA path has not been run on a GPU
//! yet, so a user must ask for it by name.

use crate::arguments::{Device as Asked, Rounding};
use crate::failure::Failure;
use crate::processes;
use engine::{Cpu, Cuda, Device, Precision};
use std::sync::OnceLock;

static CURRENT: OnceLock<Device> = OnceLock::new();

/// Opens the device that the command line asks for.
///
/// # Errors
/// [`Failure::Failed`] if CUDA is asked for and cannot be used; the text says what is missing. [`Failure::Usage`] for a precision that the
/// processor does not support.
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

/// Returns the device of this command.
pub fn current() -> Device {
    CURRENT.get_or_init(Device::default).clone()
}

/// Returns the processor with the precision that was asked for: for a command that computes on the processor only.
///
/// # Errors
/// [`Failure::Usage`] if another device is asked for.
pub fn processor() -> Result<Device, Failure> {
    match current() {
        processor @ Device::Cpu(_) => Ok(processor),
        Device::Cuda(_) => Err(Failure::Usage("this command computes on the processor: leave out --device cuda".to_owned())),
    }
}
