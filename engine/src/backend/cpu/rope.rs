//! Rotary position embedding in one pass. The readable twin is the default of [`Attention::rope`](crate::backend::Attention::rope).

use super::array::CpuArray;
use super::element::Element;
use crate::rotary::Pairing;
use crate::simd::vectorised;
use crate::threads::parallel_loop::InTasks;

/// Elements handled by one task.
const TASK: usize = 1 << 12;

/// Rotates pairs of the last axis of x [N, H, D] by the angles of cos and sin [N, R/2]. Runs in place if x's storage is not shared.
pub fn rope<T: Element>(x: CpuArray<T>, cos: &CpuArray<T>, sin: &CpuArray<T>, pairing: Pairing) -> CpuArray<T> {
    let shape = x.shape().to_vec();
    let (width, half, token) = (shape[2], cos.shape()[1], (shape[1] * shape[2]).max(1));
    let (cos, sin) = (cos.elements(), sin.elements());
    let mut x = x.into_owned_elements();
    let tokens_a_task = TASK / token + 1;
    x.chunks_mut(tokens_a_task * token).enumerate().for_each_task(|(task, x)| {
        vectorised::<T, _>(
            #[inline(always)]
            || {
                for (n, x) in x.chunks_exact_mut(token).enumerate() {
                    let angles = (task * tokens_a_task + n) * half..(task * tokens_a_task + n + 1) * half;
                    rotate_heads(width, x, [&cos[angles.clone()], &sin[angles]], pairing);
                }
            },
        )
    });
    CpuArray::from_vec(x, &shape)
}

/// Rotates every head of a token.
#[inline(always)]
fn rotate_heads<T: Element>(width: usize, x: &mut [T], [cos, sin]: [&[T]; 2], pairing: Pairing) {
    for x in x.chunks_exact_mut(width) {
        match pairing {
            Pairing::RotateHalf => rotate_halves(x, cos, sin),
            Pairing::Adjacent => rotate_adjacent(x, cos, sin),
        }
    }
}

/// Number of pairs that are rotated at a time: a vector of f32.
const LANES: usize = 8;

#[inline(always)]
fn rotate_halves<T: Element>(x: &mut [T], cos: &[T], sin: &[T]) {
    let half = cos.len();
    let (low, high) = x[..2 * half].split_at_mut(half);
    let whole = half / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        rotate_lanes::<T, LANES>([&mut low[start..], &mut high[start..]], [&cos[start..], &sin[start..]]);
    }
    for i in whole..half {
        rotate_lanes::<T, 1>([&mut low[i..], &mut high[i..]], [&cos[i..], &sin[i..]]);
    }
}

/// (a, b) ← (a·cos − b·sin, b·cos + a·sin) for the first N pairs. All are read before any is written, so that the compiler uses vectors.
#[inline(always)]
fn rotate_lanes<T: Element, const N: usize>([a, b]: [&mut [T]; 2], angles: [&[T]; 2]) {
    let [low, high, cos, sin] = [&*a, &*b, angles[0], angles[1]].map(|x| *x.first_chunk::<N>().expect("so many pairs"));
    let (mut turned_low, mut turned_high) = (low, high);
    for i in 0..N {
        turned_low[i] = low[i] * cos[i] - high[i] * sin[i];
    }
    for i in 0..N {
        turned_high[i] = high[i] * cos[i] + low[i] * sin[i];
    }
    a[..N].copy_from_slice(&turned_low);
    b[..N].copy_from_slice(&turned_high);
}

#[inline(always)]
fn rotate_adjacent<T: Element>(x: &mut [T], cos: &[T], sin: &[T]) {
    for ((x, &c), &s) in x.chunks_exact_mut(2).zip(cos).zip(sin) {
        (x[0], x[1]) = (x[0] * c - x[1] * s, x[1] * c + x[0] * s);
    }
}
