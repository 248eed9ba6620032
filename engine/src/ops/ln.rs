//! The natural logarithm.
//!
//! forward  y = ln x
//! vjp      x̄ = ȳ/x                      (saves x)
#![doc = include_str!("../explain/text/ln.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

/// The natural logarithm.
#[derive(Clone, Copy, Debug)]
pub struct Ln;

impl Unary for Ln {
    const NAME: &'static str = "ln";
    const SAVES: Saves = Saves::Input;
    #[inline(always)]
    fn value<T: Scalar>(self, x: T) -> T {
        x.ln()
    }
    #[inline(always)]
    fn derivative<T: Scalar>(self, x: T) -> T {
        T::one() / x
    }
}

impl<B: Backend> Tensor<B> {
    /// ln x, in the shape of x. −∞ at zero, NaN below.
    pub fn ln(&self) -> Self {
        self.map(Ln)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    Sample::new(function!(|x| x[0].ln()), [draw.positive(&shape)])
}
