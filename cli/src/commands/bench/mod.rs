//! `slpo bench`: what a training step costs here, and what the machine could do.

mod peak;
mod step;

use crate::arguments::{Bench, Measurement, Shared};
use crate::failure::Failure;

/// Measures what is asked for.
///
/// # Errors
/// [`Failure::Usage`] for a shape that no decoder has; [`Failure::Failed`] where a step is not finite; [`Failure::Output`].
pub fn run(arguments: &Bench, shared: &Shared) -> Result<(), Failure> {
    match &arguments.what {
        Measurement::Step(step) => step::run(step, shared),
        Measurement::Peak(peak) => peak::run(peak, shared),
    }
}
