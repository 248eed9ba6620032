//! A constant power.
//!
//! forward  y = x^p
//! vjp      x̄ = p·x^{p−1}·ȳ              (saves x)
#![doc = include_str!("../explain/text/powf.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

/// A constant power.
#[derive(Clone, Copy, Debug)]
pub struct Powf(pub f64);

impl Unary for Powf {
    const NAME: &'static str = "powf";
    const SAVES: Saves = Saves::Input;
    #[inline(always)]
    fn value<T: Scalar>(self, x: T) -> T {
        x.powf(self.0)
    }
    #[inline(always)]
    fn derivative<T: Scalar>(self, x: T) -> T {
        T::from_f64(self.0) * x.powf(self.0 - 1.0)
    }
}

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
