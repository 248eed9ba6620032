//! What made a step not finite: the step's computation once more, with every value looked at.

use crate::decoder::Decoder;
use crate::error::Result;
use engine::watch::{NonFinite, Pass, first_non_finite};
use engine::{Backend, Tensor};

/// Runs the micro-batches of a failed step again, one by one, forward and backward, and says in words where the first value that is not
/// finite comes from: a parameter that already holds one, or else an op, with the parameters nearest to it.
///
/// # Errors
/// Those of `loss`.
pub fn explain<B: Backend>(
    decoder: &Decoder<B>,
    micro_batches: usize,
    mut loss: impl FnMut(&Decoder<B>, usize) -> Result<(Tensor<B>, f64)>,
) -> Result<String> {
    for parameter in decoder.parameters() {
        let values = parameter.tensor.to_f64();
        if let Some(index) = values.iter().position(|x| !x.is_finite()) {
            return Ok(format!("the parameter {} itself has {} at element {index}", parameter.name, values[index]));
        }
    }
    for micro_batch in 0..micro_batches {
        let (outcome, found) = first_non_finite(|| loss(decoder, micro_batch).map(|(sum, _)| drop(sum.backward())));
        outcome?;
        if let Some(found) = found {
            return Ok(format!("micro-batch {}: the first value that is not finite is {}", micro_batch + 1, described(decoder, &found)));
        }
    }
    Ok("each micro-batch by itself is finite, so their sum overflows".to_owned())
}

fn described<B: Backend>(decoder: &Decoder<B>, found: &NonFinite) -> String {
    let near = decoder.parameters().into_iter().filter(|p| p.tensor.id().is_some_and(|id| found.parameters.contains(&id)));
    let near: Vec<&str> = near.map(|parameter| parameter.name.as_str()).collect();
    match (found.pass, near.is_empty()) {
        (_, true) => found.to_string(),
        (Pass::Forward, _) => format!("{found}, computed from {}", near.join(", ")),
        (Pass::Backward, _) => format!("{found}, on its way to {}", near.join(", ")),
    }
}
