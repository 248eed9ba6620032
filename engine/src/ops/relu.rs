//! The rectified linear unit.
//!
//! forward  y = max(x, 0)
//! vjp      x̄ = ȳ where x > 0, else 0     (saves x); at x = 0 the subgradient 0 is taken
#![doc = include_str!("../explain/text/relu.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::functions::Relu;

impl<B: Backend> Tensor<B> {
    /// max(x, 0), in the shape of x. At zero the subgradient 0 is taken.
    pub fn relu(&self) -> Self {
        self.map(Relu)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    Sample::new(function!(|x| x[0].relu()), [draw.away_from_zero(&shape)])
}
