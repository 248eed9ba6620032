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
use crate::segments::Segments;
use std::ops::Range;

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
    let mut m = 0;
    let mut place = |keys: &usize| {
        let start = m;
        m += keys + if draw.coin() { 0 } else { draw.below(3) };
        start..start + keys
    };
    let places: Vec<Range<usize>> = keys.iter().map(&mut place).collect();
    let n = lengths.iter().sum();
    let segments = Segments::of_queries_and_places(&lengths, &places, m).with_window(window);
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
