//! Causal grouped-query attention in blocks with online softmax: scores exist for one block of queries and keys at a time, blocks above
//! the diagonal are skipped, and the backward pass recomputes them. The readable twin is `ops::attention::reference_forward`.

use super::array::CpuArray;
use super::matmul::Matrix;
use super::reduce::{row_dot, row_max, row_sum};
use super::simd::vectorised;
use crate::backend::precision::Precision;
use crate::ops::attention::Segments;
use crate::scalar::Scalar;
use rayon::prelude::*;

/// Queries and keys of one block of scores.
const QUERIES: usize = 64;
const KEYS: usize = 256;

/// The extents of one call, and a segment's place in it.
struct Layout<'a> {
    heads: usize,
    kv_heads: usize,
    width: usize,
    scale: f64,
    segments: &'a Segments,
    precision: Precision,
}

/// One matrix of a head: rows of `width` elements, `stride` apart.
#[derive(Clone, Copy)]
struct Head<T> {
    start: *mut T,
    stride: usize,
}

impl<T> Head<T> {
    /// # Safety
    /// Row `row` must be inside the array.
    unsafe fn row(self, row: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.start.add(row * self.stride) }
    }
    /// The rows from `row` on, to read.
    ///
    /// # Safety
    /// As [`Head::row`].
    unsafe fn rows(self, row: usize) -> Matrix<T> {
        // SAFETY: the caller's promise.
        Matrix { start: unsafe { self.start.add(row * self.stride) }, strides: (self.stride as isize, 1) }
    }
}

/// A base pointer that may go to other threads; tasks touch disjoint rows of disjoint heads.
#[derive(Clone, Copy)]
struct Base<T>(*mut T);
// SAFETY: tasks write disjoint elements, and read only what no task writes.
unsafe impl<T: Send> Send for Base<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Base<T> {}

impl<T> Base<T> {
    /// The rows of head `head` of `heads`, from token `token` on.
    ///
    /// # Safety
    /// The token and the head must be inside the array.
    unsafe fn head(self, token: usize, heads: usize, head: usize, width: usize) -> Head<T> {
        // SAFETY: the caller's promise.
        Head { start: unsafe { self.0.add((token * heads + head) * width) }, stride: heads * width }
    }
}

/// The blocks of one segment: for each block of queries the range of keys that any of them sees.
struct Blocks {
    queries: usize,
    shift: usize,
    window: usize,
}

impl Blocks {
    /// The first query and the first key of a segment, and its blocks.
    fn of(segments: &Segments, segment: usize) -> (usize, usize, Self) {
        let (q, k) = (segments.queries(segment), segments.keys(segment));
        let window = segments.window().unwrap_or(usize::MAX);
        (q.start, k.start, Self { queries: q.len(), shift: k.len() - q.len(), window })
    }
    /// The number of scores in the largest block.
    fn largest(&self) -> usize {
        QUERIES.min(self.queries) * KEYS.min(self.queries + self.shift)
    }
    /// The keys that query `i` sees.
    fn seen(&self, i: usize) -> (usize, usize) {
        let end = i + self.shift + 1;
        (end.saturating_sub(self.window), end)
    }
    /// (first query, query count, first key, key count) of every block that is not all masked, for one block of queries.
    fn key_blocks(&self, first: usize) -> (usize, impl Iterator<Item = (usize, usize)> + use<>) {
        let count = QUERIES.min(self.queries - first);
        let start = self.seen(first).0 / KEYS * KEYS;
        let end = self.seen(first + count - 1).1;
        (count, (start..end).step_by(KEYS).map(move |k| (k, KEYS.min(end - k))))
    }
    /// The part of a key block that query `i` sees, as indices into the block.
    fn visible(&self, i: usize, first_key: usize, key_count: usize) -> (usize, usize) {
        let (start, end) = self.seen(i);
        (start.saturating_sub(first_key).min(key_count), end.saturating_sub(first_key).min(key_count))
    }
}

