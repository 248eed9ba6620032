//! The logistic function.
//!
//! forward  y = σ(x) = 1/(1 + e^{−x}), formed from e^{−|x|}
//! vjp      x̄ = y·(1 − y)·ȳ              (saves y)
#![doc = include_str!("../explain/text/sigmoid.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::functions::Sigmoid;

impl<B: Backend> Tensor<B> {
    /// σ(x) = 1/(1 + e^{−x}), in the shape of x; finite everywhere.
    pub fn sigmoid(&self) -> Self {
        self.map(Sigmoid)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    Sample::new(function!(|x| x[0].sigmoid()), [draw.logits(&shape)])
}
