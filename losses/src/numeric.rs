//! Sums and complements of probabilities, on their logarithms, for numbers and as ops.

use engine::backend::{Mul, Saves, Unary};
use engine::tape::Operation;
use engine::{Backend, Scalar, Tensor};

/// Functions of two numbers that are applied to arrays elementwise: `Name(a, b) = formula;`.
macro_rules! formulas {
    ($($(#[$doc:meta])* $name:ident($a:ident, $b:ident) = $formula:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        struct $name;
        impl engine::backend::Binary for $name {
            #[inline(always)]
            fn value<T: engine::Scalar>(self, $a: T, $b: T) -> T { $formula }
        }
    )*};
}
pub(crate) use formulas;

/// What is made of numbers on `backend`: in the one pass over them that the host makes, or, on a device with a queue, which that would make the
/// host wait for, by a composition of ops.
pub(crate) fn where_they_are<B: Backend, R>(backend: &B, on_host: impl FnOnce() -> R, composed: impl FnOnce() -> R) -> R {
    if backend.is_queued() { composed() } else { on_host() }
}

/// ln(e^a + e^b); −∞ where both are.
#[inline]
pub fn logaddexp<T: Scalar>(a: T, b: T) -> T {
    let (high, low) = if a < b { (b, a) } else { (a, b) };
    if !high.is_finite() {
        return high;
    }
    high + (low - high).exp().ln_1p()
}

/// w·x, with 0·(±∞) = 0: the convention 0·ln 0 = 0 of cross-entropy.
#[inline]
pub(crate) fn times_log<T: Scalar>(w: T, x: T) -> T {
    if w == T::zero() { T::zero() } else { w * x }
}

formulas! {
    /// w·x with 0·(±∞) = 0.
    TimesLog(w, x) = times_log(w, x);
}

struct TimesConstant<B: Backend> {
    w: B::Array,
}

impl<B: Backend> Operation<B> for TimesConstant<B> {
    fn name(&self) -> &'static str {
        "times_log"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        vec![Some(backend.zip(Mul, &self.w, &y_bar))]
    }
}

/// [`times_log`] of each pair of elements of two tensors of one shape, the first a constant: x̄ = w·ȳ.
pub(crate) fn times_log_of<B: Backend>(w: &Tensor<B>, x: &Tensor<B>) -> Tensor<B> {
    let backend = x.backend();
    let value = backend.zip(TimesLog, w.array(), x.array());
    Tensor::record(backend, value, &[x], || TimesConstant::<B> { w: w.array().clone() })
}

/// The logarithm s of a probability, brought down to −u (u the unit round-off) where it is above.
///
/// Log-probabilities that come out of a softmax carry an absolute error of about u, so a complement 1 − e^s below u is noise, and a mass
/// above 1 is rounding. The slope is kept, so that the gradient still pushes back from there.
#[inline]
pub(crate) fn below_one<T: Scalar>(s: T) -> T {
    if s > T::from_f64(-T::UNIT_ROUNDOFF) { (s - s.real_part()) - T::from_f64(T::UNIT_ROUNDOFF) } else { s }
}

/// ln(1 − e^x), with x brought down to −u: the op that compositions use for ln π_o. Its slope −e^x/(1 − e^x) is formed from logarithms, which
/// keeps its own slope finite where e^{−x} overflows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogComplement;

impl Unary for LogComplement {
    const NAME: &'static str = "log_complement";
    const SAVES: Saves = Saves::Input;
    #[inline(always)]
    fn value<T: Scalar>(self, x: T) -> T {
        below_one(x).log1mexp()
    }
    #[inline(always)]
    fn derivative<T: Scalar>(self, x: T) -> T {
        let x = below_one(x);
        -(x - x.log1mexp()).exp()
    }
}