/// The output [N, H, D] and the logsumexp of the scores [N, H].
pub fn forward<T: Scalar>(
    precision: Precision,
    (q, k, v): (&CpuArray<T>, &CpuArray<T>, &CpuArray<T>),
    segments: &Segments,
    scale: f64,
) -> (CpuArray<T>, CpuArray<T>) {
    let (n, heads, width) = (q.shape()[0], q.shape()[1], q.shape()[2]);
    let layout = Layout { heads, kv_heads: k.shape()[1], width, scale, segments, precision };
    let (q_elements, k_elements, v_elements) = (q.elements(), k.elements(), v.elements());
    let mut output = T::allocate(n * heads * width);
    let mut logsumexp = T::allocate(n * heads);
    let base = |elements: &[T]| Base(elements.as_ptr().cast_mut());
    let inputs = (base(&q_elements), base(&k_elements), base(&v_elements));
    let outputs = (Base(output.as_mut_ptr()), Base(logsumexp.as_mut_ptr()));
    (0..segments.len() * heads).into_par_iter().with_max_len(1).for_each(|task| {
        // SAFETY: each task writes the rows of its own segment and head.
        unsafe { forward_head(&layout, task / heads, task % heads, inputs, outputs) }
    });
    (CpuArray::from_vec(output, &[n, heads, width]), CpuArray::from_vec(logsumexp, &[n, heads]))
}

/// # Safety
/// The pointers must be those of arrays laid out as `layout` says; nothing else may touch this segment's rows of this head.
unsafe fn forward_head<T: Scalar>(
    layout: &Layout<'_>,
    segment: usize,
    head: usize,
    (q, k, v): (Base<T>, Base<T>, Base<T>),
    (output, logsumexp): (Base<T>, Base<T>),
) {
    let (heads, width, scale) = (layout.heads, layout.width, T::from_f64(layout.scale));
    let kv_head = head * layout.kv_heads / heads;
    let (first_query, first_key, blocks) = Blocks::of(layout.segments, segment);
    let mut scores = T::allocate(blocks.largest());
    // SAFETY: every row that is touched lies in this segment, by the construction of `blocks`.
    unsafe {
        let (q, o) = (q.head(first_query, heads, head, width), output.head(first_query, heads, head, width));
        let (k, v) = (k.head(first_key, layout.kv_heads, kv_head, width), v.head(first_key, layout.kv_heads, kv_head, width));
        for first in (0..blocks.queries).step_by(QUERIES) {
            let (count, key_blocks) = blocks.key_blocks(first);
            let (mut maximum, mut total) = ([T::neg_infinity(); QUERIES], [T::zero(); QUERIES]);
            let mut beta = T::zero();
            for (key, keys) in key_blocks {
                let extents = (count, width, keys);
                T::gemm(layout.precision, extents, q.rows(first), k.rows(key).t(), T::zero(), scores.as_mut_ptr(), keys);
                for i in 0..count {
                    let row = &mut scores[i * keys..(i + 1) * keys];
                    let (from, to) = blocks.visible(first + i, key, keys);
                    let correction = online_softmax_row(row, (from, to), scale, &mut maximum[i], &mut total[i]);
                    if beta != T::zero() {
                        scale_row(std::slice::from_raw_parts_mut(o.row(first + i), width), correction);
                    }
                }
                let (p, extents) = (Matrix::row_major(&scores, keys), (count, keys, width));
                T::gemm(layout.precision, extents, p, v.rows(key), beta, o.row(first), o.stride);
                beta = T::one();
            }
            for i in 0..count {
                scale_row(std::slice::from_raw_parts_mut(o.row(first + i), width), T::one() / total[i]);
                *logsumexp.0.add((first_query + first + i) * heads + head) = maximum[i] + total[i].ln();
            }
        }
    }
    T::recycle(scores);
}

/// The part of a row around what is visible that is whole vectors, so that no loop over it has a remainder: what is masked is computed too, and
/// cleared afterwards.
const LANES: usize = 16;

fn whole_vectors((from, to): (usize, usize), len: usize) -> std::ops::Range<usize> {
    from / LANES * LANES..to.next_multiple_of(LANES).min(len)
}

/// Zero where masked.
fn clear_masked<T: Scalar>(row: &mut [T], (from, to): (usize, usize)) {
    row[..from].fill(T::zero());
    row[to..].fill(T::zero());
}

