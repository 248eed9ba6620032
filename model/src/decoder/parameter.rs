//! A named parameter.

use engine::{Backend, Tensor};

/// A parameter with its name, which is Hugging Face's Llama name wherever Llama has the part.
#[derive(Clone)]
pub struct Parameter<B: Backend> {
    /// The name, such as `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// The value; gradients are taken with respect to it.
    pub tensor: Tensor<B>,
}

impl<B: Backend> Parameter<B> {
    /// Takes the value out and leaves a zero in its place, until [`Parameter::set_array`]. The returned array is the only owner of its
    /// storage, unless a recording or a clone still holds it.
    pub(crate) fn take_array(&mut self) -> B::Array {
        let placeholder = Tensor::full(self.tensor.backend(), 0.0, &[]);
        std::mem::replace(&mut self.tensor, placeholder).into_array()
    }

    /// Sets the value, which becomes a new parameter.
    pub(crate) fn set_array(&mut self, backend: &B, array: B::Array) {
        self.tensor = Tensor::from_array(backend, array).to_parameter();
    }
}

/// Hashes a name to a number with FNV-1a.
pub(super) fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ byte as u64).wrapping_mul(0x100_0000_01b3))
}
