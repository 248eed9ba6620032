//! Causal grouped-query attention in blocks with online softmax. Scores exist for one block of queries and keys at a time, and blocks above
//! the diagonal are skipped. The backward pass recomputes the scores. The readable twin is the default of [`Attention`].
//!
//! A block of scores is a matrix [keys, queries]. The maximum, the sum and the correction factor of each query are computed for one vector
//! of queries at a time. So no sum goes across a vector.

use super::Cpu;
use super::array::CpuArray;
use super::element::Element;
use super::reduce::row_dot;
use crate::backend::attention::Attention;
use crate::backend::precision::Precision;
use crate::gemm::matrix::{Matrix, MatrixMut};
use crate::rotary::Pairing;
use crate::segments::Segments;
use crate::simd::vectorised;
use crate::threads::parallel_loop::{InTasks, run_tasks};
use std::ops::Range;

/// Number of queries and of keys of one block of scores.
const QUERIES: usize = 32;
const KEYS: usize = 256;
/// Number of elements of a gradient that a task sets to zero.
const CLEARED: usize = 1 << 15;
/// Number of queries whose scores are computed together.
const LANES: usize = 16;

/// The extents and settings of one call.
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
    /// Multiplies the rows from `row` on, of `width` elements, by a factor each.
    ///
    /// # Safety
    /// As [`Head::row`]; nothing else may touch the rows during the call.
    unsafe fn scale_rows(self, row: usize, width: usize, factors: &[T])
    where
        T: Element,
    {
        vectorised::<T, _>(
            #[inline(always)]
            || {
                for (i, &factor) in factors.iter().enumerate() {
                    // SAFETY: the caller's promise.
                    for x in unsafe { std::slice::from_raw_parts_mut(self.row(row + i), width) } {
                        *x *= factor;
                    }
                }
            },
        );
    }
    /// Returns the rows from `row` on, for reading.
    ///
    /// # Safety
    /// As [`Head::row`].
    unsafe fn rows(self, row: usize) -> Matrix<T> {
        // SAFETY: the caller's promise.
        Matrix { start: unsafe { self.start.add(row * self.stride) }, strides: (self.stride as isize, 1) }
    }
    /// Returns the rows from `row` on as an output of products.
    ///
    /// # Safety
    /// The row must be inside the array.
    unsafe fn rows_mut(self, row: usize) -> MatrixMut<T> {
        // SAFETY: the caller's promise.
        MatrixMut { start: unsafe { self.start.add(row * self.stride) }, row_stride: self.stride }
    }
}

/// A base pointer that may be sent to other threads; tasks touch disjoint rows of disjoint heads.
#[derive(Clone, Copy)]
struct Base<T>(*mut T);
// SAFETY: tasks write disjoint elements, and read only what no task writes.
unsafe impl<T: Send> Send for Base<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Base<T> {}

impl<T> Base<T> {
    /// Returns the rows of head `head` of `heads`, from token `token` on.
    ///
    /// # Safety
    /// The token and the head must be inside the array.
    unsafe fn head(self, token: usize, heads: usize, head: usize, width: usize) -> Head<T> {
        // SAFETY: the caller's promise.
        Head { start: unsafe { self.0.add((token * heads + head) * width) }, stride: heads * width }
    }
}

/// The blocks of one segment: for each block of queries, the range of keys that any of its queries sees.
struct Blocks {
    queries: usize,
    shift: usize,
    window: usize,
}

impl Blocks {
    /// Returns the first query and the first key of a segment, and its blocks.
    fn of(segments: &Segments, segment: usize) -> (usize, usize, Self) {
        let (q, k) = (segments.queries(segment), segments.keys(segment));
        let window = segments.window().unwrap_or(usize::MAX);
        (q.start, k.start, Self { queries: q.len(), shift: k.len() - q.len(), window })
    }
    /// Returns the number of scores in the largest block.
    fn largest(&self) -> usize {
        row_length(QUERIES.min(self.queries)) * KEYS.min(self.queries + self.shift)
    }
    /// Returns the range of keys that query `i` sees.
    fn seen(&self, i: usize) -> (usize, usize) {
        let end = i + self.shift + 1;
        (end.saturating_sub(self.window), end)
    }
    /// Returns the number of queries in the block that begins at query `first`. Also returns (first key, key count) of every block of keys
    /// that any of these queries sees.
    fn key_blocks(&self, first: usize) -> (usize, impl Iterator<Item = (usize, usize)> + use<>) {
        let count = QUERIES.min(self.queries - first);
        let start = self.seen(first).0 / KEYS * KEYS;
        let end = self.seen(first + count - 1).1;
        (count, (start..end).step_by(KEYS).map(move |k| (k, KEYS.min(end - k))))
    }
}

