//! Negation.
//!
//! forward  y = −x
//! vjp      x̄ = −ȳ
#![doc = include_str!("../explain/text/neg.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::functions::Neg;

impl<B: Backend> Tensor<B> {
    /// −x, in the shape of x.
    pub fn neg(&self) -> Self {
        self.map(Neg)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    Sample::new(function!(|x| x[0].neg()), [draw.normal(&shape)])
}
