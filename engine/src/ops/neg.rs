//! Negation.
//!
//! forward  y = −x
//! vjp      x̄ = −ȳ
#![doc = include_str!("../explain/text/neg.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

/// Negation.
#[derive(Clone, Copy, Debug)]
pub struct Neg;

impl Unary for Neg {
    const NAME: &'static str = "neg";
    const SAVES: Saves = Saves::Nothing;
    #[inline(always)]
    fn value<T: Scalar>(self, x: T) -> T {
        -x
    }
    #[inline(always)]
    fn derivative<T: Scalar>(self, _: T) -> T {
        -T::one()
    }
}

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
