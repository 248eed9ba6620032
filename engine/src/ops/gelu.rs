//! The Gaussian error linear unit (Hendrycks and Gimpel 2016), exact and in the tanh approximation of GPT-2.
//!
//! forward  y = x·Φ(x), Φ(x) = ½(1 + erf(x/√2)) = ½ erfc(−x/√2)                      exact
//!          y = ½x(1 + tanh u) = x·σ(2u), u = √(2/π)·(x + 0.044715·x³)              tanh
//! vjp      x̄ = (Φ(x) + x·φ(x))·ȳ, φ(x) = e^{−x²/2}/√(2π)       (saves x)
//!          x̄ = (σ(2u) + 2x·σ(2u)·σ(−2u)·u′)·ȳ, u′ = √(2/π)·(1 + 0.134145·x²)
//!
//! The second forms keep their relative accuracy for negative x, where 1 + erf and 1 + tanh cancel.
#![doc = include_str!("../explain/text/gelu.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::functions::{GELU_CUBIC, GeluErf, GeluTanh, ROOT_2_OVER_PI};

impl<B: Backend> Tensor<B> {
    /// The exact GELU x·Φ(x), in the shape of x.
    pub fn gelu_erf(&self) -> Self {
        self.map(GeluErf)
    }
    /// The tanh approximation of GELU, in the shape of x.
    pub fn gelu_tanh(&self) -> Self {
        self.map(GeluTanh)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    if draw.coin() {
        Sample::new(function!(|x| x[0].gelu_erf()), [draw.logits(&shape)])
    } else {
        Sample::new(function!(|x| x[0].gelu_tanh()), [draw.logits(&shape)]).with_twin(function!(|x| {
            let cube = x[0].mul(&x[0]).mul(&x[0]);
            x[0].mul(&x[0].add(&cube.scale(GELU_CUBIC)).scale(2.0 * ROOT_2_OVER_PI).sigmoid())
        }))
    }
}
