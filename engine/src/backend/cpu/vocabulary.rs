//! The vocabulary projection with log-softmax, in chunks of rows: logits exist for one chunk at a time, in the forward and the backward
//! pass. There is one exception. In a loss of pairs, for example, the backward pass must wait for the forward pass of other sequences. The
//! logits are then kept for it, if there are not too many. The readable twin is the default of [`Vocabulary`].

use super::Cpu;
use super::array::CpuArray;
use super::element::{Element, product};
use super::rows::{row_exponentials, row_max_and_log_sum};
use crate::backend::core::Indices;
use crate::backend::precision::Precision;
use crate::backend::vocabulary::Vocabulary;
use crate::gemm::matrix::Matrix;
use crate::sampling::SamplingRule;
use crate::simd::vectorised;
use crate::threads::parallel_loop::InTasks;
use std::ops::Range;

/// Approximate number of logits in memory at a time. They make enough rows that reading the weights for each chunk costs little beside the
/// product.
const CHUNK_LOGITS: usize = 1 << 24;
/// Number of rows that are worth more memory if the vocabulary is large: to reach it, a chunk may hold up to twice as many logits.
const WORTHWHILE_ROWS: usize = 512;

/// Largest number of logits that are kept for the backward pass instead of being recomputed: 256 MiB in f32.
const KEPT_LOGITS: usize = 1 << 26;

/// Returns the number of rows of each of the equal chunks that n rows are cut into.
fn rows_a_chunk(n: usize, vocabulary: usize) -> usize {
    let rows_of = |logits: usize| logits / vocabulary.max(1);
    let most = rows_of(CHUNK_LOGITS).max(WORTHWHILE_ROWS.min(rows_of(2 * CHUNK_LOGITS))).clamp(16, 1024);
    n.div_ceil(n.div_ceil(most).max(1)).max(1)
}

/// Returns the number of rows of logits of one task.
fn rows_a_task(vocabulary: usize) -> usize {
    ((1 << 14) / vocabulary.max(1)).max(1)
}

/// The saved values that [`vjp`] needs: the logits, if they are kept, and the logsumexp of each row.
struct Saved<'a, T> {
    logits: Option<&'a [T]>,
    totals: &'a [T],
}

impl<'a, T> Saved<'a, T> {
    fn new(numbers: &'a [T], rows: usize) -> Self {
        let (logits, totals) = numbers.split_at(numbers.len() - rows);
        Self { logits: Some(logits).filter(|logits| !logits.is_empty()), totals }
    }
}

/// Computes (log-probability of each target \[N\], the values that [`vjp`] needs). `vjp` says whether a backward pass follows.
pub fn forward<T: Element>(
    precision: Precision,
    (hidden, weight): (&CpuArray<T>, &CpuArray<T>),
    targets: &[u32],
    vjp: bool,
) -> (CpuArray<T>, CpuArray<T>) {
    let kept = vjp && hidden.shape()[0] * weight.shape()[0] <= KEPT_LOGITS;
    forward_keeping(precision, (hidden, weight), targets, kept)
}

fn forward_keeping<T: Element>(
    precision: Precision,
    (hidden, weight): (&CpuArray<T>, &CpuArray<T>),
    targets: &[u32],
    kept: bool,
) -> (CpuArray<T>, CpuArray<T>) {
    let (n, width, vocabulary) = (hidden.shape()[0], hidden.shape()[1], weight.shape()[0]);
    let (h, w) = (hidden.elements(), weight.elements());
    let chunk = rows_a_chunk(n, vocabulary);
    let kept_logits = if kept { n * vocabulary } else { 0 };
    let (mut log_probs, mut saved) = (T::allocate(n), T::allocate(kept_logits + n));
    let (all_logits, totals) = saved.split_at_mut(kept_logits);
    let mut one_chunk = if kept { Vec::new() } else { T::allocate(chunk.min(n) * vocabulary) };
    for start in (0..n).step_by(chunk) {
        let rows = chunk.min(n - start);
        let z = if kept { &mut all_logits[start * vocabulary..] } else { &mut one_chunk[..] };
        let z = &mut z[..rows * vocabulary];
        logits(precision, &h[start * width..(start + rows) * width], &w, width, z);
        let task = rows_a_task(vocabulary);
        let outputs = log_probs[start..start + rows].chunks_mut(task).zip(totals[start..start + rows].chunks_mut(task));
        let inputs = z.chunks(task * vocabulary).zip(targets[start..start + rows].chunks(task));
        outputs.zip(inputs).for_each_task(|((log_probs, totals), (z, targets))| {
            for (((log_prob, total), z), &target) in log_probs.iter_mut().zip(totals).zip(z.chunks_exact(vocabulary)).zip(targets) {
                let (m, log_sum) = vectorised::<T, _>(
                    #[inline(always)]
                    || row_max_and_log_sum(z),
                );
                *total = m + log_sum;
                *log_prob = (z[target as usize] - m) - log_sum;
            }
        });
    }
    T::recycle(one_chunk);
    let saved_len = saved.len();
    (CpuArray::from_vec(log_probs, &[n]), CpuArray::from_vec(saved, &[saved_len]))
}

