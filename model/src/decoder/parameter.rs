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
    /// Replaces the value by what `update` makes of its array, as a new parameter. The array's storage is the only one where no
    /// recording and no clone still holds it.
    pub fn update(&mut self, update: impl FnOnce(&mut B::Array)) {
        let backend = self.tensor.backend().clone();
        let placeholder = Tensor::full(&backend, 0.0, &[]);
        let mut array = std::mem::replace(&mut self.tensor, placeholder).into_array();
        update(&mut array);
        self.tensor = Tensor::from_array(&backend, array).to_parameter();
    }
}
