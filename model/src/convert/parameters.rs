//! The check that a file holds every tensor that the decoder needs, and no others.

use crate::config::Config;
use crate::decoder::{Decoder, layout};
use crate::error::Result;
use crate::safetensors_file::{NamedTensors, is_buffer};
use engine::{Device, Tensor};

/// Takes the tensors that the decoder of `config` needs, under its own names. Refuses other tensors, except buffers that hold no weights.
///
/// # Errors
/// [`crate::Error::MissingTensor`], [`crate::Error::ShapeMismatch`], [`crate::Error::BadConfig`] for a tensor that the model does not have.
pub fn checked_parameters(config: &Config, tensors: &mut NamedTensors) -> Result<NamedTensors> {
    let mut parameters = NamedTensors::new();
    Decoder::build(config, &mut |name, shape| {
        parameters.insert(name.to_owned(), layout::take(tensors, name, shape)?);
        Ok(Tensor::full(&Device::default(), 0.0, &[]))
    })?;
    if let Some(head) = tensors.swap_remove("lm_head.weight").filter(|_| config.tied_head) {
        layout::refuse_other_head("lm_head.weight", &head, parameters.get("model.embed_tokens.weight"))?;
    }
    tensors.retain(|name, _| !is_buffer(name));
    layout::nothing_left(tensors)?;
    Ok(parameters)
}
