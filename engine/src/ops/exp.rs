//! The exponential.
//!
//! forward  y = e^x
//! vjp      x̄ = y·ȳ                      (saves y)
#![doc = include_str!("../explain/text/exp.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::functions::Exp;

impl<B: Backend> Tensor<B> {
    /// e^x, in the shape of x. ∞ where it overflows (above 709.78 in f64, 88.72 in f32).
    pub fn exp(&self) -> Self {
        self.map(Exp)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    Sample::new(function!(|x| x[0].exp()), [draw.uniform(&shape, -30.0, 5.0)])
}
