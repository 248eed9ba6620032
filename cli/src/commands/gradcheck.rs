//! `slpo gradcheck`.

use crate::arguments::{Gradcheck, Shared};
use crate::failure::Failure;

/// Says that the command is not in this build.
///
/// # Errors
/// Always.
pub fn run(_arguments: &Gradcheck, _shared: &Shared) -> Result<(), Failure> {
    Err(Failure::Failed("slpo gradcheck is not in this build".to_owned()))
}
