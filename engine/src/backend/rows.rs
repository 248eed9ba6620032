//! Kernels over the last axis: softmax and its relatives, normalisation.

use super::core::Core;
use crate::formula::{Add, Mul, Sub};
use crate::functions::{Exp, FiniteOrZero, InverseRoot, Ln};

/// Row-wise kernels, each with its formula as default.
pub trait Rows: Core {
    /// Softmax over the last axis: y = e^{x − m}/Σ e^{x − m}, m = max x.
    fn softmax(&self, x: &Self::Array) -> Self::Array {
        self.map(Exp, &self.log_softmax(x))
    }

    /// x̄ = y∘(ȳ − Σ ȳ∘y).
    fn softmax_vjp(&self, y: &Self::Array, cotangent: &Self::Array) -> Self::Array {
        let last = self.shape(y).len() - 1;
        let weighted = self.sum(&self.zip(Mul, cotangent, y), last);
        self.zip(Mul, y, &self.zip(Sub, cotangent, &weighted))
    }

    /// ln softmax over the last axis: y = (x − m) − logsumexp(x − m), m = max x, which loses nothing where x and m are large and close.
    fn log_softmax(&self, x: &Self::Array) -> Self::Array {
        let last = self.shape(x).len() - 1;
        let shifted = self.zip(Sub, x, &self.map(FiniteOrZero, &self.max(x, last)));
        self.zip(Sub, &shifted, &self.logsumexp(&shifted))
    }

    /// x̄ = ȳ − e^y·Σ ȳ.
    fn log_softmax_vjp(&self, y: &Self::Array, cotangent: &Self::Array) -> Self::Array {
        let total = self.sum(cotangent, self.shape(y).len() - 1);
        let p = self.map(Exp, y);
        self.zip(Sub, cotangent, &self.zip(Mul, &p, &total))
    }

    /// ln Σ e^x over the last axis, which stays with extent 1: m + ln Σ e^{x − m}, m = max x (0 where that is −∞).
    fn logsumexp(&self, x: &Self::Array) -> Self::Array {
        let last = self.shape(x).len() - 1;
        let m = self.map(FiniteOrZero, &self.max(x, last));
        let total = self.sum(&self.map(Exp, &self.zip(Sub, x, &m)), last);
        self.zip(Add, &m, &self.map(Ln, &total))
    }

    /// Layer normalisation over the last axis without its gain and bias: (x − μ)/√(σ² + ε). Also returns 1/√(σ² + ε), [.., 1].
    fn layer_norm(&self, x: &Self::Array, epsilon: f64) -> (Self::Array, Self::Array) {
        let last = self.shape(x).len() - 1;
        let n = self.shape(x)[last] as f64;
        let centred = self.zip(Sub, x, &self.scale(&self.sum(x, last), 1.0 / n));
        self.rms_norm(&centred, epsilon)
    }

    /// x̄ = s·(ȳ − mean ȳ − ŷ·mean(ȳ∘ŷ)), where ŷ is the normalised value and s = 1/√(σ² + ε).
    fn layer_norm_vjp(&self, y: &Self::Array, s: &Self::Array, cotangent: &Self::Array) -> Self::Array {
        let last = self.shape(y).len() - 1;
        let n = self.shape(y)[last] as f64;
        let x = self.rms_norm_vjp(y, s, cotangent);
        self.zip(Sub, &x, &self.scale(&self.sum(&x, last), 1.0 / n))
    }

    /// Root-mean-square normalisation over the last axis without its gain: x·s, s = 1/√(mean x² + ε). Also returns s, [.., 1].
    fn rms_norm(&self, x: &Self::Array, epsilon: f64) -> (Self::Array, Self::Array) {
        let last = self.shape(x).len() - 1;
        let n = self.shape(x)[last] as f64;
        let mean_square = self.scale(&self.sum(&self.zip(Mul, x, x), last), 1.0 / n);
        let s = self.map(InverseRoot(epsilon), &mean_square);
        (self.zip(Mul, x, &s), s)
    }

    /// x̄ = s·(ȳ − y·mean(ȳ∘y)), with y = x·s the normalised value.
    fn rms_norm_vjp(&self, y: &Self::Array, s: &Self::Array, cotangent: &Self::Array) -> Self::Array {
        let last = self.shape(y).len() - 1;
        let n = self.shape(y)[last] as f64;
        let projection = self.scale(&self.sum(&self.zip(Mul, cotangent, y), last), 1.0 / n);
        self.zip(Mul, &self.zip(Sub, cotangent, &self.zip(Mul, y, &projection)), s)
    }

    /// Root-mean-square normalisation with its gain \[D\]: (x·s∘gain, s), with s [.., 1] as in [`Rows::rms_norm`].
    fn scaled_rms_norm(&self, x: &Self::Array, gain: &Self::Array, epsilon: f64) -> (Self::Array, Self::Array) {
        let (y, s) = self.rms_norm(x, epsilon);
        (self.zip(Mul, &y, gain), s)
    }

    /// (x̄, gain̄) = (s·(ȳ∘gain − x̂·mean(ȳ∘gain∘x̂)), Σ ȳ∘x̂ over the rows), with x̂ = x·s.
    fn scaled_rms_norm_vjp(
        &self,
        x: &Self::Array,
        gain: &Self::Array,
        s: &Self::Array,
        cotangent: &Self::Array,
    ) -> (Self::Array, Self::Array) {
        let y = self.zip(Mul, x, s);
        let gain_bar = self.sum_to(&self.zip(Mul, cotangent, &y), self.shape(gain));
        (self.rms_norm_vjp(&y, s, &self.zip(Mul, cotangent, gain)), gain_bar)
    }

    /// [`Rows::scaled_rms_norm_vjp`] with x̄ added to `sum`, free to reuse its storage.
    fn scaled_rms_norm_vjp_to(
        &self,
        sum: Self::Array,
        x: &Self::Array,
        gain: &Self::Array,
        s: &Self::Array,
        cotangent: &Self::Array,
    ) -> (Self::Array, Self::Array) {
        let (x_bar, gain_bar) = self.scaled_rms_norm_vjp(x, gain, s, cotangent);
        (self.accumulate(sum, &x_bar), gain_bar)
    }
}
