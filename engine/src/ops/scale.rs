//! Multiplication by a constant.
//!
//! forward  y = c·x
//! vjp      x̄ = c·ȳ
#![doc = include_str!("../explain/text/scale.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::functions::Scale;

impl<B: Backend> Tensor<B> {
    /// c·x for a constant c, in the shape of x.
    pub fn scale(&self, c: f64) -> Self {
        self.map(Scale(c))
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    Sample::new(function!(|x| x[0].scale(-2.5)), [draw.normal(&shape)])
}
