//! Rotary position embedding in one pass. The readable twin is `ops::rope::reference`.

use super::array::CpuArray;
use crate::ops::rope::Pairing;
use crate::scalar::Scalar;
use rayon::prelude::*;

/// Rotates pairs of the last axis of x [N, H, D] by the angles of cos and sin [N, R/2].
pub fn rope<T: Scalar>(x: &CpuArray<T>, cos: &CpuArray<T>, sin: &CpuArray<T>, pairing: Pairing) -> CpuArray<T> {
    let (heads, width) = (x.shape()[1], x.shape()[2]);
    let half = cos.shape()[1];
    let (cos, sin) = (cos.elements(), sin.elements());
    let mut out = x.clone().into_owned_elements();
    out.par_chunks_mut((heads * width).max(1)).enumerate().for_each(|(n, token)| {
        let (cos, sin) = (&cos[n * half..][..half], &sin[n * half..][..half]);
        for head in token.chunks_exact_mut(width) {
            match pairing {
                Pairing::RotateHalf => rotate_halves(head, cos, sin),
                Pairing::Adjacent => rotate_adjacent(head, cos, sin),
            }
        }
    });
    CpuArray::from_vec(out, x.shape())
}

fn rotate_halves<T: Scalar>(head: &mut [T], cos: &[T], sin: &[T]) {
    let (low, high) = head.split_at_mut(cos.len());
    for (((a, b), &c), &s) in low.iter_mut().zip(high).zip(cos).zip(sin) {
        (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
    }
}

fn rotate_adjacent<T: Scalar>(head: &mut [T], cos: &[T], sin: &[T]) {
    for ((pair, &c), &s) in head.chunks_exact_mut(2).zip(cos).zip(sin) {
        (pair[0], pair[1]) = (pair[0] * c - pair[1] * s, pair[1] * c + pair[0] * s);
    }
}
