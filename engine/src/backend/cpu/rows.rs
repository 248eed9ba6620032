//! Fused row-wise kernels: each row is read once or twice while it is in the cache. The readable twins are the defaults of [`Rows`].

use super::Cpu;
use super::array::CpuArray;
use super::element::Element;
use super::reduce::{row_dot, row_max, row_sum};
use crate::backend::rows::Rows;
use crate::shape::{rows, with_axis};
use crate::simd::vectorised;
use crate::threads::parallel_loop::InTasks;

/// Elements handled by one task.
const TASK: usize = 1 << 12;

/// Runs `f(row of each input, row of the output)` for every row, in parallel. `f` is marked `#[inline(always)]`, as [`vectorised`] asks.
fn map_rows<T: Element, const K: usize>(inputs: [&CpuArray<T>; K], f: impl Fn([&[T]; K], &mut [T]) + Sync + Copy) -> CpuArray<T> {
    let shape = inputs[0].shape();
    let (_, n) = rows(shape);
    let elements = inputs.map(CpuArray::elements);
    let mut out = T::allocate(elements[0].len());
    if let Some(rows_a_task) = TASK.checked_div(n) {
        let size = rows_a_task.max(1) * n;
        out.chunks_mut(size).enumerate().for_each_task(|(task, chunk)| {
            for (i, row) in chunk.chunks_exact_mut(n).enumerate() {
                let start = task * size + i * n;
                let inputs: [&[T]; K] = std::array::from_fn(|k| &elements[k][start..start + n]);
                vectorised::<T, _>(
                    #[inline(always)]
                    || f(inputs, row),
                );
            }
        });
    }
    CpuArray::from_vec(out, shape)
}

/// Computes one number for each row, [.., 1]. `f` is marked `#[inline(always)]`, as [`vectorised`] asks.
fn fold_rows<T: Element>(x: &CpuArray<T>, f: impl Fn(&[T]) -> T + Sync + Copy) -> CpuArray<T> {
    let (count, n) = rows(x.shape());
    let elements = x.elements();
    let mut out = T::allocate(count);
    let size = (TASK / n.max(1)).max(1);
    out.chunks_mut(size).enumerate().for_each_task(|(task, chunk)| {
        for (i, y) in chunk.iter_mut().enumerate() {
            let row = &elements[(task * size + i) * n..][..n];
            *y = vectorised::<T, _>(
                #[inline(always)]
                || f(row),
            );
        }
    });
    CpuArray::from_vec(out, &with_axis(x.shape(), x.shape().len() - 1, 1))
}

/// Computes (m, ln Σ e^{x − m}) of a row with m its maximum; (m, 0) if m is not finite. A difference x − m − ln Σ e^{x − m} taken in this
/// order is accurate even if x and m are large and close.
#[inline(always)]
pub fn row_max_and_log_sum<T: Element>(row: &[T]) -> (T, T) {
    let m = row_max(row);
    if !m.is_finite() {
        return (m, T::zero());
    }
    (m, row_sum_of(row, |x| (x - m).exp_of_term()).ln())
}

/// Replaces a row x by e^{x − m} with m its maximum. Returns m and Σ e^{x − m}; the sum is 1 if m is not finite.
#[inline(always)]
pub fn row_exponentials<T: Element>(row: &mut [T]) -> (T, T) {
    let m = row_max(row);
    let mut sum = Compensated::default();
    for part in row.chunks_mut(BLOCK) {
        part.iter_mut().for_each(|x| *x = (*x - m).exp_of_term());
        sum.add(row_sum(part));
    }
    (m, if m.is_finite() { sum.total } else { T::one() })
}

/// Computes ln Σ e^x of a row; the maximum if it is not finite.
#[inline(always)]
pub fn row_logsumexp<T: Element>(row: &[T]) -> T {
    let (m, log_sum) = row_max_and_log_sum(row);
    m + log_sum
}

/// Number of elements of a block in which a row is summed. It stays in registers and the L1 cache.
const BLOCK: usize = 256;

