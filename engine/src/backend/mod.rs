//! The kernels a device must offer, and the readable default of every kernel that is worth speeding up.
//!
//! The first half of [`Backend`] is primitive: storage, views, elementwise maps, sums, products, indexing. The second half has a default for
//! each kernel, composed of the primitives and written as its formula. A backend overrides a default with a fast version; [`Reference`]
//! overrides nothing, and the tests hold every override to it.
//!
//! [`Reference`]: reference::Reference

pub mod cpu;
pub mod cuda;
pub mod device;
pub mod precision;
pub mod reference;
mod step;

use crate::ops::attention::{self, Segments};
use crate::ops::rope::Pairing;
use crate::sampling::SamplingRule;
use crate::scalar::Scalar;
use precision::Precision;
use std::fmt::Debug;
use std::sync::Arc;

pub use crate::formula::{Add, Div, Equal, Formula, Mul, Saves, Sub, Unary, Vjp};
pub use step::{AdamwPart, AdamwStep, SgdStep, StepDecision};

/// Integer indices (token ids, targets, rows), shared without copying.
pub type Indices = Arc<[u32]>;

/// A device with an element type: the kernels that tensors are made of.
pub trait Backend: Clone + Debug + Send + Sync + 'static {
    /// The element type.
    type Scalar: Scalar;
    /// A strided array on the device; cloning it shares the storage.
    type Array: Clone + Send + Sync + 'static;

    // ---- storage and views ------------------------------------------------------------------------------------------------------

    /// An array of `shape` from its elements in row-major order.
    #[allow(clippy::wrong_self_convention)]
    fn from_vec(&self, data: Vec<Self::Scalar>, shape: &[usize]) -> Self::Array;
    /// The elements in row-major order.
    fn to_vec(&self, x: &Self::Array) -> Vec<Self::Scalar>;
    /// The extents of the axes.
    fn shape<'a>(&self, x: &'a Self::Array) -> &'a [usize];
    /// Every element equal to `value`.
    fn full(&self, value: f64, shape: &[usize]) -> Self::Array;
    /// The same elements in row-major order under another shape; copies only where the strides demand it.
    fn reshape(&self, x: &Self::Array, shape: &[usize]) -> Self::Array;
    /// A view whose axis i is axis `axes[i]` of x.
    fn permute(&self, x: &Self::Array, axes: &[usize]) -> Self::Array;
    /// A view of positions `start..end` of an axis.
    fn slice(&self, x: &Self::Array, axis: usize, start: usize, end: usize) -> Self::Array;
    /// A view of x repeated along axes of extent 1 and new leading axes.
    fn broadcast_to(&self, x: &Self::Array, shape: &[usize]) -> Self::Array;
    /// Arrays laid one after another along an axis.
    fn concat(&self, parts: &[&Self::Array], axis: usize) -> Self::Array;

    /// Runs a step's worth of work, with what may have gone to sleep between its kernels kept awake.
    fn keep_awake<R>(&self, work: impl FnOnce() -> R) -> R {
        work()
    }

    // ---- elementwise ------------------------------------------------------------------------------------------------------------

    /// f(x₁, …, x_N) for every element, with the arrays broadcast to one shape.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    fn elementwise<const N: usize, F: Formula<N>>(&self, f: F, x: [&Self::Array; N]) -> Self::Array;

    /// f(x) for every element.
    fn map<F: Formula<1>>(&self, f: F, x: &Self::Array) -> Self::Array {
        self.elementwise(f, [x])
    }
    /// f(a, b) for every pair, broadcasting.
    fn zip<F: Formula<2>>(&self, f: F, a: &Self::Array, b: &Self::Array) -> Self::Array {
        self.elementwise(f, [a, b])
    }
    /// x̄ = f′(saved)·ȳ.
    fn map_vjp<F: Unary>(&self, f: F, saved: &Self::Array, cotangent: &Self::Array) -> Self::Array {
        self.elementwise(Vjp(f), [saved, cotangent])
    }

    // ---- reductions and products ------------------------------------------------------------------------------------------------

    /// Σ along an axis, which stays with extent 1.
    fn sum(&self, x: &Self::Array, axis: usize) -> Self::Array;
    /// The maximum along an axis, which stays with extent 1; −∞ over nothing.
    fn max(&self, x: &Self::Array, axis: usize) -> Self::Array;
    /// Matrix products over the last two axes, [.., m, k] × [.., k, n] → [.., m, n], with the leading axes broadcast.
    fn matmul(&self, a: &Self::Array, b: &Self::Array) -> Self::Array;

    // ---- indexing ---------------------------------------------------------------------------------------------------------------

    /// Rows of a table: [V, D] at N indices → [N, D].
    fn gather_rows(&self, table: &Self::Array, rows: &Indices) -> Self::Array;
    /// The adjoint of `gather_rows`: y[rows\[n\], :] += x[n, :], into `row_count` rows. Equal rows are added in order of n.
    fn scatter_add_rows(&self, x: &Self::Array, rows: &Indices, row_count: usize) -> Self::Array;
    /// y[r, j] = x[r, index[r·k + j]] along the last axis: [.., n] → [.., k].
    fn gather_last(&self, x: &Self::Array, index: &Indices, k: usize) -> Self::Array;
    /// The adjoint of `gather_last`: y[r, index[r·k + j]] += x[r, j], with `n` entries along the last axis.
    fn scatter_add_last(&self, x: &Self::Array, index: &Indices, n: usize) -> Self::Array;

    // ==== kernels with a reference default =======================================================================================

    /// x + y, free to reuse x's storage.
    fn accumulate(&self, x: Self::Array, y: &Self::Array) -> Self::Array {
        self.zip(Add, &x, y)
    }

    /// x times the one element of c.
    fn scale_by(&self, x: &Self::Array, c: &Self::Array) -> Self::Array {
        self.zip(Mul, x, c)
    }

    /// As [`Backend::matmul`], for sums over many rows such as a weight's gradient: a device that stores activations in fewer bits than its
    /// element type has stores this in full.
    fn matmul_wide(&self, a: &Self::Array, b: &Self::Array) -> Self::Array {
        self.matmul(a, b)
    }

    /// X·Wᵀ + b for X [N, in], W [out, in] and b \[out\].
    fn linear(&self, x: &Self::Array, weight: &Self::Array, bias: &Self::Array) -> Self::Array {
        let product = self.matmul(x, &self.permute(weight, &[1, 0]));
        self.zip(Add, &product, bias)
    }

    /// X·Wᵢᵀ + bᵢ for X [N, in] and each Wᵢ [outᵢ, in] and bᵢ \[outᵢ\], where there is one.
    fn linears(&self, x: &Self::Array, weights: &[&Self::Array], biases: &[Option<&Self::Array>]) -> Vec<Self::Array> {
        let layer = |(weight, bias): (&&Self::Array, &Option<&Self::Array>)| match bias {
            Some(bias) => self.linear(x, weight, bias),
            None => self.matmul(x, &self.permute(weight, &[1, 0])),
        };
        weights.iter().zip(biases).map(layer).collect()
    }

    /// Σ_i Aᵢ·Bᵢ for Aᵢ [N, kᵢ] and Bᵢ [kᵢ, D].
    ///
    /// # Panics
    /// If there are none.
    fn sum_of_products(&self, products: &[(&Self::Array, &Self::Array)]) -> Self::Array {
        let product = |&(a, b): &(&Self::Array, &Self::Array)| self.matmul(a, b);
        let (first, rest) = products.split_first().expect("a sum of at least one product");
        rest.iter().fold(product(first), |sum, next| self.accumulate(sum, &product(next)))
    }

    /// Aᵢᵀ·B for each Aᵢ [N, outᵢ] and B [N, in], as [`Backend::matmul_wide`].
    fn products_of_transposed(&self, a: &[&Self::Array], b: &Self::Array) -> Vec<Self::Array> {
        a.iter().map(|a| self.matmul_wide(&self.permute(a, &[1, 0]), b)).collect()
    }

    /// [`Backend::scatter_add_rows`] on top of `sum`, free to reuse its storage.
    fn scatter_add_rows_to(&self, sum: Self::Array, x: &Self::Array, rows: &Indices) -> Self::Array {
        let row_count = self.shape(&sum)[0];
        self.accumulate(sum, &self.scatter_add_rows(x, rows, row_count))
    }

    /// c·x.
    fn scale(&self, x: &Self::Array, c: f64) -> Self::Array {
        self.map(crate::ops::scale::Scale(c), x)
    }

    /// The adjoint of broadcasting: sums x over the axes along which `shape` was repeated.
    fn sum_to(&self, x: &Self::Array, shape: &[usize]) -> Self::Array {
        let lead = self.shape(x).len() - shape.len();
        let mut x = x.clone();
        for axis in 0..self.shape(&x).len() {
            let repeated = axis < lead || (shape[axis - lead] == 1 && self.shape(&x)[axis] != 1);
            if repeated {
                x = self.sum(&x, axis);
            }
        }
        self.reshape(&x, shape)
    }

    /// Softmax over the last axis: y = e^{x − m}/Σ e^{x − m}, m = max x.
    fn softmax(&self, x: &Self::Array) -> Self::Array {
        self.map(crate::ops::exp::Exp, &self.log_softmax(x))
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
        let shifted = self.zip(Sub, x, &self.map(crate::ops::logsumexp::FiniteOrZero, &self.max(x, last)));
        self.zip(Sub, &shifted, &self.logsumexp(&shifted))
    }
    /// x̄ = ȳ − e^y·Σ ȳ.
    fn log_softmax_vjp(&self, y: &Self::Array, cotangent: &Self::Array) -> Self::Array {
        let total = self.sum(cotangent, self.shape(y).len() - 1);
        let p = self.map(crate::ops::exp::Exp, y);
        self.zip(Sub, cotangent, &self.zip(Mul, &p, &total))
    }

    /// ln Σ e^x over the last axis, which stays with extent 1: m + ln Σ e^{x − m}, m = max x (0 where that is −∞).
    fn logsumexp(&self, x: &Self::Array) -> Self::Array {
        let last = self.shape(x).len() - 1;
        let m = self.map(crate::ops::logsumexp::FiniteOrZero, &self.max(x, last));
        let total = self.sum(&self.map(crate::ops::exp::Exp, &self.zip(Sub, x, &m)), last);
        self.zip(Add, &m, &self.map(crate::ops::ln::Ln, &total))
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
        let s = self.map(crate::ops::rms_norm::InverseRoot(epsilon), &mean_square);
        (self.zip(Mul, x, &s), s)
    }
    /// x̄ = s·(ȳ − y·mean(ȳ∘y)), with y = x·s the normalised value.
    fn rms_norm_vjp(&self, y: &Self::Array, s: &Self::Array, cotangent: &Self::Array) -> Self::Array {
        let last = self.shape(y).len() - 1;
        let n = self.shape(y)[last] as f64;
        let projection = self.scale(&self.sum(&self.zip(Mul, cotangent, y), last), 1.0 / n);
        self.zip(Mul, &self.zip(Sub, cotangent, &self.zip(Mul, y, &projection)), s)
    }

    /// Root-mean-square normalisation with its gain \[D\]: (x·s∘gain, s), with s [.., 1] as in [`Backend::rms_norm`].
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

    /// [`Backend::scaled_rms_norm_vjp`] with x̄ added to `sum`, free to reuse its storage.
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

    /// Rotates pairs of the last axis of x [N, H, D] by angles given as cos and sin [N, R/2]; entries past R stay. It may be done in x's own storage, where
    /// nothing else shares that.
    fn rope(&self, x: Self::Array, cos: &Self::Array, sin: &Self::Array, pairing: Pairing) -> Self::Array {
        crate::ops::rope::reference(self, &x, cos, sin, pairing)
    }

    /// Causal grouped-query attention over packed segments (see [`attention`]): the output [N, H, D] and what the vjp needs.
    fn attention(&self, q: &Self::Array, k: &Self::Array, v: &Self::Array, segments: &Segments, scale: f64) -> (Self::Array, Self::Array) {
        attention::reference_forward(self, q, k, v, segments, scale)
    }
    /// (q̄, k̄, v̄) from the saved output and logsumexp of [`Backend::attention`].
    #[allow(clippy::too_many_arguments)]
    fn attention_vjp(
        &self,
        q: &Self::Array,
        k: &Self::Array,
        v: &Self::Array,
        output: &Self::Array,
        logsumexp: &Self::Array,
        cotangent: &Self::Array,
        segments: &Segments,
        scale: f64,
    ) -> (Self::Array, Self::Array, Self::Array) {
        attention::reference_vjp(self, q, k, v, output, logsumexp, cotangent, segments, scale)
    }

    /// silu(gate)∘up.
    fn swiglu(&self, gate: &Self::Array, up: &Self::Array) -> Self::Array {
        self.zip(Mul, &self.map(crate::ops::silu::Silu, gate), up)
    }
    /// (silu′(gate)∘up∘ȳ, silu(gate)∘ȳ).
    fn swiglu_vjp(&self, gate: &Self::Array, up: &Self::Array, cotangent: &Self::Array) -> (Self::Array, Self::Array) {
        let gate_cotangent = self.map_vjp(crate::ops::silu::Silu, gate, &self.zip(Mul, cotangent, up));
        (gate_cotangent, self.zip(Mul, cotangent, &self.map(crate::ops::silu::Silu, gate)))
    }

    /// The gated feed-forward part for X [N, D] and the weights Wg and Wu [F, D] and Wd [E, F]: Y = (silu(G)∘U)·Wdᵀ with G = X·Wgᵀ and U = X·Wuᵀ,
    /// and G and U where `keep` (the vjp will be asked for).
    fn gated_mlp(&self, x: &Self::Array, weights: [&Self::Array; 3], keep: bool) -> (Self::Array, Option<[Self::Array; 2]>) {
        gated_mlp_by_products(self, x, weights, keep)
    }
    /// The cotangents of X, Wg, Wu and Wd, those that are needed, from what [`Backend::gated_mlp`] kept: with H = silu(G)∘U and H̄ = Ȳ·Wd,
    /// Ḡ = silu′(G)∘U∘H̄ and Ū = silu(G)∘H̄, X̄ = Ḡ·Wg + Ū·Wu, W̄g = Ḡᵀ·X, W̄u = Ūᵀ·X, W̄d = Ȳᵀ·H.
    fn gated_mlp_vjp(
        &self,
        x: &Self::Array,
        weights: [&Self::Array; 3],
        saved: &[Self::Array; 2],
        cotangent: &Self::Array,
        needed: [bool; 4],
    ) -> [Option<Self::Array>; 4] {
        let ([gate, up, down], [g, u], [x_needed, gate_needed, up_needed, down_needed]) = (weights, saved, needed);
        let down_bar = down_needed.then(|| self.products_of_transposed(&[cotangent], &self.swiglu(g, u)).swap_remove(0));
        if !(x_needed || gate_needed || up_needed) {
            return [None, None, None, down_bar];
        }
        let (g_bar, u_bar) = self.swiglu_vjp(g, u, &self.matmul(cotangent, down));
        let x_bar = x_needed.then(|| self.sum_of_products(&[(&g_bar, gate), (&u_bar, up)]));
        let [gate_bar, up_bar] = products_of_needed(self, [&g_bar, &u_bar], x, [gate_needed, up_needed]);
        [x_bar, gate_bar, up_bar, down_bar]
    }

    /// Log-probabilities of given tokens under the vocabulary projection: hidden [N, D], weight [V, D], targets N →
    /// z = hidden·weightᵀ, z[n, target n] − logsumexp z\[n\], \[N\], and what the vjp needs, if there is to be one: here logsumexp z\[n\].
    fn linear_log_prob(&self, hidden: &Self::Array, weight: &Self::Array, targets: &Indices, _vjp: bool) -> (Self::Array, Self::Array) {
        let n = self.shape(hidden)[0];
        let z = self.matmul(hidden, &self.permute(weight, &[1, 0]));
        let log_prob = self.gather_last(&self.log_softmax(&z), targets, 1);
        (self.reshape(&log_prob, &[n]), self.reshape(&self.logsumexp(&z), &[n]))
    }
    /// (hidden̄, weight̄) with z̄ = ȳ∘(onehot(target) − e^{z − logsumexp}), from what [`Backend::linear_log_prob`] saved for it.
    fn linear_log_prob_vjp(
        &self,
        hidden: &Self::Array,
        weight: &Self::Array,
        targets: &Indices,
        saved: &Self::Array,
        cotangent: &Self::Array,
    ) -> (Self::Array, Self::Array) {
        let (n, vocabulary) = (self.shape(hidden)[0], self.shape(weight)[0]);
        let column = |x: &Self::Array| self.reshape(x, &[n, 1]);
        let z = self.matmul(hidden, &self.permute(weight, &[1, 0]));
        let p = self.map(crate::ops::exp::Exp, &self.zip(Sub, &z, &column(saved)));
        let chosen = self.scatter_add_last(&column(cotangent), targets, vocabulary);
        let z_cotangent = self.zip(Sub, &chosen, &self.zip(Mul, &p, &column(cotangent)));
        (self.matmul(&z_cotangent, weight), self.matmul(&self.permute(&z_cotangent, &[1, 0]), hidden))
    }

    /// The sum of −ln softmax(hidden·weightᵀ)[n, target n] over n, [], with its gradients hidden̄ [N, D] and weight̄ [V, D].
    fn linear_cross_entropy(&self, hidden: &Self::Array, weight: &Self::Array, targets: &Indices) -> (Self::Array, [Self::Array; 2]) {
        let n = self.shape(hidden)[0];
        let (log_prob, logsumexp) = self.linear_log_prob(hidden, weight, targets, true);
        let loss = self.reshape(&self.scale(&self.sum(&log_prob, 0), -1.0), &[]);
        let cotangent = self.full(-1.0, &[n]);
        let (hidden_bar, weight_bar) = self.linear_log_prob_vjp(hidden, weight, targets, &logsumexp, &cotangent);
        (loss, [hidden_bar, weight_bar])
    }

    /// One token for each row of logits [R, V], chosen with its uniform number in [0, 1) of R; see [`SamplingRule::choose`].
    fn sample_rows(&self, logits: &Self::Array, rule: &SamplingRule, uniforms: &[f64]) -> Vec<u32> {
        let vocabulary = self.shape(logits)[1];
        let numbers: Vec<f64> = self.to_vec(logits).iter().map(|z| z.to_f64()).collect();
        numbers.chunks_exact(vocabulary).zip(uniforms).map(|(row, &uniform)| rule.choose(row, uniform)).collect()
    }

    /// Σ x², as a host number in f64 arithmetic: for gradient norms.
    fn sum_of_squares(&self, x: &Self::Array) -> f64 {
        self.to_vec(x).iter().map(|v| v.to_f64() * v.to_f64()).sum()
    }

    /// Σ x² of each array: one answer from the device for all of a gradient.
    fn sums_of_squares(&self, arrays: &[&Self::Array]) -> Vec<f64> {
        arrays.iter().map(|x| self.sum_of_squares(x)).collect()
    }

    /// One AdamW step in place (Loshchilov and Hutter 2019, algorithm 2): with g scaled ([`Backend::step_scale`]),
    /// m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², θ ← (1 − ηλ)θ − η·m̂/(√v̂ + ε), m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ).
    ///
    /// # Panics
    /// If the arrays' shapes differ.
    fn adamw(
        &self,
        theta: &mut Self::Array,
        m: &mut Self::Array,
        v: &mut Self::Array,
        gradient: &Self::Array,
        step: &AdamwStep,
        control: Option<&Self::Array>,
    ) {
        let Some(scale) = self.step_scale(step.gradient_scale, control) else { return };
        let power = |beta: f64| 1.0 - beta.powf(step.step as f64);
        let g = self.scale(gradient, scale);
        let mix = |old: &Self::Array, new: &Self::Array, beta: f64| self.zip(Add, &self.scale(old, beta), &self.scale(new, 1.0 - beta));
        *m = mix(m, &g, step.beta1);
        *v = mix(v, &self.zip(Mul, &g, &g), step.beta2);
        let root = self.map(crate::ops::sqrt::Sqrt, &self.scale(v, 1.0 / power(step.beta2)));
        let denominator = self.zip(Add, &root, &self.full(step.epsilon, &[]));
        let update = self.scale(&self.zip(Div, m, &denominator), step.learning_rate / power(step.beta1));
        *theta = self.zip(Sub, &self.scale(theta, 1.0 - step.learning_rate * step.weight_decay), &update);
    }

    /// [`Backend::adamw`] of each of these parameters: where it pays, all at once.
    ///
    /// # Panics
    /// If the shapes of a parameter's arrays differ.
    fn adamw_all(&self, parts: Vec<AdamwPart<'_, Self::Array>>, control: Option<&Self::Array>) {
        for AdamwPart { theta, m, v, gradient, step } in parts {
            self.adamw(theta, m, v, gradient, &step, control);
        }
    }

    /// One step of gradient descent in place: with g scaled ([`Backend::step_scale`]), u ← μu + g, θ ← θ − ηu.
    ///
    /// # Panics
    /// If the arrays' shapes differ.
    fn sgd(
        &self,
        theta: &mut Self::Array,
        velocity: &mut Self::Array,
        gradient: &Self::Array,
        step: &SgdStep,
        control: Option<&Self::Array>,
    ) {
        let Some(scale) = self.step_scale(step.gradient_scale, control) else { return };
        *velocity = self.accumulate(self.scale(velocity, step.momentum), &self.scale(gradient, scale));
        *theta = self.zip(Sub, theta, &self.scale(velocity, step.learning_rate));
    }

    /// What a gradient is multiplied by: `scale`, or what a control ([`Backend::step_control`]) has in its place; `None` where that says that not
    /// all is finite, so that nothing changes. Reads the control: a device with a queue leaves that to its kernels.
    fn step_scale(&self, scale: f64, control: Option<&Self::Array>) -> Option<f64> {
        match control.map(|control| self.step_decision(control)) {
            None => Some(scale),
            Some(decision) => decision.finite.then_some(decision.scale),
        }
    }

    /// How the device rounds the operands of products and stores activations: [`Precision::F32`] where it does neither in another format.
    fn precision(&self) -> Precision {
        Precision::F32
    }
    /// Does the device work behind the host's back, so that reading an array makes the host wait? Then what can be decided there is.
    fn is_queued(&self) -> bool {
        false
    }
    /// The [`StepDecision`] for a step from the sums of micro-batches' losses (one element each), the gradients, what the sums are means over
    /// (above 0), and the largest norm: as an array that only [`Backend::adamw`], [`Backend::sgd`] and
    /// [`Backend::step_decision`] understand.
    fn step_control(&self, losses: &[&Self::Array], gradients: &[&Self::Array], weight: f64, clip: f64) -> Self::Array {
        let loss = losses.iter().map(|loss| self.to_vec(loss)[0].to_f64()).sum();
        let numbers = StepDecision::new(loss, self.sums_of_squares(gradients), weight, clip).numbers();
        let shape = [numbers.len()];
        self.from_vec(numbers.into_iter().map(Self::Scalar::from_f64).collect(), &shape)
    }
    /// What [`Backend::step_control`] came to.
    fn step_decision(&self, control: &Self::Array) -> StepDecision {
        StepDecision::from_numbers(&self.to_vec(control).iter().map(|x| x.to_f64()).collect::<Vec<_>>())
    }
}

