//! Arrays in a device's memory: a shared block with a shape and strides, of f32 or bfloat16.

use super::context::{Buffer, Inner};
use super::runtime::Storage;
use crate::shape::count;
use std::sync::Arc;

/// A shared, strided n-dimensional array on a device.
#[derive(Clone)]
pub struct CudaArray {
    buffer: Arc<Buffer>,
    storage: Storage,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// The strides of a row-major array.
fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis].max(1);
    }
    strides
}

impl CudaArray {
    /// Allocates a row-major array with unspecified contents.
    pub(super) fn new(owner: &Arc<Inner>, shape: &[usize], storage: Storage) -> Self {
        let buffer = Arc::new(Buffer::new(owner, count(shape) * storage.bytes()));
        Self { buffer, storage, offset: 0, shape: shape.to_vec(), strides: row_major(shape) }
    }

    /// How the elements are stored.
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// Returns the same view of the numbers in bfloat16; see [`Buffer::rounded`].
    pub(super) fn rounded(&self, owner: &Arc<Inner>, round: impl FnOnce(u64, &Buffer, usize)) -> Self {
        match self.storage {
            Storage::Bf16 => self.clone(),
            Storage::F32 => Self { buffer: self.buffer.rounded(owner, round), storage: Storage::Bf16, ..self.clone() },
        }
    }

    /// Drops the copy in bfloat16. Must be called before the elements are overwritten.
    pub(super) fn forget_rounded(&self) {
        self.buffer.forget_rounded();
    }

    /// The extents of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
    /// The strides of the axes, in elements. Broadcast axes have stride 0.
    pub fn strides(&self) -> &[usize] {
        &self.strides
    }
    /// The number of elements.
    pub(super) fn len(&self) -> usize {
        count(&self.shape)
    }
    /// The number of rows of the last axis, and its extent.
    pub(super) fn rows(&self) -> (usize, usize) {
        crate::shape::rows(&self.shape)
    }
    /// The address of the first element.
    pub(super) fn address(&self) -> u64 {
        self.at(0)
    }
    /// The address of an element, counted in elements of memory from the first one.
    pub(super) fn at(&self, steps: usize) -> u64 {
        self.buffer.address() + ((self.offset + steps) * self.storage.bytes()) as u64
    }
    /// True if the elements are in row-major order without gaps.
    pub(super) fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&extent, &stride)| {
            let fits = extent == 1 || stride == expected;
            expected *= extent;
            fits
        }) || self.len() == 0
    }
    /// True if its elements may be overwritten: it is contiguous, and no other array shares its block.
    pub(super) fn is_sole_owner(&mut self) -> bool {
        self.is_contiguous() && Arc::get_mut(&mut self.buffer).is_some()
    }

    /// True if this many arrays share its block.
    pub(super) fn has_owners(&self, count: usize) -> bool {
        Arc::strong_count(&self.buffer) == count
    }

    /// Returns the same elements under another shape. The array must be contiguous.
    pub(super) fn with_shape(&self, shape: &[usize]) -> Self {
        assert_eq!(count(shape), self.len(), "reshape: {:?} does not have as many elements as {shape:?}", self.shape);
        Self { shape: shape.to_vec(), strides: row_major(shape), ..self.clone() }
    }
    /// Returns a view of the last `count` axes. The axes before them must have extent 1.
    pub(super) fn last_axes(&self, count: usize) -> Self {
        let dropped = self.shape.len() - count;
        assert!(self.shape[..dropped].iter().all(|&extent| extent == 1), "{:?} has more than its last {count} axes", self.shape);
        let (shape, strides) = (self.shape[dropped..].to_vec(), self.strides[dropped..].to_vec());
        Self { shape, strides, ..self.clone() }
    }
    /// Returns a view whose axis i is axis `axes[i]`.
    pub(super) fn permute(&self, axes: &[usize]) -> Self {
        let pick = |values: &[usize]| axes.iter().map(|&axis| values[axis]).collect();
        Self { shape: pick(&self.shape), strides: pick(&self.strides), ..self.clone() }
    }
    /// Returns a view of positions `start..end` of an axis.
    pub(super) fn slice(&self, axis: usize, start: usize, end: usize) -> Self {
        let mut view = self.clone();
        view.shape[axis] = end - start;
        if end > start {
            view.offset += start * self.strides[axis];
        }
        view
    }
    /// Returns a view that is broadcast along axes of extent 1 and along new leading axes.
    pub(super) fn broadcast_to(&self, shape: &[usize]) -> Self {
        let lead = shape.len().checked_sub(self.shape.len());
        let lead = lead.unwrap_or_else(|| panic!("{:?} does not broadcast to {shape:?}", self.shape));
        let mut strides = vec![0; shape.len()];
        for (axis, (&extent, &stride)) in self.shape.iter().zip(&self.strides).enumerate() {
            let wanted = shape[lead + axis];
            assert!(extent == wanted || extent == 1, "{:?} does not broadcast to {shape:?}", self.shape);
            strides[lead + axis] = if extent == wanted { stride } else { 0 };
        }
        Self { shape: shape.to_vec(), strides, ..self.clone() }
    }
}

/// Drops axes of extent 1, and merges neighbouring axes that one stride can step through in every array. Returns the extents, and the
/// strides of each array.
pub(super) fn merged(shape: &[usize], strides: &[&[usize]]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut extents: Vec<usize> = Vec::new();
    let mut steps: Vec<Vec<usize>> = vec![Vec::new(); strides.len()];
    for axis in (0..shape.len()).filter(|&axis| shape[axis] != 1) {
        let joins = extents.last().is_some() && (0..strides.len()).all(|i| steps[i].last() == Some(&(strides[i][axis] * shape[axis])));
        if joins {
            *extents.last_mut().expect("an axis before") *= shape[axis];
            (0..strides.len()).for_each(|i| *steps[i].last_mut().expect("an axis before") = strides[i][axis]);
        } else {
            extents.push(shape[axis]);
            (0..strides.len()).for_each(|i| steps[i].push(strides[i][axis]));
        }
    }
    (extents, steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_that_are_walked_in_one_step_merge() {
        assert_eq!(merged(&[2, 3, 4], &[&[12, 4, 1]]), (vec![24], vec![vec![1]]));
        assert_eq!(merged(&[2, 1, 4], &[&[4, 9, 1], &[0, 9, 1]]), (vec![2, 4], vec![vec![4, 1], vec![0, 1]]));
        assert_eq!(merged(&[3, 2], &[&[1, 3]]), (vec![3, 2], vec![vec![1, 3]]));
        assert_eq!(merged(&[1, 1], &[&[5, 7]]), (vec![], vec![vec![]]));
    }
}
