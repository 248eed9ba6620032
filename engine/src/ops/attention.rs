//! Causal grouped-query attention over packed segments (Vaswani et al. 2017; Ainslie et al. 2023).
//!
//! forward  S = c·Q·Kᵀ with −∞ where masked, P = softmax S, O = P·V, for each segment and each head; c is the scale
//! vjp      V̄ = Pᵀ·Ō, P̄ = Ō·Vᵀ, S̄ = P∘(P̄ − δ), δᵢ = Σ_d ōᵢ_d oᵢ_d, Q̄ = c·S̄·K, K̄ = c·S̄ᵀ·Q
//!          (saves Q, K, V, O and the logsumexp of each row of S: P is formed again)
//!
//! Query head h uses key head ⌊h·H_kv/H⌋; the cotangents of a shared key head add up. Query i of a segment with q queries and k keys stands
//! at position i + k − q and sees the keys up to that position, or with a window w the last w of those.
#![doc = include_str!("../explain/text/attention.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::backend::{Add, Mul, Sub};
use crate::ops::exp::Exp;
use std::ops::Range;
use std::sync::Arc;

/// The boundaries of the sequences that are packed into one batch, in queries and in keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    queries: Arc<[usize]>,
    keys: Arc<[usize]>,
    window: Option<usize>,
}

impl Segments {
    /// Segments of these lengths that attend to themselves.
    pub fn of_lengths(lengths: &[usize]) -> Self {
        let bounds = bounds(lengths);
        Self { queries: bounds.clone(), keys: bounds, window: None }
    }

    /// Segments with fewer queries than keys, the queries being the last positions: for generation with a cache.
    ///
    /// # Panics
    /// If the lists differ in length or a segment has more queries than keys.
    #[track_caller]
    pub fn of_queries_and_keys(queries: &[usize], keys: &[usize]) -> Self {
        let fits = queries.len() == keys.len() && queries.iter().zip(keys).all(|(q, k)| q <= k);
        assert!(fits, "segments: queries {queries:?} and keys {keys:?}");
        Self { queries: bounds(queries), keys: bounds(keys), window: None }
    }

    /// The same with each query seeing only the last `window` keys, its own position included.
    ///
    /// # Panics
    /// For a window of 0.
    #[track_caller]
    pub fn with_window(mut self, window: Option<usize>) -> Self {
        assert!(window != Some(0), "segments: a window of 0 keys");
        self.window = window;
        self
    }

    /// The number of segments.
    pub fn len(&self) -> usize {
        self.queries.len() - 1
    }
    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The rows of Q that belong to a segment.
    pub fn queries(&self, segment: usize) -> Range<usize> {
        self.queries[segment]..self.queries[segment + 1]
    }
    /// The rows of K and V that belong to a segment.
    pub fn keys(&self, segment: usize) -> Range<usize> {
        self.keys[segment]..self.keys[segment + 1]
    }
    /// The number of keys a query sees, where it is limited.
    pub fn window(&self) -> Option<usize> {
        self.window
    }
    /// The number of rows of Q, and of K and V.
    pub fn totals(&self) -> (usize, usize) {
        (self.queries[self.len()], self.keys[self.len()])
    }

    /// 0 where query i of a segment sees key j, −∞ elsewhere, row-major.
    fn mask<T: Scalar>(&self, segment: usize) -> Vec<T> {
        let (queries, keys) = (self.queries(segment).len(), self.keys(segment).len());
        let sees = |i: usize, j: usize| {
            let position = i + keys - queries;
            j <= position && self.window.is_none_or(|window| j + window > position)
        };
        (0..queries * keys).map(|ij| if sees(ij / keys, ij % keys) { T::zero() } else { T::neg_infinity() }).collect()
    }
}

