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
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

const CUBIC: f64 = 0.044715;
/// √(2/π).
const ROOT_2_OVER_PI: f64 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;

/// The exact GELU, x·Φ(x).
#[derive(Clone, Copy, Debug)]
pub struct GeluErf;

impl Unary for GeluErf {
    const NAME: &'static str = "gelu_erf";
    const SAVES: Saves = Saves::Input;
    #[inline(always)]
    fn value<T: Scalar>(self, x: T) -> T {
        x * normal_distribution(x)
    }
    #[inline(always)]
    fn derivative<T: Scalar>(self, x: T) -> T {
        let density = (x * x * T::from_f64(-0.5)).exp() * T::from_f64(0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2);
        normal_distribution(x) + x * density
    }
}

/// Φ(x) = ½ erfc(−x/√2).
#[inline(always)]
fn normal_distribution<T: Scalar>(x: T) -> T {
    T::from_f64(0.5) * (x * T::from_f64(-FRAC_1_SQRT_2)).erfc()
}

/// The tanh approximation of GELU.
#[derive(Clone, Copy, Debug)]
pub struct GeluTanh;

impl Unary for GeluTanh {
    const NAME: &'static str = "gelu_tanh";
    const SAVES: Saves = Saves::Input;
    #[inline(always)]
    fn value<T: Scalar>(self, x: T) -> T {
        x * inner(x).sigmoid()
    }
    #[inline(always)]
    fn derivative<T: Scalar>(self, x: T) -> T {
        let (twice_u, sigma) = (inner(x), inner(x).sigmoid());
        let slope = T::from_f64(2.0 * ROOT_2_OVER_PI) * (T::one() + T::from_f64(3.0 * CUBIC) * x * x);
        sigma + x * sigma * (-twice_u).sigmoid() * slope
    }
}

/// 2u = 2√(2/π)·(x + 0.044715·x³).
#[inline(always)]
fn inner<T: Scalar>(x: T) -> T {
    T::from_f64(2.0 * ROOT_2_OVER_PI) * (x + T::from_f64(CUBIC) * x * x * x)
}

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
            x[0].mul(&x[0].add(&cube.scale(CUBIC)).scale(2.0 * ROOT_2_OVER_PI).sigmoid())
        }))
    }
}