/// Returns the length of a row of scores: the queries of one key, padded to whole vectors. The padding holds unspecified values.
fn row_length(queries: usize) -> usize {
    queries.next_multiple_of(LANES)
}

/// One block of scores [keys, queries].
struct Block<'a> {
    blocks: &'a Blocks,
    first_query: usize,
    queries: usize,
    first_key: usize,
    keys: usize,
}

impl Block<'_> {
    /// Returns the number of scores in the row of one key.
    fn row_length(&self) -> usize {
        row_length(self.queries)
    }
    /// Returns two ranges of keys in the block for the vector of queries that begins at `lane`: the keys that any of them sees, and those
    /// that all see.
    #[inline(always)]
    fn keys_seen(&self, lane: usize) -> (Range<usize>, Range<usize>) {
        let last = (lane + LANES).min(self.queries) - 1;
        let [first, last] = [lane, last].map(|query| self.blocks.seen(self.first_query + query));
        let within = |key: usize| key.saturating_sub(self.first_key).min(self.keys);
        let any = within(first.0)..within(last.1);
        let all = within(last.0)..within(first.1);
        (any, all.start..all.end.max(all.start))
    }
    /// Returns the lanes of the vector that begins at `lane` whose queries see a key of the block.
    #[inline(always)]
    fn lanes_seeing(&self, key: usize, lane: usize) -> Range<u32> {
        let key = self.first_key + key;
        let first = self.first_query + lane + self.blocks.shift;
        let within = |query: usize| query.saturating_sub(first).min(LANES) as u32;
        within(key)..within(key.saturating_add(self.blocks.window))
    }
    /// Runs `f(place, lanes)` for each key that any query of the vector beginning at `lane` sees. `place` is the index of the vector's
    /// scores for that key, and `lanes` are the queries that see it.
    #[inline(always)]
    fn for_each_key(&self, lane: usize, mut f: impl FnMut(usize, Range<u32>)) {
        let ((any, all), length) = (self.keys_seen(lane), self.row_length());
        for key in any.start..all.start {
            f(key * length + lane, self.lanes_seeing(key, lane));
        }
        for key in all.clone() {
            f(key * length + lane, 0..LANES as u32);
        }
        for key in all.end..any.end {
            f(key * length + lane, self.lanes_seeing(key, lane));
        }
    }
    /// Writes zeros for the keys that no query of a vector sees.
    #[inline(always)]
    fn clear_unseen<T: Element, const N: usize>(&self, lane: usize, matrices: [&mut [T]; N]) {
        let ((any, _), length) = (self.keys_seen(lane), self.row_length());
        for matrix in matrices {
            for key in (0..any.start).chain(any.end..self.keys) {
                matrix[key * length + lane..][..LANES].fill(T::zero());
            }
        }
    }
}

/// Returns the scores of a vector of queries, which begin at `place`.
#[inline(always)]
fn vector<T>(scores: &mut [T], place: usize) -> &mut [T; LANES] {
    scores[place..].first_chunk_mut().expect("rows of whole vectors")
}

/// Computes the output [N, H, D] and the logsumexp of the scores [N, H].
pub fn forward<T: Element>(
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
    run_tasks(segments.len() * heads, &|task| {
        // SAFETY: each task writes the rows of its own segment and head.
        unsafe { forward_head(&layout, task / heads, task % heads, inputs, outputs) }
    });
    (CpuArray::from_vec(output, &[n, heads, width]), CpuArray::from_vec(logsumexp, &[n, heads]))
}

