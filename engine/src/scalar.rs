//! The element types a tensor may hold: `f32`, `f64` and dual numbers, behind one trait.
//!
//! Everything an op computes on one element is written against [`Scalar`], so the same formula serves training, the f64 reference
//! and exact forward mode. The stable forms (sigmoid, softplus, log1mexp …) live here once, for every type.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// A real number, possibly with a tangent. Comparisons look at the real part only.
pub trait Scalar:
    Copy
    + Default
    + Debug
    + Display
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + Sum
    + 'static
{
    /// The type's name in messages, such as `f32`.
    const NAME: &'static str;
    /// The unit round-off u of the real part: 2⁻²⁴ for f32, 2⁻⁵³ for f64. Every rounding errs by a factor within 1 ± u.
    const UNIT_ROUNDOFF: f64;
    /// True if loops over this type are compiled for each instruction set. Only what trains needs their speed; every other type would
    /// compile three times for the same bits.
    const VECTORISED: bool = false;
    /// The answer to a comparison, for [`Scalar::select`].
    type Condition: Copy;

    /// The nearest value, with tangent zero.
    fn from_f64(x: f64) -> Self;
    /// The real part.
    fn to_f64(self) -> f64;
    /// e^x.
    fn exp(self) -> Self;
    /// e^x for a term of a sum that has 1 beside it, or a probability: it may be 0 below e⁻⁸⁷, and means nothing above e⁸⁸.
    #[inline(always)]
    fn exp_of_term(self) -> Self {
        self.exp()
    }
    /// e^x − 1, accurate near zero.
    fn exp_m1(self) -> Self;
    /// ln x.
    fn ln(self) -> Self;
    /// ln(1 + x), accurate near zero.
    fn ln_1p(self) -> Self;
    /// √x.
    fn sqrt(self) -> Self;
    /// x^p for a constant p.
    fn powf(self, p: f64) -> Self;
    /// tanh x.
    fn tanh(self) -> Self;
    /// erfc x = 2/√π ∫ₓ^∞ e^{−t²} dt, accurate where it is small.
    fn erfc(self) -> Self;

    /// True if the real part is below the other's; false where either is NaN.
    fn is_below(self, other: Self) -> Self::Condition;
    /// True if the real parts are equal; false where either is NaN.
    fn is_equal_to(self, other: Self) -> Self::Condition;
    /// `then` where the condition holds, else `otherwise`. Both are computed: neither may panic.
    fn select(condition: Self::Condition, then: Self, otherwise: Self) -> Self;

    /// 0.
    #[inline(always)]
    fn zero() -> Self {
        Self::from_f64(0.0)
    }
    /// 1.
    #[inline(always)]
    fn one() -> Self {
        Self::from_f64(1.0)
    }
    /// −∞.
    #[inline(always)]
    fn neg_infinity() -> Self {
        Self::from_f64(f64::NEG_INFINITY)
    }
    /// |x|; at zero the derivative is taken as +1.
    #[inline(always)]
    fn abs(self) -> Self {
        Self::select(self.is_below(Self::zero()), -self, self)
    }
    /// The larger of two, the first where they tie; a NaN in either is kept.
    #[inline(always)]
    fn maximum(self, other: Self) -> Self {
        if other > self || other.is_nan() { other } else { self }
    }
    /// True if the real part is NaN.
    #[inline(always)]
    #[allow(clippy::eq_op)]
    fn is_nan(self) -> bool {
        self != self
    }
    /// True if multiplying by it surely changes nothing. False for a type with tangents.
    #[inline(always)]
    fn is_exactly_one(self) -> bool {
        false
    }
    /// The real part, with tangent zero.
    #[inline(always)]
    fn real_part(self) -> Self {
        Self::from_f64(self.to_f64())
    }
    /// True if the real part is neither infinite nor NaN.
    #[inline(always)]
    fn is_finite(self) -> bool {
        self.to_f64().is_finite()
    }
    /// σ(x) = 1/(1 + e^{−x}), formed from e^{−|x|} so that it overflows nowhere.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        let e = (-self.abs()).exp();
        Self::select(self.is_below(Self::zero()), e, Self::one()) / (Self::one() + e)
    }
    /// ln(1 + e^x) = max(x, 0) + ln(1 + e^{−|x|}).
    #[inline(always)]
    fn softplus(self) -> Self {
        let positive = Self::select(self.is_below(Self::zero()), Self::zero(), self);
        positive + (-self.abs()).exp().ln_1p()
    }
    /// ln(1 − e^x) for x ≤ 0: ln(−expm1 x) above −ln 2, ln1p(−e^x) below (Mächler 2012, eq. 7).
    #[inline(always)]
    fn log1mexp(self) -> Self {
        let is_near_zero = Self::from_f64(-std::f64::consts::LN_2).is_below(self);
        Self::select(is_near_zero, (-self.exp_m1()).ln(), (-self.exp()).ln_1p())
    }
}

/// The comparisons of numbers whose values are known when the formula runs: the answer is a `bool`.
macro_rules! compared_at_once {
    () => {
        type Condition = bool;
        #[inline(always)]
        fn is_below(self, other: Self) -> bool {
            self < other
        }
        #[inline(always)]
        fn is_equal_to(self, other: Self) -> bool {
            self == other
        }
        #[inline(always)]
        fn select(condition: bool, then: Self, otherwise: Self) -> Self {
            if condition { then } else { otherwise }
        }
    };
}
pub(crate) use compared_at_once;

macro_rules! float_methods {
    ($float:ty) => {
        compared_at_once!();
        #[inline(always)]
        fn from_f64(x: f64) -> Self {
            x as $float
        }
        #[inline(always)]
        fn to_f64(self) -> f64 {
            self as f64
        }
        #[inline(always)]
        fn exp_m1(self) -> Self {
            <$float>::exp_m1(self)
        }
        #[inline(always)]
        fn ln(self) -> Self {
            <$float>::ln(self)
        }
        #[inline(always)]
        fn ln_1p(self) -> Self {
            <$float>::ln_1p(self)
        }
        #[inline(always)]
        fn sqrt(self) -> Self {
            <$float>::sqrt(self)
        }
        #[inline(always)]
        fn is_exactly_one(self) -> bool {
            self == 1.0
        }
        #[inline(always)]
        fn powf(self, p: f64) -> Self {
            <$float>::powf(self, p as $float)
        }
    };
}

impl Scalar for f32 {
    const NAME: &'static str = "f32";
    const UNIT_ROUNDOFF: f64 = 1.0 / (1u64 << 24) as f64;
    const VECTORISED: bool = true;
    float_methods!(f32);
    #[inline(always)]
    fn exp(self) -> Self {
        crate::vector_math::exp(self)
    }
    #[inline(always)]
    fn exp_of_term(self) -> Self {
        crate::vector_math::exp_of_term(self)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        crate::vector_math::tanh(self)
    }
    #[inline(always)]
    fn erfc(self) -> Self {
        libm::erfcf(self)
    }
}

impl Scalar for f64 {
    const NAME: &'static str = "f64";
    const UNIT_ROUNDOFF: f64 = 1.0 / (1u64 << 53) as f64;
    float_methods!(f64);
    #[inline(always)]
    fn exp(self) -> Self {
        f64::exp(self)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        f64::tanh(self)
    }
    #[inline(always)]
    fn erfc(self) -> Self {
        libm::erfc(self)
    }
}