/// x summed over its last axis and reshaped without it.
pub(crate) fn sum_last<B: Backend>(backend: &B, x: &B::Array) -> B::Array {
    let shape = backend.shape(x).to_vec();
    let total = backend.sum(x, shape.len() - 1);
    backend.reshape(&total, &shape[..shape.len() - 1])
}

/// Those of [`Backend::products_of_transposed`] that are needed.
fn products_of_needed<B: Backend>(backend: &B, a: [&B::Array; 2], b: &B::Array, needed: [bool; 2]) -> [Option<B::Array>; 2] {
    let wanted: Vec<_> = a.into_iter().zip(needed).filter_map(|(a, needed)| needed.then_some(a)).collect();
    let mut products = backend.products_of_transposed(&wanted, b).into_iter();
    needed.map(|needed| if needed { products.next() } else { None })
}

/// [`Backend::gated_mlp`] product by product.
fn gated_mlp_by_products<B: Backend>(backend: &B, x: &B::Array, weights: [&B::Array; 3], keep: bool) -> (B::Array, Option<[B::Array; 2]>) {
    let [gate, up, down] = weights;
    let projections: [B::Array; 2] =
        backend.linears(x, &[gate, up], &[None, None]).try_into().unwrap_or_else(|_| unreachable!("a value of each layer"));
    let [g, u] = &projections;
    let y = backend.matmul(&backend.swiglu(g, u), &backend.permute(down, &[1, 0]));
    (y, keep.then_some(projections))
}
