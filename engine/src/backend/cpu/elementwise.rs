//! Functions of elements: one or two outputs from inputs of any strides, and sums in place.

use super::array::CpuArray;
use super::element::Element;
use super::strided::{BlockLoop, Lane, Shared, TASK, fill};
use crate::shape::broadcast_all;
use crate::simd::vectorised;
use crate::threads::parallel_loop::InTasks;

/// Returns the strides of an array in a larger shape that it broadcasts to.
fn broadcast_strides<T: Element>(x: &CpuArray<T>, shape: &[usize]) -> Vec<isize> {
    let lead = shape.len() - x.shape().len();
    let own = x.shape().iter().zip(x.strides()).zip(&shape[lead..]);
    std::iter::repeat_n(0, lead).chain(own.map(|((&from, &stride), &to)| if from == 1 && to != 1 { 0 } else { stride })).collect()
}

/// Runs the innermost loop, over slices of equal length.
#[inline(always)]
fn apply<T: Element, const K: usize>(mut inputs: [&[T]; K], out: &mut [T], f: impl Fn([T; K]) -> T + Copy) {
    cut(&mut inputs, out.len());
    for (i, y) in out.iter_mut().enumerate() {
        *y = f(at(inputs, i));
    }
}

/// Cuts each input to `len` elements, so that no later index is checked.
#[inline(always)]
fn cut<T, const K: usize>(inputs: &mut [&[T]; K], len: usize) {
    for input in inputs {
        *input = &input[..len];
    }
}

/// Returns element `i` of each input.
#[inline(always)]
fn at<T: Element, const K: usize>(inputs: [&[T]; K], i: usize) -> [T; K] {
    let mut elements = [T::zero(); K];
    for (element, input) in elements.iter_mut().zip(&inputs) {
        *element = input[i];
    }
    elements
}

/// Like [`apply`], with two outputs.
#[inline(always)]
fn apply_two<T: Element, const K: usize>(mut inputs: [&[T]; K], first: &mut [T], second: &mut [T], f: impl Fn([T; K]) -> (T, T) + Copy) {
    cut(&mut inputs, first.len());
    let second = &mut second[..first.len()];
    for i in 0..first.len() {
        (first[i], second[i]) = f(at(inputs, i));
    }
}

/// Makes a new array of `shape` with f of the inputs, which broadcast to it. Only the loop over a block is compiled for each f.
pub fn combine<T: Element, const K: usize>(
    inputs: [&CpuArray<T>; K],
    shape: &[usize],
    f: impl Fn([T; K]) -> T + Sync + Copy,
) -> CpuArray<T> {
    combine_blocks(inputs, shape, &|inputs, out| {
        vectorised::<T, _>(
            #[inline(always)]
            || apply(inputs, out, f),
        )
    })
}

fn combine_blocks<T: Element, const K: usize>(inputs: [&CpuArray<T>; K], shape: &[usize], f: BlockLoop<'_, T, K>) -> CpuArray<T> {
    let mut out = T::allocate(crate::shape::count(shape));
    let lanes = inputs.map(|x| Lane { start: Shared(x.as_ptr()), strides: broadcast_strides(x, shape) });
    fill(lanes, shape, &mut out, f);
    CpuArray::from_vec(out, shape)
}

/// Runs [`combine`] in the shape that all inputs broadcast to.
///
/// # Panics
/// If they do not broadcast.
pub fn broadcast_and_combine<T: Element, const K: usize>(inputs: [&CpuArray<T>; K], f: impl Fn([T; K]) -> T + Sync + Copy) -> CpuArray<T> {
    combine(inputs, &broadcast_shape(&inputs), f)
}

fn broadcast_shape<T: Element>(inputs: &[&CpuArray<T>]) -> Vec<usize> {
    let shapes: Vec<&[usize]> = inputs.iter().map(|x| x.shape()).collect();
    broadcast_all("elementwise", &shapes)
}

/// Makes two new arrays from inputs of one shape, in one pass.
pub fn combine_two<T: Element, const K: usize>(
    inputs: [&CpuArray<T>; K],
    f: impl Fn([T; K]) -> (T, T) + Sync + Copy,
) -> (CpuArray<T>, CpuArray<T>) {
    let shape = inputs[0].shape();
    let elements = inputs.map(CpuArray::elements);
    let (mut first, mut second) = (T::allocate(elements[0].len()), T::allocate(elements[0].len()));
    first.chunks_mut(TASK).zip(second.chunks_mut(TASK)).enumerate().for_each_task(|(task, (first, second))| {
        let inputs: [&[T]; K] = std::array::from_fn(|k| &elements[k][task * TASK..][..first.len()]);
        vectorised::<T, _>(
            #[inline(always)]
            || apply_two(inputs, first, second, f),
        )
    });
    (CpuArray::from_vec(first, shape), CpuArray::from_vec(second, shape))
}

/// Computes sum + x, in place if sum's storage is not shared.
pub fn accumulate<T: Element>(sum: CpuArray<T>, x: &CpuArray<T>) -> CpuArray<T> {
    let shape = sum.shape().to_vec();
    let sum = match sum.try_into_owned_elements() {
        Ok(data) => data,
        Err(shared) => return combine([&shared, x], &shape, |[sum, x]| sum + x),
    };
    let mut data = sum;
    let x = x.elements();
    data.chunks_mut(TASK).zip(x.chunks(TASK)).for_each_task(|(sum, x)| {
        vectorised::<T, _>(
            #[inline(always)]
            || sum.iter_mut().zip(x).for_each(|(s, &x)| *s += x),
        )
    });
    CpuArray::from_vec(data, &shape)
}