/// Turns scores into e^{scale·s − m} with m the running maximum, zero where masked; returns the factor for what was summed before.
fn online_softmax_row<T: Scalar>(row: &mut [T], visible: (usize, usize), scale: T, maximum: &mut T, total: &mut T) -> T {
    if visible.0 == visible.1 {
        clear_masked(row, visible);
        return T::one();
    }
    vectorised(
        #[inline(always)]
        || {
            let whole = whole_vectors(visible, row.len());
            row[whole.clone()].iter_mut().for_each(|s| *s *= scale);
            let m = maximum.maximum(row_max(&row[visible.0..visible.1]));
            row[whole.clone()].iter_mut().for_each(|s| *s = (*s - m).exp());
            clear_masked(row, visible);
            let correction = (*maximum - m).exp();
            *total = *total * correction + row_sum(&row[whole]);
            *maximum = m;
            correction
        },
    )
}

fn scale_row<T: Scalar>(row: &mut [T], factor: T) {
    row.iter_mut().for_each(|x| *x *= factor);
}

/// (q̄, k̄, v̄) from the output and the logsumexp of the forward pass.
pub fn vjp<T: Scalar>(
    precision: Precision,
    (q, k, v): (&CpuArray<T>, &CpuArray<T>, &CpuArray<T>),
    (output, logsumexp): (&CpuArray<T>, &CpuArray<T>),
    cotangent: &CpuArray<T>,
    segments: &Segments,
    scale: f64,
) -> (CpuArray<T>, CpuArray<T>, CpuArray<T>) {
    let (heads, width, kv_heads) = (q.shape()[1], q.shape()[2], k.shape()[1]);
    let layout = Layout { heads, kv_heads, width, scale, segments, precision };
    let inputs = [q, k, v, output, logsumexp, cotangent].map(CpuArray::elements);
    let inputs = Inputs {
        q: Base(inputs[0].as_ptr().cast_mut()),
        k: Base(inputs[1].as_ptr().cast_mut()),
        v: Base(inputs[2].as_ptr().cast_mut()),
        output: &inputs[3],
        logsumexp: &inputs[4],
        cotangent: &inputs[5],
    };
    let mut results = [q, k, v].map(|x| {
        let mut data = T::allocate(x.view().len());
        data.fill(T::zero());
        data
    });
    let bases: [Base<T>; 3] = std::array::from_fn(|i| Base(results[i].as_mut_ptr()));
    (0..segments.len() * kv_heads).into_par_iter().with_max_len(1).for_each(|task| {
        // SAFETY: each task writes the rows of its own segment, key head and the query heads that use it.
        unsafe { vjp_kv_head(&layout, task / kv_heads, task % kv_heads, &inputs, bases) }
    });
    let [q_bar, k_bar, v_bar] = results;
    (CpuArray::from_vec(q_bar, q.shape()), CpuArray::from_vec(k_bar, k.shape()), CpuArray::from_vec(v_bar, v.shape()))
}

/// What the backward pass reads.
struct Inputs<'a, T> {
    q: Base<T>,
    k: Base<T>,
    v: Base<T>,
    output: &'a [T],
    logsumexp: &'a [T],
    cotangent: &'a [T],
}

/// # Safety
/// As [`forward_head`], for the rows of this segment in k̄ and v̄ of `kv_head` and in q̄ of the query heads that use it.
unsafe fn vjp_kv_head<T: Scalar>(layout: &Layout<'_>, segment: usize, kv_head: usize, inputs: &Inputs<'_, T>, bars: [Base<T>; 3]) {
    let (heads, width, kv_heads) = (layout.heads, layout.width, layout.kv_heads);
    let (first_query, first_key, blocks) = Blocks::of(layout.segments, segment);
    let group = heads / kv_heads;
    let mut p = T::allocate(blocks.largest());
    let mut p_bar = T::allocate(blocks.largest());
    // SAFETY: every row that is touched lies in this segment, by the construction of `blocks`.
    unsafe {
        let [k, v, k_bar, v_bar] = [inputs.k, inputs.v, bars[1], bars[2]].map(|x| x.head(first_key, kv_heads, kv_head, width));
        for head in kv_head * group..(kv_head + 1) * group {
            let [q, q_bar] = [inputs.q, bars[0]].map(|x| x.head(first_query, heads, head, width));
            let o_bar = Base(inputs.cotangent.as_ptr().cast_mut()).head(first_query, heads, head, width);
            let rows = Rows { q, k, v, o_bar, q_bar, k_bar, v_bar };
            for first in (0..blocks.queries).step_by(QUERIES) {
                let (count, key_blocks) = blocks.key_blocks(first);
                let saved = inputs.saved(layout, first_query + first, count, head);
                for (key, keys) in key_blocks {
                    let visible = |i| blocks.visible(first + i, key, keys);
                    rows.vjp_block(layout, (first, count), (key, keys), (&mut p, &mut p_bar), (&saved, visible));
                }
            }
        }
    }
    T::recycle(p);
    T::recycle(p_bar);
}

