//! The CPU: one implementation for every scalar type, vectorised at run time for the processor that is there.
//!
//! Parallel loops are cut into tasks by size, and threads take them one by one ([`crate::threads`]): what a thread has not begun, another can take.

pub mod array;
mod attention;
mod by_rows;
pub mod element;
mod elementwise;
mod gated_mlp;
mod indexing;
mod matmul;
mod optimizer;
pub mod peak;
mod reduce;
mod rope;
mod rows;
mod strided;
pub mod vector_math;
mod vocabulary;

use super::precision::{Precision, PrecisionError};
use super::{AdamwPart, AdamwStep, Backend, Binary, Indices, Unary};
#[cfg(target_arch = "x86_64")]
use crate::gemm::instructions::Instructions;
use crate::ops::attention::Segments;
use crate::ops::rope::Pairing;
use crate::threads::crew;
use array::CpuArray;
use element::Element;
use elementwise::combine;
use std::fmt;
use std::marker::PhantomData;

/// The CPU with elements of type T.
pub struct Cpu<T> {
    precision: Precision,
    elements: PhantomData<T>,
}

impl<T> Cpu<T> {
    /// The CPU, which computes in T throughout.
    pub fn new() -> Self {
        Self { precision: Precision::F32, elements: PhantomData }
    }
}

impl Cpu<f32> {
    /// The CPU with products that round their operands; weights, activations and sums stay in f32.
    ///
    /// # Errors
    /// [`PrecisionError`] where this processor has no instructions for it.
    pub fn with_precision(precision: Precision) -> Result<Self, PrecisionError> {
        match precision {
            Precision::Tf32 => return Err(PrecisionError::Tf32),
            Precision::Bf16 if bf16_instructions().is_none() => return Err(PrecisionError::Bf16),
            Precision::Bf16 | Precision::F32 => {}
        }
        Ok(Self { precision, ..Self::new() })
    }
}

/// The instructions that make large products in f32 from operands in three parts of bfloat16 here, `AMX`; `None` where products are sums of
/// (fused) multiply-adds.
pub fn f32_in_parts() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    return Instructions::for_f32_in_parts().map(Instructions::name);
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// The instructions that multiply in bfloat16 here, `AMX` or `AVX512-BF16`; `None` where there are none.
pub fn bf16_instructions() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    return Instructions::for_bf16().map(Instructions::name);
    #[cfg(not(target_arch = "x86_64"))]
    None
}

impl<T> Default for Cpu<T> {
    fn default() -> Self {
        Self::new()
    }
}
impl<T> Clone for Cpu<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Cpu<T> {}
impl<T: Element> fmt::Debug for Cpu<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cpu<{}>", T::NAME)?;
        if self.precision == Precision::F32 { Ok(()) } else { write!(f, " in {:?}", self.precision) }
    }
}

/// The storage and views that both CPU backends share.
macro_rules! storage_on_cpu {
    () => {
        type Scalar = T;
        type Array = CpuArray<T>;

        fn from_vec(&self, data: Vec<T>, shape: &[usize]) -> CpuArray<T> {
            CpuArray::from_vec(data, shape)
        }
        fn to_vec(&self, x: &CpuArray<T>) -> Vec<T> {
            x.elements().into_owned()
        }
        fn shape<'a>(&self, x: &'a CpuArray<T>) -> &'a [usize] {
            x.shape()
        }
        fn full(&self, value: f64, shape: &[usize]) -> CpuArray<T> {
            CpuArray::full(T::from_f64(value), shape)
        }
        fn reshape(&self, x: &CpuArray<T>, shape: &[usize]) -> CpuArray<T> {
            x.reshape(shape)
        }
        fn permute(&self, x: &CpuArray<T>, axes: &[usize]) -> CpuArray<T> {
            x.permute(axes)
        }
        fn slice(&self, x: &CpuArray<T>, axis: usize, start: usize, end: usize) -> CpuArray<T> {
            x.slice(axis, start, end)
        }
        fn broadcast_to(&self, x: &CpuArray<T>, shape: &[usize]) -> CpuArray<T> {
            x.broadcast_to(shape)
        }
        fn concat(&self, parts: &[&CpuArray<T>], axis: usize) -> CpuArray<T> {
            CpuArray::concat(parts, axis)
        }
    };
}
pub(crate) use storage_on_cpu;

