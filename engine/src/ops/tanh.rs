//! The hyperbolic tangent.
//!
//! forward  y = tanh x
//! vjp      x̄ = (1 − y²)·ȳ               (saves y)
#![doc = include_str!("../explain/text/tanh.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::functions::Tanh;

impl<B: Backend> Tensor<B> {
    /// tanh x, in the shape of x.
    pub fn tanh(&self) -> Self {
        self.map(Tanh)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    Sample::new(function!(|x| x[0].tanh()), [draw.logits(&shape)])
}
