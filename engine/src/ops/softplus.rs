//! The softplus.
//!
//! forward  y = ln(1 + e^x) = max(x, 0) + ln(1 + e^{−|x|})
//! vjp      x̄ = σ(x)·ȳ                   (saves x)
#![doc = include_str!("../explain/text/softplus.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::functions::Softplus;

impl<B: Backend> Tensor<B> {
    /// ln(1 + e^x), in the shape of x; equals x where e^{−x} underflows.
    pub fn softplus(&self) -> Self {
        self.map(Softplus)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    Sample::new(function!(|x| x[0].softplus()), [draw.logits(&shape)])
}
