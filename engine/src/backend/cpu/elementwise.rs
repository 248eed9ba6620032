//! Elementwise loops over any strides: axes are merged where the strides allow, then the output is filled in blocks small enough for the
//! first-level cache, in parallel and vectorised.

use super::array::CpuArray;
use super::parallel_loop::InTasks;
use super::simd::vectorised;
use crate::scalar::Scalar;
use rayon::prelude::*;

/// Elements handled by one task; the cut never depends on the number of threads.
const TASK: usize = 1 << 13;
/// Elements of an input that does not lie contiguously are brought together in blocks of this many.
const BLOCK: usize = 128;

/// A pointer that may go to other threads.
#[derive(Clone, Copy)]
struct Shared<T>(*const T);
// SAFETY: it is only read through, while the array it points into is borrowed.
unsafe impl<T: Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Shared<T> {}

/// One input of a loop: where its first element is, and its strides along the merged axes.
struct Lane<T> {
    start: Shared<T>,
    strides: Vec<isize>,
}

impl<T: Scalar> Lane<T> {
    /// The offset of the first element of inner row `row` of the merged shape.
    fn row_offset(&self, outer: &[usize], mut row: usize) -> isize {
        let mut offset = 0;
        for (axis, &extent) in outer.iter().enumerate().rev() {
            offset += (row % extent) as isize * self.strides[axis];
            row /= extent;
        }
        offset
    }

    /// `len` elements of an inner row from `offset`: as they lie, or brought together in `block`.
    ///
    /// # Safety
    /// The elements must be inside the array the lane was made from.
    #[inline(always)]
    unsafe fn load<'a>(&'a self, offset: isize, len: usize, block: &'a mut [T; BLOCK]) -> &'a [T] {
        let stride = *self.strides.last().expect("at least one axis");
        // SAFETY: the caller's promise.
        unsafe {
            let start = self.start.0.offset(offset);
            match stride {
                1 => return std::slice::from_raw_parts(start, len),
                0 => block[..len].fill(*start),
                _ => (0..len).for_each(|i| block[i] = *start.offset(i as isize * stride)),
            }
        }
        &block[..len]
    }
}

/// Drops axes of extent 1 and merges neighbouring axes along which every lane runs on. Returns the merged shape (at least one axis).
fn merge<T>(shape: &[usize], lanes: &mut [Lane<T>]) -> Vec<usize> {
    let mut merged: Vec<usize> = Vec::new();
    let mut strides: Vec<Vec<isize>> = vec![Vec::new(); lanes.len()];
    for (axis, &extent) in shape.iter().enumerate().filter(|&(_, &extent)| extent != 1) {
        let joins = !merged.is_empty()
            && lanes.iter().zip(&strides).all(|(lane, s)| *s.last().expect("an axis") == lane.strides[axis] * extent as isize);
        if joins {
            *merged.last_mut().expect("an axis") *= extent;
        } else {
            merged.push(extent);
        }
        for (lane, s) in lanes.iter().zip(&mut strides) {
            if joins {
                *s.last_mut().expect("an axis") = lane.strides[axis];
            } else {
                s.push(lane.strides[axis]);
            }
        }
    }
    if merged.is_empty() {
        merged.push(1);
        strides.iter_mut().for_each(|s| s.push(0));
    }
    lanes.iter_mut().zip(strides).for_each(|(lane, s)| lane.strides = s);
    merged
}

/// The strides of an array seen in a larger shape that it broadcasts to.
fn broadcast_strides<T: Scalar>(x: &CpuArray<T>, shape: &[usize]) -> Vec<isize> {
    let lead = shape.len() - x.shape().len();
    let own = x.shape().iter().zip(x.strides()).zip(&shape[lead..]);
    std::iter::repeat_n(0, lead).chain(own.map(|((&from, &stride), &to)| if from == 1 && to != 1 { 0 } else { stride })).collect()
}

/// `out[i] = f(elements i of the lanes)` over a shape in row-major order.
fn fill<T: Scalar, const K: usize>(mut lanes: [Lane<T>; K], shape: &[usize], out: &mut [T], f: impl Fn([T; K]) -> T + Sync + Copy) {
    if out.is_empty() {
        return;
    }
    let merged = merge(shape, &mut lanes);
    let (&inner, outer) = merged.split_last().expect("at least one axis");
    let lanes = &lanes;
    let task = |(index, chunk): (usize, &mut [T])| {
        let mut done = 0;
        while done < chunk.len() {
            let position = index * TASK + done;
            let (row, column) = (position / inner, position % inner);
            let len = (inner - column).min(chunk.len() - done);
            let offsets: [isize; K] =
                std::array::from_fn(|k| lanes[k].row_offset(outer, row) + column as isize * lanes[k].strides.last().expect("an axis"));
            // SAFETY: (row, column .. column + len) lies inside the shape that every lane broadcasts to.
            unsafe { fill_row(lanes, offsets, &mut chunk[done..done + len], f) };
            done += len;
        }
    };
    if out.len() <= TASK { task((0, out)) } else { out.par_chunks_mut(TASK).enumerate().for_each_task(task) }
}