/// Computes Σ f(x) of a row, in blocks.
#[inline(always)]
pub fn row_sum_of<T: Element>(row: &[T], f: impl Fn(T) -> T + Copy) -> T {
    let mut block = [T::zero(); BLOCK];
    let mut sum = Compensated::default();
    for part in row.chunks(BLOCK) {
        for (y, &x) in block.iter_mut().zip(part) {
            *y = f(x);
        }
        sum.add(row_sum(&block[..part.len()]));
    }
    sum.total
}

/// A sum that carries the rounding error of its last addition into the next one (Kahan 1965).
#[derive(Default)]
struct Compensated<T> {
    total: T,
    lost: T,
}

impl<T: Element> Compensated<T> {
    #[inline(always)]
    fn add(&mut self, x: T) {
        let corrected = x - self.lost;
        let sum = self.total + corrected;
        self.lost = (sum - self.total) - corrected;
        self.total = sum;
    }
}

/// Computes the softmax over the last axis.
pub fn softmax<T: Element>(x: &CpuArray<T>) -> CpuArray<T> {
    map_rows(
        [x],
        #[inline(always)]
        |[x], y| {
            let (m, log_sum) = row_max_and_log_sum(x);
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = ((x - m) - log_sum).exp());
        },
    )
}

/// Computes the vjp of softmax from its output.
pub fn softmax_vjp<T: Element>(y: &CpuArray<T>, cotangent: &CpuArray<T>) -> CpuArray<T> {
    map_rows(
        [y, cotangent],
        #[inline(always)]
        |[y, g], x| {
            let weighted = row_dot(y, g);
            x.iter_mut().zip(y.iter().zip(g)).for_each(|(x, (&y, &g))| *x = y * (g - weighted));
        },
    )
}

/// Computes the log-softmax over the last axis.
pub fn log_softmax<T: Element>(x: &CpuArray<T>) -> CpuArray<T> {
    map_rows(
        [x],
        #[inline(always)]
        |[x], y| {
            let (m, log_sum) = row_max_and_log_sum(x);
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - m) - log_sum);
        },
    )
}

/// Computes the vjp of log-softmax from its output.
pub fn log_softmax_vjp<T: Element>(y: &CpuArray<T>, cotangent: &CpuArray<T>) -> CpuArray<T> {
    map_rows(
        [y, cotangent],
        #[inline(always)]
        |[y, g], x| {
            let total = row_sum(g);
            x.iter_mut().zip(y.iter().zip(g)).for_each(|(x, (&y, &g))| *x = g - y.exp() * total);
        },
    )
}

/// Computes ln Σ e^x over the last axis.
pub fn logsumexp<T: Element>(x: &CpuArray<T>) -> CpuArray<T> {
    fold_rows(x, row_logsumexp)
}

/// Computes x·s and s = 1/√(mean x² + ε).
pub fn rms_norm<T: Element>(x: &CpuArray<T>, epsilon: f64) -> (CpuArray<T>, CpuArray<T>) {
    let s = fold_rows(
        x,
        #[inline(always)]
        |x| T::one() / (row_dot(x, x) / T::from_f64(x.len() as f64) + T::from_f64(epsilon)).sqrt(),
    );
    let scaled = super::elementwise::combine([x, &s], x.shape(), |[x, s]| x * s);
    (scaled, s)
}

/// Computes the vjp of [`rms_norm`]: s·(ȳ − y·mean(ȳ∘y)).
pub fn rms_norm_vjp<T: Element>(y: &CpuArray<T>, s: &CpuArray<T>, cotangent: &CpuArray<T>) -> CpuArray<T> {
    let unscaled = map_rows(
        [y, cotangent],
        #[inline(always)]
        |[y, g], x| {
            let projection = row_dot(g, y) / T::from_f64(y.len() as f64);
            x.iter_mut().zip(y.iter().zip(g)).for_each(|(x, (&y, &g))| *x = g - y * projection);
        },
    );
    super::elementwise::combine([&unscaled, s], y.shape(), |[x, s]| x * s)
}

