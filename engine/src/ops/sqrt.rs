//! The square root.
//!
//! forward  y = √x
//! vjp      x̄ = ȳ/(2y)                   (saves y)
#![doc = include_str!("../explain/text/sqrt.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::functions::Sqrt;

impl<B: Backend> Tensor<B> {
    /// √x, in the shape of x. NaN below zero; the derivative at zero is ∞.
    pub fn sqrt(&self) -> Self {
        self.map(Sqrt)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    Sample::new(function!(|x| x[0].sqrt()), [draw.positive(&shape)])
}
