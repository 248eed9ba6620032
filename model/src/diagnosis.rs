//! Finds what made a step not finite, by repeating its computation and inspecting every value.

use crate::decoder::Decoder;
use crate::error::Result;
use engine::watch::{Direction, NonFinite, first_non_finite};
use engine::{Backend, Tensor};

/// Runs the micro-batches of a failed step again, one by one, forward and backward, and describes the first value that is not finite. It
/// comes from a parameter that already holds one, or from an op, which is named with the parameters nearest to it. Returns `None` if each
/// micro-batch by itself is finite and only their sum is not.
///
/// # Errors
/// Those of `loss`.
pub fn explain<B: Backend>(
    decoder: &Decoder<B>,
    micro_batches: usize,
    mut loss: impl FnMut(&Decoder<B>, usize) -> Result<(Tensor<B>, f64)>,
) -> Result<Option<String>> {
    for parameter in decoder.parameters() {
        let values = parameter.tensor.to_f64();
        if let Some(index) = values.iter().position(|x| !x.is_finite()) {
            return Ok(Some(format!("the parameter {} itself has {} at element {index}", parameter.name, values[index])));
        }
    }
    for micro_batch in 0..micro_batches {
        let (outcome, found) = first_non_finite(|| loss(decoder, micro_batch).map(|(sum, _)| drop(sum.backward_freeing())));
        outcome?;
        if let Some(found) = found {
            let found = described(decoder, &found);
            return Ok(Some(format!("micro-batch {}: the first value that is not finite is {found}", micro_batch + 1)));
        }
    }
    Ok(None)
}

fn described<B: Backend>(decoder: &Decoder<B>, found: &NonFinite) -> String {
    let near = decoder.parameters().into_iter().filter(|p| p.tensor.id().is_some_and(|id| found.parameters.contains(&id)));
    let near: Vec<&str> = near.map(|parameter| parameter.name.as_str()).collect();
    match (found.direction, near.is_empty()) {
        (_, true) => found.to_string(),
        (Direction::Forward, _) => format!("{found}, computed from {}", near.join(", ")),
        (Direction::Backward, _) => format!("{found}, on its way to {}", near.join(", ")),
    }
}
