//! Formulas over [`Scalar`]: what a backend applies to arrays element by element.
//!
//! A formula is written once and runs on f32, on f64, on dual numbers and, traced, in a CUDA kernel.

use crate::scalar::Scalar;

/// A function of N real variables, applied elementwise with broadcasting.
///
/// A formula that compares should choose with [`Scalar::select`]. An `if` works too, but a GPU's kernel then holds the rest of the formula
/// twice.
pub trait Formula<const N: usize>: Copy + Send + Sync + 'static {
    /// f(x₁, …, x_N).
    fn at<T: Scalar>(self, x: [T; N]) -> T;
}

/// What a function of one variable keeps from its forward pass for its derivative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saves {
    /// The input x.
    Input,
    /// The output y.
    Output,
    /// Nothing: the derivative is a constant.
    Nothing,
}

/// A function of one real variable with its derivative: a [`Formula`] of N = 1 that the tape can record.
pub trait Unary: Copy + Send + Sync + 'static {
    /// The op's name.
    const NAME: &'static str;
    /// What `derivative` is a function of.
    const SAVES: Saves;
    /// y = f(x).
    fn value<T: Scalar>(self, x: T) -> T;
    /// f′, as a function of what is saved (x or y; anything where nothing is saved).
    fn derivative<T: Scalar>(self, saved: T) -> T;
}

impl<F: Unary> Formula<1> for F {
    #[inline(always)]
    fn at<T: Scalar>(self, [x]: [T; 1]) -> T {
        self.value(x)
    }
}

/// The vjp of a function of one variable: f′(saved)·ȳ.
#[derive(Clone, Copy, Debug)]
pub struct Vjp<F>(pub F);

impl<F: Unary> Formula<2> for Vjp<F> {
    #[inline(always)]
    fn at<T: Scalar>(self, [saved, y_bar]: [T; 2]) -> T {
        self.0.derivative(saved) * y_bar
    }
}

/// Declares formulas without parameters, `Name(x, y, …) = expression;`, each a type that implements [`Formula`]. The expression may use
/// `T`, the scalar type.
#[macro_export]
macro_rules! formulas {
    ($($(#[$doc:meta])* $visibility:vis $name:ident($($x:ident),+) = $formula:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        $visibility struct $name;
        impl $crate::formula::Formula<{ [$(stringify!($x)),+].len() }> for $name {
            #[inline(always)]
            fn at<T: $crate::Scalar>(self, [$($x),+]: [T; { [$(stringify!($x)),+].len() }]) -> T {
                $formula
            }
        }
    )*};
}

formulas! {
    /// a + b.
    pub Add(a, b) = a + b;
    /// a − b.
    pub Sub(a, b) = a - b;
    /// a·b.
    pub Mul(a, b) = a * b;
    /// a/b.
    pub Div(a, b) = a / b;
    /// 1 where a = b, else 0.
    pub Equal(a, b) = T::select(a.is_equal_to(b), T::one(), T::zero());
}
