//! Sums and complements of probabilities, on their logarithms, for numbers and as ops.

use engine::backend::{Mul, Saves, Unary};
use engine::tape::Operation;
use engine::{Backend, Scalar, Tensor, formulas};

/// ln(e^a + e^b); −∞ where both are.
#[inline]
pub fn logaddexp<T: Scalar>(a: T, b: T) -> T {
    let is_less = a.is_below(b);
    let (high, low) = (T::select(is_less, b, a), T::select(is_less, a, b));
    let is_finite = high.abs().is_below(T::from_f64(f64::INFINITY));
    T::select(is_finite, high + (low - high).exp().ln_1p(), high)
}

/// e^p − e^q as a product, which is ∞ or −∞ where the larger term overflows, not ∞ − ∞.
#[inline]
pub(crate) fn exp_difference<T: Scalar>(p: T, q: T) -> T {
    let is_less = p.is_below(q);
    let (high, low) = (T::select(is_less, q, p), T::select(is_less, p, q));
    let size = -(low - high).exp_m1() * high.exp();
    T::select(is_less, -size, size)
}

/// w·x, with 0·(±∞) = 0: the convention 0·ln 0 = 0 of cross-entropy.
#[inline]
pub(crate) fn times_log<T: Scalar>(w: T, x: T) -> T {
    T::select(w.is_equal_to(T::zero()), T::zero(), w * x)
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
    let u = T::from_f64(T::UNIT_ROUNDOFF);
    T::select((-u).is_below(s), (s - s.real_part()) - u, s)
}

/// ln(1 − e^x), with x brought down to −u: the op that compositions use for ln π_o. Its slope −e^x/(1 − e^x) is formed from logarithms,
/// which keeps its own slope finite where e^{−x} overflows.
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