/// # Safety
/// The pointers must belong to arrays laid out as `layout` says; nothing else may touch this segment's rows of this head.
unsafe fn forward_head<T: Element>(
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
            let (queries, key_blocks) = blocks.key_blocks(first);
            let mut online = Online { maximum: [T::neg_infinity(); QUERIES], total: [T::zero(); QUERIES] };
            let mut beta = T::zero();
            for (first_key, keys) in key_blocks {
                let block = Block { blocks: &blocks, first_query: first, queries, first_key, keys };
                let row_length = block.row_length();
                let extents = (keys, width, queries);
                T::gemm(
                    layout.precision,
                    extents,
                    k.rows(first_key),
                    q.rows(first).t(),
                    T::zero(),
                    MatrixMut::row_major(&mut scores, row_length),
                );
                let corrections = online.softmax(&block, &mut scores, scale);
                if beta != T::zero() {
                    o.scale_rows(first, width, &corrections[..queries]);
                }
                let p = Matrix::row_major(&scores, row_length).t();
                T::gemm(layout.precision, (queries, keys, width), p, v.rows(first_key), beta, o.rows_mut(first));
                beta = T::one();
            }
            let (logsumexps, inverses) = online.ends();
            o.scale_rows(first, width, &inverses[..queries]);
            for (i, &logsumexp_of) in logsumexps[..queries].iter().enumerate() {
                *logsumexp.0.add((first_query + first + i) * heads + head) = logsumexp_of;
            }
        }
    }
    T::recycle(scores);
}

/// True if the query of a lane is among those in `lanes`.
#[inline(always)]
fn sees(lanes: &Range<u32>, lane: usize) -> bool {
    (lane as u32 >= lanes.start) & ((lane as u32) < lanes.end)
}

/// Running statistics of each query: the maximum m of the scores so far, times the scale, and Σ e^{scale·s − m}.
struct Online<T> {
    maximum: [T; QUERIES],
    total: [T; QUERIES],
}

impl<T: Element> Online<T> {
    /// Replaces a block's scores by e^{scale·s − m}, zero where masked. Returns each query's factor for its earlier sums.
    fn softmax(&mut self, block: &Block<'_>, scores: &mut [T], scale: T) -> [T; QUERIES] {
        let mut corrections = [T::one(); QUERIES];
        for lane in (0..block.queries).step_by(LANES) {
            vectorised::<T, _>(
                #[inline(always)]
                || {
                    let [maximum, total] =
                        [&mut self.maximum, &mut self.total].map(|x| x[lane..].first_chunk_mut::<LANES>().expect("a vector"));
                    let corrections = corrections[lane..].first_chunk_mut::<LANES>().expect("a vector");
                    softmax_of_vector(block, scores, scale, lane, [maximum, total, corrections]);
                },
            );
        }
        corrections
    }

    /// Returns the logsumexp of each query's scores, and 1/Σ e^{scale·s − m}.
    fn ends(&self) -> ([T; QUERIES], [T; QUERIES]) {
        let (mut logsumexps, mut inverses) = ([T::zero(); QUERIES], [T::zero(); QUERIES]);
        for (i, &total) in self.total.iter().enumerate() {
            logsumexps[i] = self.maximum[i] + total.ln();
            inverses[i] = T::one() / total;
        }
        (logsumexps, inverses)
    }
}

/// Computes [`Online::softmax`] for the queries of one vector.
#[inline(always)]
fn softmax_of_vector<T: Element>(
    block: &Block<'_>,
    scores: &mut [T],
    scale: T,
    lane: usize,
    [maximum, total, corrections]: [&mut [T; LANES]; 3],
) {
    let (mut m, mut sum) = (*maximum, [T::zero(); LANES]);
    block.for_each_key(
        lane,
        #[inline(always)]
        |place, seeing| raise(&mut m, vector(scores, place), scale, &seeing),
    );
    block.for_each_key(
        lane,
        #[inline(always)]
        |place, seeing| {
            let scores = vector(scores, place);
            exponentials(scores, &m, scale, &seeing);
            add(&mut sum, scores);
        },
    );
    block.clear_unseen(lane, [scores]);
    for l in 0..LANES {
        // If no key has been seen yet, both are −∞.
        let correction = (maximum[l] - m[l]).exp();
        corrections[l] = if maximum[l] == m[l] { T::one() } else { correction };
    }
    for l in 0..LANES {
        total[l] = total[l] * corrections[l] + sum[l];
    }
    *maximum = m;
}

