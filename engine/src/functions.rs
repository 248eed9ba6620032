//! The elementary functions with their derivatives: the calculus of this crate on one page.
//!
//! Each entry is y = f(x) and its slope f′, written in what the forward pass keeps: the input x, the output y, or nothing. The reverse pass
//! multiplies the cotangent by the slope, x̄ = f′·ȳ. The stable forms of σ, softplus and ln(1 − eˣ) are methods of [`Scalar`], once for
//! every number type.

use crate::formula::{Saves, Unary};
use crate::scalar::Scalar;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// Declares functions: `Name "its name in reports" [parameter]: x => f(x), Kept k => f′ in terms of k;`.
macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident $text:literal $([$p:ident])?: $x:ident => $value:expr, $saves:ident $saved:pat => $slope:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name $((
            #[doc = concat!("The parameter ", stringify!($p), ".")]
            pub f64,
        ))?;
        impl Unary for $name {
            const NAME: &'static str = $text;
            const SAVES: Saves = Saves::$saves;
            #[inline(always)]
            fn value<T: Scalar>(self, $x: T) -> T {
                $(let Self($p) = self;)?
                $value
            }
            #[inline(always)]
            #[allow(unused_variables)]
            fn derivative<T: Scalar>(self, $saved: T) -> T {
                $(let Self($p) = self;)?
                $slope
            }
        }
    )*};
}

functions! {
    /// −x.
    Neg "neg": x => -x, Nothing _ => -T::one();
    /// c·x.
    Scale "scale" [c]: x => T::from_f64(c) * x, Nothing _ => T::from_f64(c);
    /// eˣ; ∞ above 88.72 in f32, 709.78 in f64.
    Exp "exp": x => x.exp(), Output y => y;
    /// ln x for x > 0; −∞ at 0, NaN below.
    Ln "ln": x => x.ln(), Input x => T::one() / x;
    /// √x for x ≥ 0; the slope at 0 is ∞.
    Sqrt "sqrt": x => x.sqrt(), Output y => T::from_f64(0.5) / y;
    /// xᵖ for a constant p; NaN for x < 0 unless p is an integer.
    Powf "powf" [p]: x => x.powf(p), Input x => T::from_f64(p) * x.powf(p - 1.0);
    /// 1/√(x + ε).
    InverseRoot "inverse_root" [epsilon]: x => T::one() / (x + T::from_f64(epsilon)).sqrt(), Output y => T::from_f64(-0.5) * y * y * y;
    /// max(x, 0); the slope at 0 is taken as 0. A NaN is kept.
    Relu "relu": x => T::select(T::zero().is_below(x), x, T::zero() * x), Input x => T::select(T::zero().is_below(x), T::one(), T::zero());
    /// x, 0 where it is infinite: keeps −∞ − (−∞) out of a difference. NaN stays.
    FiniteOrZero "finite_or_zero": x => T::select(x.abs().is_equal_to(infinity()), T::zero(), x),
        Input x => T::select(x.abs().is_below(infinity()), T::one(), T::zero());

    /// tanh x.
    Tanh "tanh": x => x.tanh(), Output y => T::one() - y * y;
    /// The logistic function σ(x) = 1/(1 + e⁻ˣ).
    Sigmoid "sigmoid": x => x.sigmoid(), Output y => y * (T::one() - y);
    /// ln σ(x) = −softplus(−x).
    LogSigmoid "log_sigmoid": x => -((-x).softplus()), Input x => (-x).sigmoid();
    /// ln(1 + eˣ).
    Softplus "softplus": x => x.softplus(), Input x => x.sigmoid();
    /// ln(1 − eˣ) for x ≤ 0; −∞ at 0, NaN above. The slope eˣ/(eˣ − 1) overflows nowhere, nor do its own derivatives.
    Log1mexp "log1mexp": x => x.log1mexp(), Input x => x.exp() / x.exp_m1();

    /// x·σ(x), also called swish (Elfwing, Uchibe, Doya 2018).
    Silu "silu": x => x * x.sigmoid(), Input x => {
        let s = x.sigmoid();
        s * (T::one() + x * (T::one() - s))
    };
    /// The exact GELU x·Φ(x), Φ(x) = ½ erfc(−x/√2) (Hendrycks and Gimpel 2016). Its slope is Φ(x) + x·φ(x), φ(x) = e^{−x²/2}/√(2π).
    GeluErf "gelu_erf": x => x * normal_distribution(x), Input x => {
        let density = (x * x * T::from_f64(-0.5)).exp() * T::from_f64(0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2);
        normal_distribution(x) + x * density
    };
    /// The tanh approximation of GELU, x·σ(2u) with u = √(2/π)·(x + 0.044715·x³). Its slope is σ(2u) + 2x·σ(2u)·σ(−2u)·u′.
    GeluTanh "gelu_tanh": x => x * twice_u(x).sigmoid(), Input x => {
        let twice_u = twice_u(x);
        let sigma = twice_u.sigmoid();
        let slope = T::from_f64(2.0 * ROOT_2_OVER_PI) * (T::one() + T::from_f64(3.0 * GELU_CUBIC) * x * x);
        sigma + x * sigma * (-twice_u).sigmoid() * slope
    };
}

/// The factor of x³ in [`GeluTanh`].
pub(crate) const GELU_CUBIC: f64 = 0.044715;
/// √(2/π).
pub(crate) const ROOT_2_OVER_PI: f64 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;

/// Φ(x) = ½ erfc(−x/√2), which keeps its relative accuracy for negative x, where 1 + erf cancels.
#[inline(always)]
fn normal_distribution<T: Scalar>(x: T) -> T {
    T::from_f64(0.5) * (x * T::from_f64(-FRAC_1_SQRT_2)).erfc()
}

/// 2u = 2√(2/π)·(x + 0.044715·x³).
#[inline(always)]
fn twice_u<T: Scalar>(x: T) -> T {
    T::from_f64(2.0 * ROOT_2_OVER_PI) * (x + T::from_f64(GELU_CUBIC) * x * x * x)
}

#[inline(always)]
fn infinity<T: Scalar>() -> T {
    T::from_f64(f64::INFINITY)
}