/// Computes (x − μ)·s and s = 1/√(σ² + ε).
pub fn layer_norm<T: Element>(x: &CpuArray<T>, epsilon: f64) -> (CpuArray<T>, CpuArray<T>) {
    let centred = map_rows(
        [x],
        #[inline(always)]
        |[x], y| {
            let mean = row_sum(x) / T::from_f64(x.len() as f64);
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = x - mean);
        },
    );
    rms_norm(&centred, epsilon)
}

/// Computes the vjp of [`layer_norm`]: s·(ȳ − mean ȳ − y·mean(ȳ∘y)).
pub fn layer_norm_vjp<T: Element>(y: &CpuArray<T>, s: &CpuArray<T>, cotangent: &CpuArray<T>) -> CpuArray<T> {
    let unscaled = map_rows(
        [y, cotangent],
        #[inline(always)]
        |[y, g], x| {
            let n = T::from_f64(y.len() as f64);
            let (mean, projection) = (row_sum(g) / n, row_dot(g, y) / n);
            x.iter_mut().zip(y.iter().zip(g)).for_each(|(x, (&y, &g))| *x = g - mean - y * projection);
        },
    );
    super::elementwise::combine([&unscaled, s], y.shape(), |[x, s]| x * s)
}

/// Computes (x·s∘gain, s) with s = 1/√(mean x² + ε), visiting each row once.
pub fn scaled_rms_norm<T: Element>(x: &CpuArray<T>, gain: &CpuArray<T>, epsilon: f64) -> (CpuArray<T>, CpuArray<T>) {
    let (count, n) = rows(x.shape());
    let (x_elements, gain) = (x.elements(), gain.elements());
    let (mut y, mut s) = (T::allocate(count * n), T::allocate(count));
    let size = (TASK / n.max(1)).max(1);
    let tasks = y.chunks_mut((size * n).max(1)).zip(s.chunks_mut(size)).zip(x_elements.chunks((size * n).max(1)));
    tasks.for_each_task(|((y, s), x)| {
        vectorised::<T, _>(
            #[inline(always)]
            || {
                for ((y, s), x) in y.chunks_exact_mut(n).zip(s).zip(x.chunks_exact(n)) {
                    *s = T::one() / (row_dot(x, x) / T::from_f64(n as f64) + T::from_f64(epsilon)).sqrt();
                    y.iter_mut().zip(x.iter().zip(&*gain)).for_each(|(y, (&x, &gain))| *y = x * *s * gain);
                }
            },
        )
    });
    (CpuArray::from_vec(y, x.shape()), CpuArray::from_vec(s, &with_axis(x.shape(), x.shape().len() - 1, 1)))
}

/// Computes (s·(ȳ∘gain − x̂·mean(ȳ∘gain∘x̂)), Σ ȳ∘x̂ over the rows), x̂ = x·s. Adds the first to `base` if there is one. Each task sums its
/// own rows, and the tasks' sums are added in order.
pub fn scaled_rms_norm_vjp<T: Element>(
    x: &CpuArray<T>,
    gain: &CpuArray<T>,
    s: &CpuArray<T>,
    cotangent: &CpuArray<T>,
    base: Option<CpuArray<T>>,
) -> (CpuArray<T>, CpuArray<T>) {
    let (count, n) = rows(x.shape());
    let (x_elements, gains, s, g) = (x.elements(), gain.elements(), s.elements(), cotangent.elements());
    let adds = base.is_some();
    let mut x_bar = base.map_or_else(|| T::allocate(count * n), CpuArray::into_owned_elements);
    let size = (TASK / n.max(1)).max(1);
    let mut sums = T::allocate(count.div_ceil(size) * n);
    sums.fill(T::zero());
    let inputs = x_elements.chunks((size * n).max(1)).zip(g.chunks((size * n).max(1))).zip(s.chunks(size));
    let tasks = x_bar.chunks_mut((size * n).max(1)).zip(sums.chunks_mut(n.max(1))).zip(inputs);
    tasks.for_each_task(|((x_bar, sum), ((x, g), s))| {
        let mut scaled = T::allocate(n);
        vectorised::<T, _>(
            #[inline(always)]
            || {
                for (((x_bar, x), g), &s) in x_bar.chunks_exact_mut(n).zip(x.chunks_exact(n)).zip(g.chunks_exact(n)).zip(s) {
                    let along = scaled_rms_norm_row(&mut scaled, x, g, &gains, s, sum);
                    let terms = scaled.iter().zip(x).map(|(&scaled, &x)| (scaled - x * s * along) * s);
                    if adds {
                        x_bar.iter_mut().zip(terms).for_each(|(x_bar, term)| *x_bar += term);
                    } else {
                        x_bar.iter_mut().zip(terms).for_each(|(x_bar, term)| *x_bar = term);
                    }
                }
            },
        );
        T::recycle(scaled);
    });
    let sums = CpuArray::from_vec(sums, &[count.div_ceil(size), n]);
    (CpuArray::from_vec(x_bar, x.shape()), super::reduce::sum(&sums, 0).reshape(&[n]))
}