impl<T: Element> Backend for Cpu<T> {
    storage_on_cpu!();

    fn precision(&self) -> Precision {
        self.precision
    }
    fn map<F: Unary>(&self, f: F, x: &CpuArray<T>) -> CpuArray<T> {
        combine(
            [x],
            x.shape(),
            #[inline(always)]
            |[x]| f.value(x),
        )
    }
    fn zip<F: Binary>(&self, f: F, a: &CpuArray<T>, b: &CpuArray<T>) -> CpuArray<T> {
        let shape = crate::shape::broadcast_or_panic("zip", a.shape(), b.shape());
        combine(
            [a, b],
            &shape,
            #[inline(always)]
            |[a, b]| f.value(a, b),
        )
    }
    fn sum(&self, x: &CpuArray<T>, axis: usize) -> CpuArray<T> {
        reduce::sum(x, axis)
    }
    fn max(&self, x: &CpuArray<T>, axis: usize) -> CpuArray<T> {
        reduce::max(x, axis)
    }
    fn matmul(&self, a: &CpuArray<T>, b: &CpuArray<T>) -> CpuArray<T> {
        matmul::matmul(self.precision, a, b)
    }
    fn linears(&self, x: &CpuArray<T>, weights: &[&CpuArray<T>], biases: &[Option<&CpuArray<T>>]) -> Vec<CpuArray<T>> {
        let products = matmul::by_transposed(self.precision, x, weights).into_iter();
        products.zip(biases).map(|(y, bias)| bias.map_or_else(|| y.clone(), |bias| self.zip(super::Add, &y, bias))).collect()
    }
    fn sum_of_products(&self, products: &[(&CpuArray<T>, &CpuArray<T>)]) -> CpuArray<T> {
        matmul::sum_of_products(self.precision, products)
    }
    fn products_of_transposed(&self, a: &[&CpuArray<T>], b: &CpuArray<T>) -> Vec<CpuArray<T>> {
        matmul::of_transposed(self.precision, a, b)
    }
    fn keep_awake<R>(&self, work: impl FnOnce() -> R) -> R {
        crew::keep_awake(work)
    }
    fn gather_rows(&self, table: &CpuArray<T>, rows: &Indices) -> CpuArray<T> {
        indexing::gather_rows(table, rows)
    }
    fn scatter_add_rows(&self, x: &CpuArray<T>, rows: &Indices, row_count: usize) -> CpuArray<T> {
        indexing::scatter_add_rows(x, rows, row_count)
    }
    fn scatter_add_rows_to(&self, sum: CpuArray<T>, x: &CpuArray<T>, rows: &Indices) -> CpuArray<T> {
        indexing::scatter_add_rows_to(sum, x, rows)
    }
    fn gather_last(&self, x: &CpuArray<T>, index: &Indices, k: usize) -> CpuArray<T> {
        indexing::gather_last(x, index, k)
    }
    fn scatter_add_last(&self, x: &CpuArray<T>, index: &Indices, n: usize) -> CpuArray<T> {
        indexing::scatter_add_last(x, index, n)
    }

