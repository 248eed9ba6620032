//! Attention and the rotation of its queries and keys, with their definitions.

use super::core::Core;
use super::products::Products;
use super::rows::Rows;
use crate::formula::{Add, Mul, Sub};
use crate::functions::Exp;
use crate::rotary::Pairing;
use crate::segments::Segments;
use crate::shape::with_axis;
use std::ops::Range;

/// Attention's kernels, each with its definition as default.
pub trait Attention: Products + Rows {
    /// Rotates pairs of the last axis of x [N, H, D] by angles given as cos and sin [N, R/2]; entries past R stay. It may be done in x's
    /// own storage, where nothing else shares that.
    fn rope(&self, x: Self::Array, cos: &Self::Array, sin: &Self::Array, pairing: Pairing) -> Self::Array {
        rotated(self, &x, cos, sin, pairing)
    }

    /// Causal grouped-query attention over packed segments (see [`ops::attention`](crate::ops::attention)): the output [N, H, D] and what
    /// the vjp needs.
    fn attention(&self, q: &Self::Array, k: &Self::Array, v: &Self::Array, segments: &Segments, scale: f64) -> (Self::Array, Self::Array) {
        composed(self, q, k, v, segments, scale)
    }

    /// (q̄, k̄, v̄) from the saved output and logsumexp of [`Attention::attention`].
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
        composed_vjp(self, q, k, v, output, logsumexp, cotangent, segments, scale)
    }
}

/// Rotation composed of slices, products and sums: the definition.
fn rotated<B: Core>(backend: &B, x: &B::Array, cos: &B::Array, sin: &B::Array, pairing: Pairing) -> B::Array {
    let (n, heads, width) = (backend.shape(x)[0], backend.shape(x)[1], backend.shape(x)[2]);
    let half = backend.shape(cos)[1];
    let rotated = backend.slice(x, 2, 0, 2 * half);
    let (pair_shape, pair_axis) = match pairing {
        Pairing::Adjacent => ([n, heads, half, 2], 3),
        Pairing::RotateHalf => ([n, heads, 2, half], 2),
    };
    let pairs = backend.reshape(&rotated, &pair_shape);
    let part = |i: usize| backend.reshape(&backend.slice(&pairs, pair_axis, i, i + 1), &[n, heads, half]);
    let (a, b) = (part(0), part(1));
    let (cos, sin) = (backend.reshape(cos, &[n, 1, half]), backend.reshape(sin, &[n, 1, half]));
    let product = |x: &B::Array, y: &B::Array| backend.zip(Mul, x, y);
    let turned = [backend.zip(Sub, &product(&a, &cos), &product(&b, &sin)), backend.zip(Add, &product(&b, &cos), &product(&a, &sin))];
    let part_shape = with_axis(&pair_shape, pair_axis, 1);
    let turned = turned.map(|x| backend.reshape(&x, &part_shape));
    let joined = backend.reshape(&backend.concat(&[&turned[0], &turned[1]], pair_axis), &[n, heads, 2 * half]);
    backend.concat(&[&joined, &backend.slice(x, 2, 2 * half, width)], 2)
}

/// Rows of one segment of x [N, H, D] as [H_kv, G, T, D], with `kv_heads` = H_kv and G = H/H_kv.
fn heads_of<B: Products + Rows>(backend: &B, x: &B::Array, rows: Range<usize>, kv_heads: usize) -> B::Array {
    let (heads, width) = (backend.shape(x)[1], backend.shape(x)[2]);
    let rows_of = backend.permute(&backend.slice(x, 0, rows.start, rows.end), &[1, 0, 2]);
    backend.reshape(&rows_of, &[kv_heads, heads / kv_heads, rows.len(), width])
}

/// The inverse of [`heads_of`] for one segment: [H_kv, G, T, D] → [T, H, D].
fn rows_of<B: Products + Rows>(backend: &B, x: &B::Array) -> B::Array {
    let [kv_heads, group, rows, width] = backend.shape(x).try_into().expect("four axes");
    backend.permute(&backend.reshape(x, &[kv_heads * group, rows, width]), &[1, 0, 2])
}

/// Masked scores of one segment, [H_kv, G, Tq, Tk].
fn scores<B: Products + Rows>(backend: &B, q: &B::Array, k: &B::Array, segments: &Segments, segment: usize, scale: f64) -> B::Array {
    let mask = segments.mask(segment);
    let mask = backend.from_vec(mask, &[segments.queries(segment).len(), segments.keys(segment).len()]);
    backend.zip(Add, &backend.scale(&backend.matmul(q, &backend.transpose(k)), scale), &mask)
}

fn concat_rows<B: Products + Rows>(backend: &B, parts: &[B::Array]) -> B::Array {
    backend.concat(&parts.iter().collect::<Vec<_>>(), 0)
}

/// Attention composed of products and softmax, segment by segment: the definition. Returns (O [N, H, D], logsumexp of S [N, H]).
pub(super) fn composed<B: Products + Rows>(
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
pub(super) fn composed_vjp<B: Products + Rows>(
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
    let delta = sum_last(backend, &backend.zip(Mul, cotangent, output));
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
        let p_bar = backend.matmul(&o_bar, &backend.transpose(&v));
        let s_bar = backend.scale(&backend.zip(Mul, &p, &backend.zip(Sub, &p_bar, &of_queries(&delta))), scale);
        let over_group = |x: B::Array| rows_of(backend, &backend.sum(&x, 1));
        results[0].push(rows_of(backend, &backend.matmul(&s_bar, &k)));
        results[1].push(over_group(backend.matmul(&backend.transpose(&s_bar), &q)));
        results[2].push(over_group(backend.matmul(&backend.transpose(&p), &o_bar)));
    }
    let [q_bar, k_bar, v_bar] = results;
    (concat_rows(backend, &q_bar), at_keys(backend, k_bar, segments), at_keys(backend, v_bar, segments))
}

/// Lays the rows of each segment at the places of its keys, and zeros between them.
fn at_keys<B: Products + Rows>(backend: &B, parts: Vec<B::Array>, segments: &Segments) -> B::Array {
    let (mut laid, mut end) = (Vec::new(), 0);
    let shape = parts.first().map(|part| backend.shape(part).to_vec()).unwrap_or_default();
    let zeros = |rows: usize| (rows > 0).then(|| backend.full(0.0, &with_axis(&shape, 0, rows)));
    for (segment, part) in parts.into_iter().enumerate() {
        let place = segments.keys(segment);
        laid.extend(zeros(place.start - end));
        laid.push(part);
        end = place.end;
    }
    laid.extend(zeros(segments.totals().1 - end));
    concat_rows(backend, &laid)
}

/// x summed over its last axis and reshaped without it.
fn sum_last<B: Core>(backend: &B, x: &B::Array) -> B::Array {
    let shape = backend.shape(x).to_vec();
    let total = backend.sum(x, shape.len() - 1);
    backend.reshape(&total, &shape[..shape.len() - 1])
}