/// The matrices of one segment, one query head and its key head.
struct Rows<T> {
    q: Head<T>,
    k: Head<T>,
    v: Head<T>,
    o_bar: Head<T>,
    q_bar: Head<T>,
    k_bar: Head<T>,
    v_bar: Head<T>,
}

impl<T: Scalar> Rows<T> {
    /// Adds what one block of scores, (first query, count) by (first key, count), gives to q̄, k̄ and v̄: with P from the scores again and
    /// P̄ = Ō·Vᵀ turned into S̄, V̄ += Pᵀ·Ō, K̄ += S̄ᵀ·Q and Q̄ += S̄·K.
    ///
    /// # Safety
    /// The blocks must lie inside the matrices, and nothing else may touch their rows of q̄, k̄ and v̄ meanwhile.
    unsafe fn vjp_block(
        &self,
        layout: &Layout<'_>,
        (first, count): (usize, usize),
        (key, keys): (usize, usize),
        (p, p_bar): (&mut [T], &mut [T]),
        (saved, visible): (&[(T, T); QUERIES], impl Fn(usize) -> (usize, usize)),
    ) {
        let (width, precision) = (layout.width, layout.precision);
        // SAFETY: the caller's promise.
        unsafe {
            let (q, o_bar) = (self.q.rows(first), self.o_bar.rows(first));
            let (k, v) = (self.k.rows(key), self.v.rows(key));
            T::gemm(precision, (count, width, keys), q, k.t(), T::zero(), p.as_mut_ptr(), keys);
            T::gemm(precision, (count, width, keys), o_bar, v.t(), T::zero(), p_bar.as_mut_ptr(), keys);
            for (i, &(lse, delta)) in saved.iter().enumerate().take(count) {
                let row = i * keys..(i + 1) * keys;
                score_cotangents((&mut p[row.clone()], &mut p_bar[row]), visible(i), T::from_f64(layout.scale), lse, delta);
            }
            let (p, s_bar) = (Matrix::row_major(p, keys), Matrix::row_major(p_bar, keys));
            T::gemm(precision, (keys, count, width), p.t(), o_bar, T::one(), self.v_bar.row(key), self.v_bar.stride);
            T::gemm(precision, (keys, count, width), s_bar.t(), q, T::one(), self.k_bar.row(key), self.k_bar.stride);
            T::gemm(precision, (count, keys, width), s_bar, k, T::one(), self.q_bar.row(first), self.q_bar.stride);
        }
    }
}

impl<T: Scalar> Inputs<'_, T> {
    /// The logsumexp and δ of each of `count` queries from `query` on, for one head.
    fn saved(&self, layout: &Layout<'_>, query: usize, count: usize, head: usize) -> [(T, T); QUERIES] {
        let of = |query| (self.logsumexp[query * layout.heads + head], self.delta(layout, query, head));
        std::array::from_fn(|i| if i < count { of(query + i) } else { (T::zero(), T::zero()) })
    }
    /// δ = Σ_d ō_d·o_d for one query and head.
    fn delta(&self, layout: &Layout<'_>, query: usize, head: usize) -> T {
        let start = (query * layout.heads + head) * layout.width;
        row_dot(&self.cotangent[start..start + layout.width], &self.output[start..start + layout.width])
    }
}

/// Turns raw scores into p = e^{scale·s − lse} and p̄ into s̄ = scale·p∘(p̄ − δ); both zero where masked.
fn score_cotangents<T: Scalar>((p, p_bar): (&mut [T], &mut [T]), visible: (usize, usize), scale: T, lse: T, delta: T) {
    let whole = whole_vectors(visible, p.len());
    vectorised(
        #[inline(always)]
        || {
            for (p, p_bar) in p[whole.clone()].iter_mut().zip(&mut p_bar[whole]) {
                *p = (*p * scale - lse).exp();
                *p_bar = *p * (*p_bar - delta) * scale;
            }
        },
    );
    clear_masked(p, visible);
    clear_masked(p_bar, visible);
}
