//! Multiplication by a constant.
//!
//! forward  y = c·x
//! vjp      x̄ = c·ȳ
#![doc = include_str!("../explain/text/scale.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

/// Multiplication by a constant.
#[derive(Clone, Copy, Debug)]
pub struct Scale(pub f64);

impl Unary for Scale {
    const NAME: &'static str = "scale";
    const SAVES: Saves = Saves::Nothing;
    #[inline(always)]
    fn value<T: Scalar>(self, x: T) -> T {
        T::from_f64(self.0) * x
    }
    #[inline(always)]
    fn derivative<T: Scalar>(self, _: T) -> T {
        T::from_f64(self.0)
    }
}

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
