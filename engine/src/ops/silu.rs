//! The sigmoid linear unit, also called swish.
//!
//! forward  y = x·σ(x)
//! vjp      x̄ = σ(x)·(1 + x·(1 − σ(x)))·ȳ   (saves x)
#![doc = include_str!("../explain/text/silu.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::functions::Silu;

impl<B: Backend> Tensor<B> {
    /// x·σ(x), in the shape of x (Elfwing, Uchibe, Doya 2018).
    pub fn silu(&self) -> Self {
        self.map(Silu)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    Sample::new(function!(|x| x[0].silu()), [draw.logits(&shape)]).with_twin(function!(|x| x[0].mul(&x[0].sigmoid())))
}
