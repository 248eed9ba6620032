//! Loops over the elements of inputs with any strides. Axes are merged if the strides allow it. Then the output is filled in blocks that
//! fit in the L1 cache, in parallel and vectorised.

use super::element::Element;
use crate::threads::parallel_loop::InTasks;

/// Number of elements handled by one task. The cut never depends on the number of threads.
pub const TASK: usize = 1 << 13;
/// Number of elements in a block into which a strided input is gathered.
const BLOCK: usize = 128;

/// A pointer that may be sent to other threads.
#[derive(Clone, Copy)]
pub struct Shared<T>(pub *const T);
// SAFETY: the pointer is only used for reading, while the array it points into is borrowed.
unsafe impl<T: Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Shared<T> {}

/// One input of a loop: its first element, and its strides along the merged axes.
pub struct Lane<T> {
    pub start: Shared<T>,
    pub strides: Vec<isize>,
}

impl<T: Element> Lane<T> {
    /// Returns the offset of the first element of inner row `row` of the merged shape.
    fn row_offset(&self, outer: &[usize], mut row: usize) -> isize {
        let mut offset = 0;
        for (axis, &extent) in outer.iter().enumerate().rev() {
            offset += (row % extent) as isize * self.strides[axis];
            row /= extent;
        }
        offset
    }

    /// Returns `len` elements of an inner row from `offset`: borrowed if contiguous, otherwise gathered in `block`.
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

/// Drops axes of extent 1 and merges neighbouring axes that are contiguous with each other in every lane. Returns the merged shape (at
/// least one axis).
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

/// A function that fills a block of the output from blocks of the inputs, all of one length.
pub type BlockLoop<'a, T, const K: usize> = &'a (dyn Fn([&[T]; K], &mut [T]) + Sync);

/// Fills `out`, of a shape in row-major order, with `f` of the lanes. The walk is compiled once for each element type. `f` is called
/// through a pointer, once per block, so that it does not need a walk of its own.
pub fn fill<T: Element, const K: usize>(mut lanes: [Lane<T>; K], shape: &[usize], out: &mut [T], f: BlockLoop<'_, T, K>) {
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
    if out.len() <= TASK { task((0, out)) } else { out.chunks_mut(TASK).enumerate().for_each_task(task) }
}

/// Fills a part of one inner row.
///
/// # Safety
/// Elements `offsets[k] ..` of lane k, one for each element of `out`, must be inside its array.
unsafe fn fill_row<T: Element, const K: usize>(lanes: &[Lane<T>; K], offsets: [isize; K], out: &mut [T], f: BlockLoop<'_, T, K>) {
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
        f(inputs, block);
    }
}

/// Copies the elements at `start` and `strides` over `shape` in row-major order. The strides must stay inside the array `start` points
/// into.
pub fn strided_copy<T: Element>(start: *const T, shape: &[usize], strides: &[isize], out: &mut [T]) {
    fill([Lane { start: Shared(start), strides: strides.to_vec() }], shape, out, &|[x], out| out.copy_from_slice(x));
}