/// Computes mean(ȳ∘gain∘x̂) of a row, and writes ȳ∘gain to `scaled`; adds ȳ∘x̂ to `sum`.
#[inline(always)]
fn scaled_rms_norm_row<T: Element>(scaled: &mut [T], x: &[T], g: &[T], gain: &[T], s: T, sum: &mut [T]) -> T {
    let n = scaled.len();
    let ([x, g, gain], sum) = ([x, g, gain].map(|row| &row[..n]), &mut sum[..n]);
    for i in 0..n {
        scaled[i] = g[i] * gain[i];
        sum[i] += g[i] * (x[i] * s);
    }
    row_dot(scaled, x) * s / T::from_f64(x.len() as f64)
}

impl<T: Element> Rows for Cpu<T> {
    fn softmax(&self, x: &CpuArray<T>) -> CpuArray<T> {
        softmax(x)
    }
    fn softmax_vjp(&self, y: &CpuArray<T>, cotangent: &CpuArray<T>) -> CpuArray<T> {
        softmax_vjp(y, cotangent)
    }
    fn log_softmax(&self, x: &CpuArray<T>) -> CpuArray<T> {
        log_softmax(x)
    }
    fn log_softmax_vjp(&self, y: &CpuArray<T>, cotangent: &CpuArray<T>) -> CpuArray<T> {
        log_softmax_vjp(y, cotangent)
    }
    fn logsumexp(&self, x: &CpuArray<T>) -> CpuArray<T> {
        logsumexp(x)
    }
    fn layer_norm(&self, x: &CpuArray<T>, epsilon: f64) -> (CpuArray<T>, CpuArray<T>) {
        layer_norm(x, epsilon)
    }
    fn layer_norm_vjp(&self, y: &CpuArray<T>, s: &CpuArray<T>, cotangent: &CpuArray<T>) -> CpuArray<T> {
        layer_norm_vjp(y, s, cotangent)
    }
    fn rms_norm(&self, x: &CpuArray<T>, epsilon: f64) -> (CpuArray<T>, CpuArray<T>) {
        rms_norm(x, epsilon)
    }
    fn rms_norm_vjp(&self, y: &CpuArray<T>, s: &CpuArray<T>, cotangent: &CpuArray<T>) -> CpuArray<T> {
        rms_norm_vjp(y, s, cotangent)
    }
    fn scaled_rms_norm(&self, x: &CpuArray<T>, gain: &CpuArray<T>, epsilon: f64) -> (CpuArray<T>, CpuArray<T>) {
        scaled_rms_norm(x, gain, epsilon)
    }
    fn scaled_rms_norm_vjp(
        &self,
        x: &CpuArray<T>,
        gain: &CpuArray<T>,
        s: &CpuArray<T>,
        cotangent: &CpuArray<T>,
    ) -> (CpuArray<T>, CpuArray<T>) {
        scaled_rms_norm_vjp(x, gain, s, cotangent, None)
    }
    fn scaled_rms_norm_vjp_to(
        &self,
        sum: CpuArray<T>,
        x: &CpuArray<T>,
        gain: &CpuArray<T>,
        s: &CpuArray<T>,
        cotangent: &CpuArray<T>,
    ) -> (CpuArray<T>, CpuArray<T>) {
        scaled_rms_norm_vjp(x, gain, s, cotangent, Some(sum))
    }
}