    fn map_vjp<F: Unary>(&self, f: F, saved: &CpuArray<T>, cotangent: &CpuArray<T>) -> CpuArray<T> {
        combine(
            [saved, cotangent],
            cotangent.shape(),
            #[inline(always)]
            |[saved, g]| f.derivative(saved) * g,
        )
    }
    fn accumulate(&self, x: CpuArray<T>, y: &CpuArray<T>) -> CpuArray<T> {
        elementwise::accumulate(x, y)
    }
    fn scale_by(&self, x: &CpuArray<T>, c: &CpuArray<T>) -> CpuArray<T> {
        if c.elements()[0].is_exactly_one() { x.clone() } else { self.zip(super::Mul, x, c) }
    }
    fn softmax(&self, x: &CpuArray<T>) -> CpuArray<T> {
        rows::softmax(x)
    }
    fn softmax_vjp(&self, y: &CpuArray<T>, cotangent: &CpuArray<T>) -> CpuArray<T> {
        rows::softmax_vjp(y, cotangent)
    }
    fn log_softmax(&self, x: &CpuArray<T>) -> CpuArray<T> {
        rows::log_softmax(x)
    }
    fn log_softmax_vjp(&self, y: &CpuArray<T>, cotangent: &CpuArray<T>) -> CpuArray<T> {
        rows::log_softmax_vjp(y, cotangent)
    }
    fn logsumexp(&self, x: &CpuArray<T>) -> CpuArray<T> {
        rows::logsumexp(x)
    }
    fn layer_norm(&self, x: &CpuArray<T>, epsilon: f64) -> (CpuArray<T>, CpuArray<T>) {
        rows::layer_norm(x, epsilon)
    }
    fn layer_norm_vjp(&self, y: &CpuArray<T>, s: &CpuArray<T>, cotangent: &CpuArray<T>) -> CpuArray<T> {
        rows::layer_norm_vjp(y, s, cotangent)
    }
    fn rms_norm(&self, x: &CpuArray<T>, epsilon: f64) -> (CpuArray<T>, CpuArray<T>) {
        rows::rms_norm(x, epsilon)
    }
    fn rms_norm_vjp(&self, y: &CpuArray<T>, s: &CpuArray<T>, cotangent: &CpuArray<T>) -> CpuArray<T> {
        rows::rms_norm_vjp(y, s, cotangent)
    }
    fn scaled_rms_norm(&self, x: &CpuArray<T>, gain: &CpuArray<T>, epsilon: f64) -> (CpuArray<T>, CpuArray<T>) {
        rows::scaled_rms_norm(x, gain, epsilon)
    }
    fn scaled_rms_norm_vjp(
        &self,
        x: &CpuArray<T>,
        gain: &CpuArray<T>,
        s: &CpuArray<T>,
        cotangent: &CpuArray<T>,
    ) -> (CpuArray<T>, CpuArray<T>) {
        rows::scaled_rms_norm_vjp(x, gain, s, cotangent, None)
    }
    fn scaled_rms_norm_vjp_to(
        &self,
        sum: CpuArray<T>,
        x: &CpuArray<T>,
        gain: &CpuArray<T>,
        s: &CpuArray<T>,
        cotangent: &CpuArray<T>,
    ) -> (CpuArray<T>, CpuArray<T>) {
        rows::scaled_rms_norm_vjp(x, gain, s, cotangent, Some(sum))
    }
    fn rope(&self, x: CpuArray<T>, cos: &CpuArray<T>, sin: &CpuArray<T>, pairing: Pairing) -> CpuArray<T> {
        rope::rope(x, cos, sin, pairing)
    }
    fn attention(&self, q: &CpuArray<T>, k: &CpuArray<T>, v: &CpuArray<T>, segments: &Segments, scale: f64) -> (CpuArray<T>, CpuArray<T>) {
        attention::forward(self.precision, (q, k, v), segments, scale)
    }
    fn attention_vjp(
        &self,
        q: &CpuArray<T>,
        k: &CpuArray<T>,
        v: &CpuArray<T>,
        output: &CpuArray<T>,
        logsumexp: &CpuArray<T>,
        cotangent: &CpuArray<T>,
        segments: &Segments,
        scale: f64,
    ) -> (CpuArray<T>, CpuArray<T>, CpuArray<T>) {
        attention::vjp(self.precision, (q, k, v), (output, logsumexp), cotangent, segments, scale)
    }
    fn swiglu(&self, gate: &CpuArray<T>, up: &CpuArray<T>) -> CpuArray<T> {
        gated_mlp::hidden(gate, up)
    }
    fn swiglu_vjp(&self, gate: &CpuArray<T>, up: &CpuArray<T>, cotangent: &CpuArray<T>) -> (CpuArray<T>, CpuArray<T>) {
        elementwise::combine_two(
            [gate, up, cotangent],
            #[inline(always)]
            |[gate, up, g]| {
                let (gate_bar, up_bar, _) = gated_mlp::swiglu_vjp(gate, up, g);
                (gate_bar, up_bar)
            },
        )
    }
    fn gated_mlp(&self, x: &CpuArray<T>, weights: [&CpuArray<T>; 3], keep: bool) -> (CpuArray<T>, Option<[CpuArray<T>; 2]>) {
        gated_mlp::check(x, weights);
        if by_rows::should_run_by_rows(x.shape()[0], weights.into_iter()) {
            gated_mlp::forward_by_rows(self.precision, x, weights, keep)
        } else {
            super::gated_mlp_by_products(self, x, weights, keep)
        }
    }
    fn gated_mlp_vjp(
        &self,
        x: &CpuArray<T>,
        weights: [&CpuArray<T>; 3],
        saved: &[CpuArray<T>; 2],
        cotangent: &CpuArray<T>,
        needed: [bool; 4],
    ) -> [Option<CpuArray<T>>; 4] {
        gated_mlp::check_vjp(x, weights, saved, cotangent);
        let [x_needed, gate_needed, up_needed, down_needed] = needed;
        let (x_bar, inner) = match needed {
            [false, false, false, _] => (None, None),
            _ if by_rows::should_run_by_rows(x.shape()[0], weights.into_iter()) => {
                let weight_needed = gate_needed || up_needed || down_needed;
                gated_mlp::vjp_by_rows(self.precision, weights, saved, cotangent, (x_needed, weight_needed))
            }
            _ => gated_mlp::vjp_by_products(self.precision, weights, saved, cotangent, x_needed),
        };
        let down_bar = down_needed.then(|| {
            let h = inner.as_ref().map_or_else(|| gated_mlp::hidden(&saved[0], &saved[1]), |[_, _, h]| h.clone());
            matmul::of_transposed(self.precision, &[cotangent], &h).swap_remove(0)
        });
        let [gate_bar, up_bar] =
            inner.map_or([None, None], |[g, u, _]| super::products_of_needed(self, [&g, &u], x, [gate_needed, up_needed]));
        [x_bar, gate_bar, up_bar, down_bar]
    }
    fn linear_log_prob(&self, hidden: &CpuArray<T>, weight: &CpuArray<T>, targets: &Indices, vjp: bool) -> (CpuArray<T>, CpuArray<T>) {
        vocabulary::forward(self.precision, (hidden, weight), targets, vjp)
    }
    fn linear_log_prob_vjp(
        &self,
        hidden: &CpuArray<T>,
        weight: &CpuArray<T>,
        targets: &Indices,
        saved: &CpuArray<T>,
        cotangent: &CpuArray<T>,
    ) -> (CpuArray<T>, CpuArray<T>) {
        vocabulary::vjp(self.precision, (hidden, weight), targets, saved, cotangent)
    }
    fn linear_cross_entropy(&self, hidden: &CpuArray<T>, weight: &CpuArray<T>, targets: &Indices) -> (CpuArray<T>, [CpuArray<T>; 2]) {
        vocabulary::cross_entropy(self.precision, hidden, weight, targets)
    }
    fn sum_of_squares(&self, x: &CpuArray<T>) -> f64 {
        optimizer::sums_of_squares(&[x])[0]
    }
    fn sums_of_squares(&self, arrays: &[&CpuArray<T>]) -> Vec<f64> {
        optimizer::sums_of_squares(arrays)
    }
    fn adamw(
        &self,
        theta: &mut CpuArray<T>,
        m: &mut CpuArray<T>,
        v: &mut CpuArray<T>,
        gradient: &CpuArray<T>,
        step: &AdamwStep,
        control: Option<&CpuArray<T>>,
    ) {
        self.adamw_all(vec![AdamwPart { theta, m, v, gradient, step: *step }], control);
    }
    fn adamw_all(&self, mut parts: Vec<AdamwPart<'_, CpuArray<T>>>, control: Option<&CpuArray<T>>) {
        for part in &mut parts {
            let Some(scale) = self.step_scale(part.step.gradient_scale, control) else { return };
            part.step.gradient_scale = scale;
        }
        optimizer::adamw_all(parts);
    }
}
