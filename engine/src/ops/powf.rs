//! A constant power.
//!
//! forward  y = x^p
//! vjp      x̄ = p·x^{p−1}·ȳ              (saves x)
#![doc = include_str!("../explain/text/powf.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::functions::Powf;

impl<B: Backend> Tensor<B> {
    /// x^p for a constant p, in the shape of x. NaN for x < 0 unless p is an integer.
    pub fn powf(&self, p: f64) -> Self {
        self.map(Powf(p))
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    Sample::new(function!(|x| x[0].powf(1.7)), [draw.positive(&shape)])
}