/// Computes z = hidden·weightᵀ for a chunk of rows.
fn logits<T: Element>(precision: Precision, hidden: &[T], weight: &[T], width: usize, z: &mut [T]) {
    let (rows, vocabulary) = (hidden.len() / width, weight.len() / width);
    let (hidden, weight) = (Matrix::row_major(hidden, width), Matrix::row_major(weight, width));
    // SAFETY: both matrices are whole slices, the precision is the backend's.
    unsafe { product(precision, (rows, width, vocabulary), hidden, weight.t(), T::zero(), z) };
}

/// Computes −Σ log-probabilities and its (hidden̄, weight̄) in one sweep: each chunk's logits become their cotangents in place.
pub fn cross_entropy<T: Element>(
    precision: Precision,
    hidden: &CpuArray<T>,
    weight: &CpuArray<T>,
    targets: &[u32],
) -> (CpuArray<T>, [CpuArray<T>; 2]) {
    let n = hidden.shape()[0];
    let mut losses = T::allocate(n);
    let gradients = sweep(precision, (hidden, weight), true, |range, z| {
        let vocabulary = weight.shape()[0];
        let task = rows_a_task(vocabulary);
        let outputs = z.chunks_mut(task * vocabulary).zip(losses[range.clone()].chunks_mut(task));
        outputs.zip(targets[range].chunks(task)).for_each_task(|((z, losses), targets)| {
            for ((z, loss), &target) in z.chunks_exact_mut(vocabulary).zip(losses).zip(targets) {
                let chosen = z[target as usize];
                let (m, sum) = vectorised::<T, _>(
                    #[inline(always)]
                    || {
                        let (m, sum) = row_exponentials(z);
                        let of_sum = T::one() / sum;
                        z.iter_mut().for_each(|z| *z *= of_sum);
                        (m, sum)
                    },
                );
                z[target as usize] -= T::one();
                *loss = sum.ln() - (chosen - m);
            }
        });
    });
    let total = super::reduce::sum(&CpuArray::from_vec(losses, &[n]), 0);
    (total.reshape(&[]), gradients)
}

/// Computes (hidden̄, weight̄).
pub fn vjp<T: Element>(
    precision: Precision,
    (hidden, weight): (&CpuArray<T>, &CpuArray<T>),
    targets: &[u32],
    saved: &CpuArray<T>,
    cotangent: &CpuArray<T>,
) -> (CpuArray<T>, CpuArray<T>) {
    let vocabulary = weight.shape()[0];
    let (saved, g) = (saved.elements(), cotangent.elements());
    let saved = Saved::new(&saved, hidden.shape()[0]);
    let [hidden, weight] = sweep(precision, (hidden, weight), saved.logits.is_none(), |range, z| {
        let rows_a_task = rows_a_task(vocabulary);
        z.chunks_mut(rows_a_task * vocabulary).enumerate().for_each_task(|(task, z)| {
            for (row, z) in (range.start + task * rows_a_task..).zip(z.chunks_exact_mut(vocabulary)) {
                let (total, g, kept) = (saved.totals[row], g[row], saved.logits.map(|logits| &logits[row * vocabulary..][..vocabulary]));
                vectorised::<T, _>(
                    #[inline(always)]
                    || match kept {
                        Some(kept) => z.iter_mut().zip(kept).for_each(|(z, &kept)| *z = -(kept - total).exp_of_term() * g),
                        None => z.iter_mut().for_each(|z| *z = -(*z - total).exp_of_term() * g),
                    },
                );
                z[targets[row] as usize] += g;
            }
        });
    });
    (hidden, weight)
}

