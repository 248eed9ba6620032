//! The hyperbolic tangent.
//!
//! forward  y = tanh x
//! vjp      x̄ = (1 − y²)·ȳ               (saves y)
#![doc = include_str!("../explain/text/tanh.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

/// The hyperbolic tangent.
#[derive(Clone, Copy, Debug)]
pub struct Tanh;

impl Unary for Tanh {
    const NAME: &'static str = "tanh";
    const SAVES: Saves = Saves::Output;
    #[inline(always)]
    fn value<T: Scalar>(self, x: T) -> T {
        x.tanh()
    }
    #[inline(always)]
    fn derivative<T: Scalar>(self, y: T) -> T {
        T::one() - y * y
    }
}

impl<B: Backend> Tensor<B> {
    /// tanh x, in the shape of x.
    pub fn tanh(&self) -> Self {
        self.map(Tanh)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    Sample::new(function!(|x| x[0].tanh()), [draw.logits(&shape)])
}