/// m ← max(m, scale·s) where s is seen. A NaN score does not become the maximum, but its exponential makes the results NaN.
#[inline(always)]
fn raise<T: Element>(m: &mut [T; LANES], scores: &[T; LANES], scale: T, seeing: &Range<u32>) {
    let mut seen = [T::neg_infinity(); LANES];
    for l in 0..LANES {
        seen[l] = if sees(seeing, l) { scores[l] * scale } else { T::neg_infinity() };
    }
    for l in 0..LANES {
        m[l] = if seen[l] > m[l] { seen[l] } else { m[l] };
    }
}

/// s ← e^{scale·s − m} where it is seen, else 0.
#[inline(always)]
fn exponentials<T: Element>(scores: &mut [T; LANES], m: &[T; LANES], scale: T, seeing: &Range<u32>) {
    for l in 0..LANES {
        let p = (scores[l] * scale - m[l]).exp_of_term();
        scores[l] = if sees(seeing, l) { p } else { T::zero() };
    }
}

#[inline(always)]
fn add<T: Element>(sum: &mut [T; LANES], x: &[T; LANES]) {
    for l in 0..LANES {
        sum[l] += x[l];
    }
}

/// Computes (q̄, k̄, v̄) from the output and the logsumexp of the forward pass.
pub fn vjp<T: Element>(
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
        data.chunks_mut(CLEARED).for_each_task(|part| part.fill(T::zero()));
        data
    });
    let bases: [Base<T>; 3] = std::array::from_fn(|i| Base(results[i].as_mut_ptr()));
    run_tasks(segments.len() * kv_heads, &|task| {
        // SAFETY: each task writes the rows of its own segment, key head and the query heads that use it.
        unsafe { vjp_kv_head(&layout, task / kv_heads, task % kv_heads, &inputs, bases) }
    });
    let [q_bar, k_bar, v_bar] = results;
    (CpuArray::from_vec(q_bar, q.shape()), CpuArray::from_vec(k_bar, k.shape()), CpuArray::from_vec(v_bar, v.shape()))
}

