//! Rotary position embedding in one pass. The readable twin is `ops::rope::reference`.

use super::array::CpuArray;
use super::simd::vectorised;
use crate::ops::rope::Pairing;
use crate::scalar::Scalar;
use rayon::prelude::*;

/// Elements handled by one task.
const TASK: usize = 1 << 14;

/// Rotates pairs of the last axis of x [N, H, D] by the angles of cos and sin [N, R/2].
pub fn rope<T: Scalar>(x: &CpuArray<T>, cos: &CpuArray<T>, sin: &CpuArray<T>, pairing: Pairing) -> CpuArray<T> {
    let (heads, width) = (x.shape()[1], x.shape()[2]);
    let half = cos.shape()[1];
    let (cos, sin) = (cos.elements(), sin.elements());
    let from = x.elements();
    let mut out = T::allocate(from.len());
    let token = (heads * width).max(1);
    let tokens_a_task = TASK / token + 1;
    let tasks = out.par_chunks_mut(tokens_a_task * token).zip(from.par_chunks(tokens_a_task * token)).with_max_len(1);
    tasks.enumerate().for_each(|(task, (to, from))| {
        vectorised(
            #[inline(always)]
            || {
                for (n, (to, from)) in to.chunks_exact_mut(token).zip(from.chunks_exact(token)).enumerate() {
                    let angles = (task * tokens_a_task + n) * half..(task * tokens_a_task + n + 1) * half;
                    rotate_heads(width, to, from, [&cos[angles.clone()], &sin[angles]], pairing);
                }
            },
        )
    });
    CpuArray::from_vec(out, x.shape())
}

/// Every head of a token.
#[inline(always)]
fn rotate_heads<T: Scalar>(width: usize, to: &mut [T], from: &[T], [cos, sin]: [&[T]; 2], pairing: Pairing) {
    let rotated = 2 * cos.len();
    for (to, from) in to.chunks_exact_mut(width).zip(from.chunks_exact(width)) {
        to[rotated..].copy_from_slice(&from[rotated..]);
        match pairing {
            Pairing::RotateHalf => rotate_halves(&mut to[..rotated], from, cos, sin),
            Pairing::Adjacent => rotate_adjacent(&mut to[..rotated], from, cos, sin),
        }
    }
}

/// Pairs that are rotated at a time: a vector of f32.
const LANES: usize = 8;

#[inline(always)]
fn rotate_halves<T: Scalar>(to: &mut [T], from: &[T], cos: &[T], sin: &[T]) {
    let half = cos.len();
    let ((low, high), (a, b)) = (to.split_at_mut(half), (&from[..half], &from[half..2 * half]));
    let whole = half / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        rotate_lanes::<T, LANES>(&mut low[start..], &mut high[start..], [&a[start..], &b[start..], &cos[start..], &sin[start..]]);
    }
    for i in whole..half {
        rotate_lanes::<T, 1>(&mut low[i..], &mut high[i..], [&a[i..], &b[i..], &cos[i..], &sin[i..]]);
    }
}

/// (low, high) ← (a·cos − b·sin, b·cos + a·sin) for the first N pairs.
#[inline(always)]
fn rotate_lanes<T: Scalar, const N: usize>(low: &mut [T], high: &mut [T], [a, b, cos, sin]: [&[T]; 4]) {
    let (low, high) = (&mut low[..N], &mut high[..N]);
    let (a, b, cos, sin) = (&a[..N], &b[..N], &cos[..N], &sin[..N]);
    for i in 0..N {
        low[i] = a[i] * cos[i] - b[i] * sin[i];
        high[i] = b[i] * cos[i] + a[i] * sin[i];
    }
}

#[inline(always)]
fn rotate_adjacent<T: Scalar>(to: &mut [T], from: &[T], cos: &[T], sin: &[T]) {
    for (((to, from), &c), &s) in to.chunks_exact_mut(2).zip(from.chunks_exact(2)).zip(cos).zip(sin) {
        (to[0], to[1]) = (from[0] * c - from[1] * s, from[1] * c + from[0] * s);
    }
}
