//! The logarithm of the logistic function.
//!
//! forward  y = ln σ(x) = min(x, 0) − ln(1 + e^{−|x|})
//! vjp      x̄ = σ(−x)·ȳ                  (saves x)
#![doc = include_str!("../explain/text/log_sigmoid.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::functions::LogSigmoid;

impl<B: Backend> Tensor<B> {
    /// ln σ(x), in the shape of x; equals x where e^x underflows.
    pub fn log_sigmoid(&self) -> Self {
        self.map(LogSigmoid)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    Sample::new(function!(|x| x[0].log_sigmoid()), [draw.logits(&shape)]).with_twin(function!(|x| x[0].neg().softplus().neg()))
}