/// The inputs of the backward pass.
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
unsafe fn vjp_kv_head<T: Element>(layout: &Layout<'_>, segment: usize, kv_head: usize, inputs: &Inputs<'_, T>, bars: [Base<T>; 3]) {
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
                let (queries, key_blocks) = blocks.key_blocks(first);
                let saved = inputs.saved(layout, first_query + first, queries, head);
                for (first_key, keys) in key_blocks {
                    let block = Block { blocks: &blocks, first_query: first, queries, first_key, keys };
                    rows.vjp_block(layout, &block, (&mut p, &mut p_bar), &saved);
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

impl<T: Element> Rows<T> {
    /// Adds the contribution of one block of scores to q̄, k̄ and v̄. Recomputes Pᵀ from the scores and turns P̄ᵀ = V·Ōᵀ into S̄ᵀ. Then V̄
    /// += Pᵀ·Ō, K̄ += S̄ᵀ·Q and Q̄ += S̄·K.
    ///
    /// # Safety
    /// The block must be inside the matrices, and nothing else may touch its rows of q̄, k̄ and v̄ during the call.
    unsafe fn vjp_block(&self, layout: &Layout<'_>, block: &Block<'_>, (p, p_bar): (&mut [T], &mut [T]), saved: &Saved<T>) {
        let (width, precision, row_length) = (layout.width, layout.precision, block.row_length());
        let &Block { first_query: first, queries, first_key: key, keys, .. } = block;
        // SAFETY: the caller's promise.
        unsafe {
            let (q, o_bar) = (self.q.rows(first), self.o_bar.rows(first));
            let (k, v) = (self.k.rows(key), self.v.rows(key));
            T::gemm(precision, (keys, width, queries), k, q.t(), T::zero(), MatrixMut::row_major(p, row_length));
            T::gemm(precision, (keys, width, queries), v, o_bar.t(), T::zero(), MatrixMut::row_major(p_bar, row_length));
            score_cotangents(block, (p, p_bar), T::from_f64(layout.scale), saved);
            let (p, s_bar) = (Matrix::row_major(p, row_length), Matrix::row_major(p_bar, row_length));
            T::gemm(precision, (keys, queries, width), p, o_bar, T::one(), self.v_bar.rows_mut(key));
            T::gemm(precision, (keys, queries, width), s_bar, q, T::one(), self.k_bar.rows_mut(key));
            T::gemm(precision, (queries, keys, width), s_bar.t(), k, T::one(), self.q_bar.rows_mut(first));
        }
    }
}

/// Values of each query of a block that come from the forward pass.
struct Saved<T> {
    logsumexp: [T; QUERIES],
    /// δ = Σ_d ō_d·o_d.
    delta: [T; QUERIES],
}

impl<T: Element> Inputs<'_, T> {
    /// Collects the values of `count` queries from `query` on, for one head.
    fn saved(&self, layout: &Layout<'_>, query: usize, count: usize, head: usize) -> Saved<T> {
        let mut saved = Saved { logsumexp: [T::zero(); QUERIES], delta: [T::zero(); QUERIES] };
        vectorised::<T, _>(
            #[inline(always)]
            || {
                for i in 0..count {
                    saved.logsumexp[i] = self.logsumexp[(query + i) * layout.heads + head];
                    saved.delta[i] = self.delta(layout, query + i, head);
                }
            },
        );
        saved
    }
    /// Computes δ = Σ_d ō_d·o_d for one query and head.
    #[inline(always)]
    fn delta(&self, layout: &Layout<'_>, query: usize, head: usize) -> T {
        let start = (query * layout.heads + head) * layout.width;
        row_dot(&self.cotangent[start..start + layout.width], &self.output[start..start + layout.width])
    }
}

/// Replaces raw scores by p = e^{scale·s − lse} and p̄ by s̄ = scale·p∘(p̄ − δ); both are zero where masked.
fn score_cotangents<T: Element>(block: &Block<'_>, (p, p_bar): (&mut [T], &mut [T]), scale: T, saved: &Saved<T>) {
    for lane in (0..block.queries).step_by(LANES) {
        vectorised::<T, _>(
            #[inline(always)]
            || {
                let [lse, delta] = [&saved.logsumexp, &saved.delta].map(|x| x[lane..].first_chunk::<LANES>().expect("a vector"));
                block.for_each_key(
                    lane,
                    #[inline(always)]
                    |place, seeing| cotangents_of_vector([vector(p, place), vector(p_bar, place)], [lse, delta], scale, &seeing),
                );
                block.clear_unseen(lane, [&mut *p, &mut *p_bar]);
            },
        );
    }
}

/// Computes [`score_cotangents`] of one key for one vector of queries.
#[inline(always)]
fn cotangents_of_vector<T: Element>([p, p_bar]: [&mut [T; LANES]; 2], [lse, delta]: [&[T; LANES]; 2], scale: T, seeing: &Range<u32>) {
    for l in 0..LANES {
        let p_of_query = (p[l] * scale - lse[l]).exp_of_term();
        let s_bar = p_of_query * (p_bar[l] - delta[l]) * scale;
        p[l] = if sees(seeing, l) { p_of_query } else { T::zero() };
        p_bar[l] = if sees(seeing, l) { s_bar } else { T::zero() };
    }
}

impl<T: Element> Attention for Cpu<T> {
    fn rope(&self, x: CpuArray<T>, cos: &CpuArray<T>, sin: &CpuArray<T>, pairing: Pairing) -> CpuArray<T> {
        super::rope::rope(x, cos, sin, pairing)
    }
    fn attention(&self, q: &CpuArray<T>, k: &CpuArray<T>, v: &CpuArray<T>, segments: &Segments, scale: f64) -> (CpuArray<T>, CpuArray<T>) {
        forward(self.precision, (q, k, v), segments, scale)
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
        vjp(self.precision, (q, k, v), (output, logsumexp), cotangent, segments, scale)
    }
}