/// Computes z̄·weight and z̄ᵀ·hidden. `cotangents` replaces the logits z of a chunk of rows by z̄ in place. If `forms_logits` is false, it
/// gets no logits and writes z̄.
fn sweep<T: Element>(
    precision: Precision,
    (hidden, weight): (&CpuArray<T>, &CpuArray<T>),
    forms_logits: bool,
    mut cotangents: impl FnMut(Range<usize>, &mut [T]),
) -> [CpuArray<T>; 2] {
    let (n, width, vocabulary) = (hidden.shape()[0], hidden.shape()[1], weight.shape()[0]);
    let (h, w) = (hidden.elements(), weight.elements());
    let (mut h_bar, mut w_bar) = (T::allocate(n * width), T::allocate(vocabulary * width));
    if n == 0 {
        w_bar.fill(T::zero());
    }
    let chunk = rows_a_chunk(n, vocabulary);
    let mut z = T::allocate(chunk.min(n) * vocabulary);
    for start in (0..n).step_by(chunk) {
        let range = start..(start + chunk).min(n);
        let rows = range.len();
        let z = &mut z[..rows * vocabulary];
        let h = &h[start * width..(start + rows) * width];
        if forms_logits {
            logits(precision, h, &w, width, z);
        }
        cotangents(range, z);
        let z_bar = Matrix::row_major(z, vocabulary);
        let h_bar = &mut h_bar[start * width..(start + rows) * width];
        let beta = if start == 0 { T::zero() } else { T::one() };
        // SAFETY: the matrices are whole slices with the extents given, the precision is the backend's.
        unsafe {
            product(precision, (rows, vocabulary, width), z_bar, Matrix::row_major(&w, width), T::zero(), h_bar);
            product(precision, (vocabulary, rows, width), z_bar.t(), Matrix::row_major(h, width), beta, &mut w_bar);
        }
    }
    T::recycle(z);
    [CpuArray::from_vec(h_bar, &[n, width]), CpuArray::from_vec(w_bar, &[vocabulary, width])]
}

impl<T: Element> Vocabulary for Cpu<T> {
    fn linear_log_prob(&self, hidden: &CpuArray<T>, weight: &CpuArray<T>, targets: &Indices, vjp: bool) -> (CpuArray<T>, CpuArray<T>) {
        forward(self.precision, (hidden, weight), targets, vjp)
    }
    fn linear_log_prob_vjp(
        &self,
        hidden: &CpuArray<T>,
        weight: &CpuArray<T>,
        targets: &Indices,
        saved: &CpuArray<T>,
        cotangent: &CpuArray<T>,
    ) -> (CpuArray<T>, CpuArray<T>) {
        vjp(self.precision, (hidden, weight), targets, saved, cotangent)
    }
    fn linear_cross_entropy(&self, hidden: &CpuArray<T>, weight: &CpuArray<T>, targets: &Indices) -> (CpuArray<T>, [CpuArray<T>; 2]) {
        cross_entropy(self.precision, hidden, weight, targets)
    }
    fn sample_rows(&self, logits: &CpuArray<T>, rule: &SamplingRule, uniforms: &[f64]) -> Vec<u32> {
        let (elements, vocabulary) = (logits.elements(), logits.shape()[1]);
        let mut tokens = vec![0; uniforms.len()];
        let rows = tokens.iter_mut().zip(elements.chunks_exact(vocabulary).zip(uniforms));
        rows.for_each_task(|(token, (row, &uniform))| *token = rule.choose(row, uniform));
        tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_that_are_kept_give_the_bits_of_logits_that_are_formed_again() {
        let mut generator = crate::Generator::new(3);
        let mut draw =
            |shape: [usize; 2]| CpuArray::from_vec((0..shape[0] * shape[1]).map(|_| generator.normal() as f32).collect(), &shape);
        let (n, width, vocabulary) = (300, 20, 140_000);
        let (hidden, weight) = (draw([n, width]), draw([vocabulary, width]));
        let cotangent = draw([n, 1]).reshape(&[n]);
        let targets: Vec<u32> = (0..n as u32).map(|i| i * 97).collect();
        assert!(rows_a_chunk(n, vocabulary) < n, "there are several chunks");
        let gradients = [true, false].map(|kept| {
            let (log_probs, saved) = forward_keeping(Precision::F32, (&hidden, &weight), &targets, kept);
            let (hidden_bar, weight_bar) = vjp(Precision::F32, (&hidden, &weight), &targets, &saved, &cotangent);
            assert_eq!(saved.shape()[0], if kept { n * (vocabulary + 1) } else { n });
            [log_probs, hidden_bar, weight_bar].map(|x| x.elements().into_owned())
        });
        assert!(gradients[0] == gradients[1]);
    }

    #[test]
    fn chunks_are_equal_and_hold_about_as_many_logits_as_they_may() {
        let cases = [(2048, 512, 1024), (1024, 32_000, 512), (1000, 32_000, 500), (512, 50_304, 512), (512, 151_936, 171), (3, 1 << 30, 3)];
        for (n, vocabulary, rows) in cases {
            assert_eq!(rows_a_chunk(n, vocabulary), rows, "{n} rows of {vocabulary}");
        }
    }
}
