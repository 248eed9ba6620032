//! Dual numbers a + bε with ε² = 0: exact forward-mode differentiation by arithmetic alone.
//!
//! f(a + bε) = f(a) + f′(a)·b·ε, so running any op on duals carries the directional derivative b ↦ Jb beside the value. Duals of duals
//! give second derivatives; duals under the reverse pass give Hessian-vector products.

use crate::scalar::{Scalar, compared_at_once};
use std::cmp::Ordering;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// `real + tangent·ε`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dual<T> {
    /// The value.
    pub real: T,
    /// The derivative of the value in the direction under study.
    pub tangent: T,
}

impl<T: Scalar> Dual<T> {
    /// real + tangent·ε.
    #[inline(always)]
    pub fn new(real: T, tangent: T) -> Self {
        Self { real, tangent }
    }
    /// f(a) + f′(a)·b·ε from the value f(a) and the slope f′(a). A zero tangent stays zero even where the slope is infinite.
    #[inline(always)]
    fn chain(self, value: T, slope: T) -> Self {
        let tangent = if self.tangent == T::zero() { T::zero() } else { slope * self.tangent };
        Self { real: value, tangent }
    }
}

impl<T: Scalar> fmt::Display for Dual<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} + {}ε", self.real, self.tangent)
    }
}
impl<T: Scalar> PartialEq for Dual<T> {
    fn eq(&self, other: &Self) -> bool {
        self.real == other.real
    }
}
impl<T: Scalar> PartialOrd for Dual<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.real.partial_cmp(&other.real)
    }
}
impl<T: Scalar> Add for Dual<T> {
    type Output = Self;
    #[inline(always)]
    fn add(self, o: Self) -> Self {
        Self::new(self.real + o.real, self.tangent + o.tangent)
    }
}
impl<T: Scalar> Sub for Dual<T> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, o: Self) -> Self {
        Self::new(self.real - o.real, self.tangent - o.tangent)
    }
}
impl<T: Scalar> Mul for Dual<T> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, o: Self) -> Self {
        Self::new(self.real * o.real, self.real * o.tangent + self.tangent * o.real)
    }
}
impl<T: Scalar> Div for Dual<T> {
    type Output = Self;
    #[inline(always)]
    fn div(self, o: Self) -> Self {
        let quotient = self.real / o.real;
        Self::new(quotient, (self.tangent - quotient * o.tangent) / o.real)
    }
}
impl<T: Scalar> Neg for Dual<T> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self::new(-self.real, -self.tangent)
    }
}
impl<T: Scalar> AddAssign for Dual<T> {
    #[inline(always)]
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}
impl<T: Scalar> SubAssign for Dual<T> {
    #[inline(always)]
    fn sub_assign(&mut self, o: Self) {
        *self = *self - o;
    }
}
impl<T: Scalar> MulAssign for Dual<T> {
    #[inline(always)]
    fn mul_assign(&mut self, o: Self) {
        *self = *self * o;
    }
}
impl<T: Scalar> Sum for Dual<T> {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::zero(), |a, b| a + b)
    }
}

impl<T: Scalar> Scalar for Dual<T> {
    const NAME: &'static str = "dual";
    const UNIT_ROUNDOFF: f64 = T::UNIT_ROUNDOFF;
    compared_at_once!();

    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        Self::new(T::from_f64(x), T::zero())
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.real.to_f64()
    }
    #[inline(always)]
    fn exp(self) -> Self {
        let y = self.real.exp();
        self.chain(y, y)
    }
    #[inline(always)]
    fn exp_m1(self) -> Self {
        self.chain(self.real.exp_m1(), self.real.exp())
    }
    #[inline(always)]
    fn ln(self) -> Self {
        self.chain(self.real.ln(), T::one() / self.real)
    }
    #[inline(always)]
    fn ln_1p(self) -> Self {
        self.chain(self.real.ln_1p(), T::one() / (T::one() + self.real))
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        let y = self.real.sqrt();
        self.chain(y, T::from_f64(0.5) / y)
    }
    #[inline(always)]
    fn powf(self, p: f64) -> Self {
        self.chain(self.real.powf(p), T::from_f64(p) * self.real.powf(p - 1.0))
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        let y = self.real.tanh();
        self.chain(y, T::one() - y * y)
    }
    #[inline(always)]
    fn erfc(self) -> Self {
        let slope = T::from_f64(-std::f64::consts::FRAC_2_SQRT_PI) * (-(self.real * self.real)).exp();
        self.chain(self.real.erfc(), slope)
    }
}