/// Part of one inner row.
///
/// # Safety
/// Elements `offsets[k] ..` of lane k, as many as `out` has, must be inside its array.
unsafe fn fill_row<T: Scalar, const K: usize>(lanes: &[Lane<T>; K], offsets: [isize; K], out: &mut [T], f: impl Fn([T; K]) -> T + Copy) {
    let contiguous = lanes.iter().all(|lane| lane.strides.last() == Some(&1));
    let step = if contiguous { out.len() } else { BLOCK };
    for (number, block) in out.chunks_mut(step).enumerate() {
        let mut gathered = [[T::zero(); BLOCK]; K];
        let mut buffers = gathered.iter_mut();
        let inputs: [&[T]; K] = std::array::from_fn(|k| {
            let buffer = buffers.next().expect("one buffer for each lane");
            let offset = offsets[k] + (number * step) as isize * lanes[k].strides.last().expect("an axis");
            // SAFETY: the caller's promise; a block that is gathered is at most BLOCK long.
            unsafe { lanes[k].load(offset, block.len(), buffer) }
        });
        vectorised(
            #[inline(always)]
            || apply(&inputs, block, f),
        );
    }
}

/// The innermost loop, over slices of equal length.
#[inline(always)]
fn apply<T: Scalar, const K: usize>(inputs: &[&[T]; K], out: &mut [T], f: impl Fn([T; K]) -> T + Copy) {
    let inputs: [&[T]; K] = std::array::from_fn(|k| &inputs[k][..out.len()]);
    for (i, y) in out.iter_mut().enumerate() {
        *y = f(std::array::from_fn(|k| inputs[k][i]));
    }
}

/// As [`apply`], with two outputs.
#[inline(always)]
fn apply_two<T: Scalar, const K: usize>(inputs: &[&[T]; K], first: &mut [T], second: &mut [T], f: impl Fn([T; K]) -> (T, T) + Copy) {
    let inputs: [&[T]; K] = std::array::from_fn(|k| &inputs[k][..first.len()]);
    let second = &mut second[..first.len()];
    for i in 0..first.len() {
        (first[i], second[i]) = f(std::array::from_fn(|k| inputs[k][i]));
    }
}

/// A new array of `shape` with f of the inputs, which broadcast to it.
pub fn combine<T: Scalar, const K: usize>(
    inputs: [&CpuArray<T>; K],
    shape: &[usize],
    f: impl Fn([T; K]) -> T + Sync + Copy,
) -> CpuArray<T> {
    let mut out = T::allocate(crate::shape::count(shape));
    let lanes = inputs.map(|x| Lane { start: Shared(x.as_ptr()), strides: broadcast_strides(x, shape) });
    fill(lanes, shape, &mut out, f);
    CpuArray::from_vec(out, shape)
}

/// The elements in row-major order, in a buffer of their own.
pub fn copy<T: Scalar>(x: &CpuArray<T>) -> Vec<T> {
    let mut out = T::allocate(x.view().len());
    strided_copy(x.as_ptr(), x.shape(), x.strides(), &mut out);
    out
}

/// Copies the elements at `start` and `strides` over `shape` in row-major order. The strides must stay inside the array `start` points into.
pub(super) fn strided_copy<T: Scalar>(start: *const T, shape: &[usize], strides: &[isize], out: &mut [T]) {
    fill([Lane { start: Shared(start), strides: strides.to_vec() }], shape, out, |[x]| x);
}

/// Two new arrays from inputs of one shape, in one pass.
pub fn combine_two<T: Scalar, const K: usize>(
    inputs: [&CpuArray<T>; K],
    f: impl Fn([T; K]) -> (T, T) + Sync + Copy,
) -> (CpuArray<T>, CpuArray<T>) {
    let shape = inputs[0].shape();
    let elements = inputs.map(CpuArray::elements);
    let (mut first, mut second) = (T::allocate(elements[0].len()), T::allocate(elements[0].len()));
    first.par_chunks_mut(TASK).zip(second.par_chunks_mut(TASK)).enumerate().for_each_task(|(task, (first, second))| {
        let inputs: [&[T]; K] = std::array::from_fn(|k| &elements[k][task * TASK..][..first.len()]);
        vectorised(
            #[inline(always)]
            || apply_two(&inputs, first, second, f),
        )
    });
    (CpuArray::from_vec(first, shape), CpuArray::from_vec(second, shape))
}

/// sum + x, in sum's own storage where that is not shared.
pub fn accumulate<T: Scalar>(sum: CpuArray<T>, x: &CpuArray<T>) -> CpuArray<T> {
    let shape = sum.shape().to_vec();
    let sum = match sum.try_into_owned_elements() {
        Ok(data) => data,
        Err(shared) => return combine([&shared, x], &shape, |[sum, x]| sum + x),
    };
    let mut data = sum;
    let x = x.elements();
    data.par_chunks_mut(TASK).zip(x.par_chunks(TASK)).for_each_task(|(sum, x)| {
        vectorised(
            #[inline(always)]
            || sum.iter_mut().zip(x).for_each(|(s, &x)| *s += x),
        )
    });
    CpuArray::from_vec(data, &shape)
}
