//! Fused row-wise kernels: each row is read once or twice while it is in the cache. The readable twins are the defaults of `Backend`.

use super::array::CpuArray;
use super::reduce::{row_dot, row_max, row_sum};
use super::simd::vectorised;
use crate::scalar::Scalar;
use crate::shape::{rows, with_axis};
use rayon::prelude::*;

/// Elements handled by one task.
const TASK: usize = 1 << 14;

/// `f(row of each input, row of the output)` for every row, in parallel.
fn map_rows<T: Scalar, const K: usize>(inputs: [&CpuArray<T>; K], f: impl Fn([&[T]; K], &mut [T]) + Sync + Copy) -> CpuArray<T> {
    let shape = inputs[0].shape();
    let (_, n) = rows(shape);
    let elements = inputs.map(CpuArray::elements);
    let mut out = T::allocate(elements[0].len());
    if let Some(rows_a_task) = TASK.checked_div(n) {
        let size = rows_a_task.max(1) * n;
        out.par_chunks_mut(size).enumerate().for_each(|(task, chunk)| {
            for (i, row) in chunk.chunks_exact_mut(n).enumerate() {
                let start = task * size + i * n;
                let inputs: [&[T]; K] = std::array::from_fn(|k| &elements[k][start..start + n]);
                vectorised(
                    #[inline(always)]
                    || f(inputs, row),
                );
            }
        });
    }
    CpuArray::from_vec(out, shape)
}

/// One number for each row, [.., 1].
fn fold_rows<T: Scalar>(x: &CpuArray<T>, f: impl Fn(&[T]) -> T + Sync + Copy) -> CpuArray<T> {
    let (count, n) = rows(x.shape());
    let elements = x.elements();
    let mut out = T::allocate(count);
    let size = (TASK / n.max(1)).max(1);
    out.par_chunks_mut(size).enumerate().for_each(|(task, chunk)| {
        for (i, y) in chunk.iter_mut().enumerate() {
            let row = &elements[(task * size + i) * n..][..n];
            *y = vectorised(
                #[inline(always)]
                || f(row),
            );
        }
    });
    CpuArray::from_vec(out, &with_axis(x.shape(), x.shape().len() - 1, 1))
}

/// (m, ln Σ e^{x − m}) of a row with m its maximum; (m, 0) where that is not finite. A difference x − m − ln Σ e^{x − m} taken in this order
/// is accurate even where x and m are large and close.
#[inline(always)]
pub fn row_max_and_log_sum<T: Scalar>(row: &[T]) -> (T, T) {
    let m = row_max(row);
    if !m.is_finite() {
        return (m, T::zero());
    }
    (m, row_sum_of(row, |x| (x - m).exp()).ln())
}

/// ln Σ e^x of a row; its maximum where that is not finite.
#[inline(always)]
pub fn row_logsumexp<T: Scalar>(row: &[T]) -> T {
    let (m, log_sum) = row_max_and_log_sum(row);
    m + log_sum
}

/// Σ f(x) of a row, in blocks that stay in registers and the first-level cache.
#[inline(always)]
pub fn row_sum_of<T: Scalar>(row: &[T], f: impl Fn(T) -> T + Copy) -> T {
    const BLOCK: usize = 256;
    let mut block = [T::zero(); BLOCK];
    let (mut total, mut compensation) = (T::zero(), T::zero());
    for part in row.chunks(BLOCK) {
        for (y, &x) in block.iter_mut().zip(part) {
            *y = f(x);
        }
        let corrected = row_sum(&block[..part.len()]) - compensation;
        let sum = total + corrected;
        compensation = (sum - total) - corrected;
        total = sum;
    }
    total
}

/// Softmax over the last axis.
pub fn softmax<T: Scalar>(x: &CpuArray<T>) -> CpuArray<T> {
    map_rows([x], |[x], y| {
        let (m, log_sum) = row_max_and_log_sum(x);
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = ((x - m) - log_sum).exp());
    })
}

/// The vjp of softmax from its output.
pub fn softmax_vjp<T: Scalar>(y: &CpuArray<T>, cotangent: &CpuArray<T>) -> CpuArray<T> {
    map_rows([y, cotangent], |[y, g], x| {
        let weighted = row_dot(y, g);
        x.iter_mut().zip(y.iter().zip(g)).for_each(|(x, (&y, &g))| *x = y * (g - weighted));
    })
}

/// Log-softmax over the last axis.
pub fn log_softmax<T: Scalar>(x: &CpuArray<T>) -> CpuArray<T> {
    map_rows([x], |[x], y| {
        let (m, log_sum) = row_max_and_log_sum(x);
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - m) - log_sum);
    })
}

/// The vjp of log-softmax from its output.
pub fn log_softmax_vjp<T: Scalar>(y: &CpuArray<T>, cotangent: &CpuArray<T>) -> CpuArray<T> {
    map_rows([y, cotangent], |[y, g], x| {
        let total = row_sum(g);
        x.iter_mut().zip(y.iter().zip(g)).for_each(|(x, (&y, &g))| *x = g - y.exp() * total);
    })
}

/// ln Σ e^x over the last axis.
pub fn logsumexp<T: Scalar>(x: &CpuArray<T>) -> CpuArray<T> {
    fold_rows(x, row_logsumexp)
}

/// x·s and s = 1/√(mean x² + ε).
pub fn rms_norm<T: Scalar>(x: &CpuArray<T>, epsilon: f64) -> (CpuArray<T>, CpuArray<T>) {
    let s = fold_rows(x, |x| T::one() / (row_dot(x, x) / T::from_f64(x.len() as f64) + T::from_f64(epsilon)).sqrt());
    let scaled = super::elementwise::combine([x, &s], x.shape(), |[x, s]| x * s);
    (scaled, s)
}

/// The vjp of [`rms_norm`]: s·(ȳ − y·mean(ȳ∘y)).
pub fn rms_norm_vjp<T: Scalar>(y: &CpuArray<T>, s: &CpuArray<T>, cotangent: &CpuArray<T>) -> CpuArray<T> {
    let unscaled = map_rows([y, cotangent], |[y, g], x| {
        let projection = row_dot(g, y) / T::from_f64(y.len() as f64);
        x.iter_mut().zip(y.iter().zip(g)).for_each(|(x, (&y, &g))| *x = g - y * projection);
    });
    super::elementwise::combine([&unscaled, s], y.shape(), |[x, s]| x * s)
}

/// (x − μ)·s and s = 1/√(σ² + ε).
pub fn layer_norm<T: Scalar>(x: &CpuArray<T>, epsilon: f64) -> (CpuArray<T>, CpuArray<T>) {
    let centred = map_rows([x], |[x], y| {
        let mean = row_sum(x) / T::from_f64(x.len() as f64);
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = x - mean);
    });
    rms_norm(&centred, epsilon)
}

/// The vjp of [`layer_norm`]: s·(ȳ − mean ȳ − y·mean(ȳ∘y)).
pub fn layer_norm_vjp<T: Scalar>(y: &CpuArray<T>, s: &CpuArray<T>, cotangent: &CpuArray<T>) -> CpuArray<T> {
    let unscaled = map_rows([y, cotangent], |[y, g], x| {
        let n = T::from_f64(y.len() as f64);
        let (mean, projection) = (row_sum(g) / n, row_dot(g, y) / n);
        x.iter_mut().zip(y.iter().zip(g)).for_each(|(x, (&y, &g))| *x = g - mean - y * projection);
    });
    super::elementwise::combine([&unscaled, s], y.shape(), |[x, s]| x * s)
}
