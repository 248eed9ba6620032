//! The logarithm of a complement: ln(1 − p) from ln p.
//!
//! forward  y = ln(1 − e^x), x ≤ 0: ln(−expm1 x) above −ln 2, ln1p(−e^x) below (Mächler 2012, eq. 7)
//! vjp      x̄ = ȳ·e^x/(e^x − 1)           (saves x); nothing here overflows, nor do its own derivatives
#![doc = include_str!("../explain/text/log1mexp.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::functions::Log1mexp;

impl<B: Backend> Tensor<B> {
    /// ln(1 − e^x) for x ≤ 0, in the shape of x. −∞ at zero, NaN above.
    pub fn log1mexp(&self) -> Self {
        self.map(Log1mexp)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    Sample::new(function!(|x| x[0].log1mexp()), [draw.log_probabilities(&shape)])
}