fn bounds(lengths: &[usize]) -> Arc<[usize]> {
    let ends = lengths.iter().scan(0, |end, length| {
        *end += length;
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}

/// Rows of one segment of x [N, H, D] as [H_kv, G, T, D], with `kv_heads` = H_kv and G = H/H_kv.
fn heads_of<B: Backend>(backend: &B, x: &B::Array, rows: Range<usize>, kv_heads: usize) -> B::Array {
    let (heads, width) = (backend.shape(x)[1], backend.shape(x)[2]);
    let rows_of = backend.permute(&backend.slice(x, 0, rows.start, rows.end), &[1, 0, 2]);
    backend.reshape(&rows_of, &[kv_heads, heads / kv_heads, rows.len(), width])
}

/// The inverse of [`heads_of`] for one segment: [H_kv, G, T, D] → [T, H, D].
fn rows_of<B: Backend>(backend: &B, x: &B::Array) -> B::Array {
    let [kv_heads, group, rows, width] = backend.shape(x).try_into().expect("four axes");
    backend.permute(&backend.reshape(x, &[kv_heads * group, rows, width]), &[1, 0, 2])
}

fn transposed<B: Backend>(backend: &B, x: &B::Array) -> B::Array {
    backend.permute(x, &[0, 1, 3, 2])
}

/// Masked scores of one segment, [H_kv, G, Tq, Tk].
fn scores<B: Backend>(backend: &B, q: &B::Array, k: &B::Array, segments: &Segments, segment: usize, scale: f64) -> B::Array {
    let mask = segments.mask(segment);
    let mask = backend.from_vec(mask, &[segments.queries(segment).len(), segments.keys(segment).len()]);
    backend.zip(Add, &backend.scale(&backend.matmul(q, &transposed(backend, k)), scale), &mask)
}

fn concat_rows<B: Backend>(backend: &B, parts: &[B::Array]) -> B::Array {
    backend.concat(&parts.iter().collect::<Vec<_>>(), 0)
}

/// Attention composed of products and softmax, segment by segment: the definition. Returns (O [N, H, D], logsumexp of S [N, H]).
pub(crate) fn reference_forward<B: Backend>(
    backend: &B,
    q: &B::Array,
    k: &B::Array,
    v: &B::Array,
    segments: &Segments,
    scale: f64,
) -> (B::Array, B::Array) {
    let (heads, kv_heads) = (backend.shape(q)[1], backend.shape(k)[1]);
    let (mut outputs, mut totals) = (Vec::new(), Vec::new());
    for segment in 0..segments.len() {
        let q = heads_of(backend, q, segments.queries(segment), kv_heads);
        let [k, v] = [k, v].map(|x| heads_of(backend, x, segments.keys(segment), kv_heads));
        let s = scores(backend, &q, &k, segments, segment, scale);
        outputs.push(rows_of(backend, &backend.matmul(&backend.softmax(&s), &v)));
        let total = rows_of(backend, &backend.logsumexp(&s));
        totals.push(backend.reshape(&total, &[segments.queries(segment).len(), heads]));
    }
    (concat_rows(backend, &outputs), concat_rows(backend, &totals))
}

/// The vjp composed of products, segment by segment: (Q̄, K̄, V̄).
#[allow(clippy::too_many_arguments)]
pub(crate) fn reference_vjp<B: Backend>(
    backend: &B,
    q: &B::Array,
    k: &B::Array,
    v: &B::Array,
    output: &B::Array,
    logsumexp: &B::Array,
    cotangent: &B::Array,
    segments: &Segments,
    scale: f64,
) -> (B::Array, B::Array, B::Array) {
    let kv_heads = backend.shape(k)[1];
    let delta = crate::backend::sum_last(backend, &backend.zip(Mul, cotangent, output));
    let column = |x: &B::Array| {
        let shape = [backend.shape(x), &[1]].concat();
        backend.reshape(x, &shape)
    };
    let (logsumexp, delta) = (column(logsumexp), column(&delta));
    let mut results: [Vec<B::Array>; 3] = Default::default();
    for segment in 0..segments.len() {
        let of_queries = |x: &B::Array| heads_of(backend, x, segments.queries(segment), kv_heads);
        let of_keys = |x: &B::Array| heads_of(backend, x, segments.keys(segment), kv_heads);
        let (q, k, v, o_bar) = (of_queries(q), of_keys(k), of_keys(v), of_queries(cotangent));
        let s = scores(backend, &q, &k, segments, segment, scale);
        let p = backend.map(Exp, &backend.zip(Sub, &s, &of_queries(&logsumexp)));
        let p_bar = backend.matmul(&o_bar, &transposed(backend, &v));
        let s_bar = backend.scale(&backend.zip(Mul, &p, &backend.zip(Sub, &p_bar, &of_queries(&delta))), scale);
        let over_group = |x: B::Array| rows_of(backend, &backend.sum(&x, 1));
        results[0].push(rows_of(backend, &backend.matmul(&s_bar, &k)));
        results[1].push(over_group(backend.matmul(&transposed(backend, &s_bar), &q)));
        results[2].push(over_group(backend.matmul(&transposed(backend, &p), &o_bar)));
    }
    let [q_bar, k_bar, v_bar] = results.map(|parts| concat_rows(backend, &parts));
    (q_bar, k_bar, v_bar)
}

struct Attention<B: Backend> {
    q: B::Array,
    k: B::Array,
    v: B::Array,
    output: B::Array,
    logsumexp: B::Array,
    segments: Segments,
    scale: f64,
}

impl<B: Backend> Operation<B> for Attention<B> {
    fn name(&self) -> &'static str {
        "attention"
    }
    fn vjp(&self, backend: &B, o_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        let (q, k, v) =
            backend.attention_vjp(&self.q, &self.k, &self.v, &self.output, &self.logsumexp, &o_bar, &self.segments, self.scale);
        vec![Some(q), Some(k), Some(v)]
    }
}

impl<B: Backend> Tensor<B> {
    /// Causal attention of queries [N, H, D] over keys and values [M, H_kv, D], scores multiplied by `scale` (usually 1/√D): [N, H, D].
    ///
    /// # Panics
    /// If a tensor has not three axes, the widths differ, H is no multiple of H_kv, or the segments do not cover N and M.
    #[track_caller]
    pub fn attention(&self, keys: &Self, values: &Self, segments: &Segments, scale: f64) -> Self {
        let (q, k, v) = (self.shape(), keys.shape(), values.shape());
        let fits = q.len() == 3 && k.len() == 3 && k == v && q[2] == k[2] && k[1] > 0 && q[1].is_multiple_of(k[1]);
        assert!(fits, "attention: queries {q:?}, keys {k:?}, values {v:?}");
        assert!(segments.totals() == (q[0], k[0]), "attention: segments of {:?} rows for {} queries and {} keys", segments.totals(), q[0], k[0]);
        let (output, logsumexp) = self.backend.attention(&self.value, &keys.value, &values.value, segments, scale);
        Tensor::record(&self.backend, output.clone(), &[self, keys, values], || Attention {
            q: self.value.clone(),
            k: keys.value.clone(),
            v: values.value.clone(),
            output,
            logsumexp,
            segments: segments.clone(),
            scale,
        })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let lengths: Vec<usize> = (0..1 + draw.below(3)).map(|_| draw.extent()).collect();
    let (kv_heads, group, width) = (1 + draw.below(2), 1 + draw.below(3), draw.extent());
    let extra: Vec<usize> = lengths.iter().map(|_| if draw.coin() { 0 } else { draw.below(3) }).collect();
    let keys: Vec<usize> = lengths.iter().zip(&extra).map(|(q, e)| q + e).collect();
    let window = draw.coin().then(|| 1 + draw.below(4));
    let (n, m) = (lengths.iter().sum(), keys.iter().sum());
    let segments = Segments::of_queries_and_keys(&lengths, &keys).with_window(window);
    let inputs =
        [draw.normal(&[n, kv_heads * group, width]), draw.normal(&[m, kv_heads, width]), draw.normal(&[m, kv_heads, width])];
    let twin = segments.clone();
    Sample::new(function!(|x; segments: Segments| x[0].attention(&x[1], &x[2], segments, 0.7)), inputs)
        .with_twin(function!(|x; twin: Segments| composed(&x[0], &x[1], &x[2], twin, 0.7)))
        .with_inner_magnitude(1.0)
}

/// Attention as a composition of recorded ops, whose gradient the tape derives: what the fused one is held to.
fn composed<B: Backend>(q: &Tensor<B>, k: &Tensor<B>, v: &Tensor<B>, segments: &Segments, scale: f64) -> Tensor<B> {
    let (heads, kv_heads, width) = (q.shape()[1], k.shape()[1], q.shape()[2]);
    let heads_of = |x: &Tensor<B>, rows: Range<usize>| {
        let group = x.shape()[1] / kv_heads;
        x.slice(0, rows.start, rows.end).permute(&[1, 0, 2]).reshape(&[kv_heads, group, rows.len(), width])
    };
    let of_segment = |segment: usize| {
        let (queries, keys) = (segments.queries(segment), segments.keys(segment));
        let mask = Tensor::from_vec(q.backend(), segments.mask(segment), &[queries.len(), keys.len()]);
        let (q, k, v) = (heads_of(q, queries.clone()), heads_of(k, keys.clone()), heads_of(v, keys));
        let weights = q.matmul(&k.t()).scale(scale).add(&mask).softmax();
        weights.matmul(&v).reshape(&[heads, queries.len(), width]).permute(&[1, 0, 2])
    };
    let parts: Vec<Tensor<B>> = (0..segments.len()).map(of_segment).collect();
    Tensor::concat(&parts.iter().collect::<Vec<_>>(), 0)
}
