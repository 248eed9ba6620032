//! `slpo bench`: measures the cost of a training step and of generating, and the speed of this machine.

mod generate;
mod peak;
mod peak_memory;
mod step;

use crate::arguments::{Bench, Measurement, Shared};
use crate::failure::Failure;

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
