//! The storage of the CPU backends: an ndarray with its views. When its last owner drops it, its buffer goes back to the pool.

use super::element::Element;
use super::strided::strided_copy;
use crate::gemm::matrix::Matrix;
use ndarray::{ArcArray, ArrayViewD, Axis, IxDyn, Slice};
use std::borrow::Cow;
use std::ops::Range;

/// A shared, strided n-dimensional array.
#[derive(Clone)]
pub struct CpuArray<T: Element>(ArcArray<T, IxDyn>);

impl<T: Element> Drop for CpuArray<T> {
    fn drop(&mut self) {
        if self.0.len() < 64 {
            return;
        }
        let array = std::mem::replace(&mut self.0, ArcArray::from_shape_vec(IxDyn(&[0]), Vec::new()).expect("an empty array"));
        if let Ok(owned) = array.try_into_owned_nocopy() {
            T::recycle(owned.into_raw_vec_and_offset().0);
        }
    }
}

impl<T: Element> CpuArray<T> {
    /// Makes an array from its elements in row-major order.
    pub fn from_vec(data: Vec<T>, shape: &[usize]) -> Self {
        let array = ArcArray::from_shape_vec(IxDyn(shape), data);
        Self(array.unwrap_or_else(|_| panic!("an array of shape {shape:?} from another number of elements")))
    }

    /// Makes an array of equal elements.
    pub fn full(value: T, shape: &[usize]) -> Self {
        let mut data = T::allocate(crate::shape::count(shape));
        data.fill(value);
        Self::from_vec(data, shape)
    }

    /// Returns the extents of the axes.
    pub fn shape(&self) -> &[usize] {
        self.0.shape()
    }
    /// Returns the strides of the axes, in elements.
    pub fn strides(&self) -> &[isize] {
        self.0.strides()
    }
    /// Returns a pointer to the first element.
    pub fn as_ptr(&self) -> *const T {
        self.0.as_ptr()
    }
    /// Returns the last two axes of an array as a matrix. If there are more axes, it is the first such matrix.
    pub fn matrix(&self) -> Matrix<T> {
        let strides = self.strides();
        Matrix { start: self.as_ptr(), strides: (strides[strides.len() - 2], strides[strides.len() - 1]) }
    }
    /// Returns the array as an ndarray view.
    pub fn view(&self) -> ArrayViewD<'_, T> {
        self.0.view()
    }
    /// Returns the elements in row-major order, borrowed if they are stored so.
    pub fn elements(&self) -> Cow<'_, [T]> {
        match self.0.as_slice() {
            Some(slice) => Cow::Borrowed(slice),
            None => Cow::Owned(self.copied_elements()),
        }
    }
    /// Copies the elements in row-major order to a new buffer.
    pub fn copied_elements(&self) -> Vec<T> {
        let mut out = T::allocate(self.0.len());
        strided_copy(self.as_ptr(), self.shape(), self.strides(), &mut out);
        out
    }
    /// Returns the elements in row-major order for writing. First copies them to new storage if they are shared or in another order.
    pub fn elements_mut(&mut self) -> &mut [T] {
        if self.0.as_slice().is_none() {
            *self = Self::from_vec(self.copied_elements(), self.shape());
        }
        self.0.as_slice_mut().expect("row-major")
    }
    /// Returns the elements in row-major order as their only owner. Moves them if nothing else shares the storage, and copies them
    /// otherwise.
    pub fn into_owned_elements(self) -> Vec<T> {
        self.try_into_owned_elements().unwrap_or_else(|shared| shared.copied_elements())
    }

    /// Returns the elements in row-major order if they are stored so and nothing else shares the storage. Otherwise returns the array
    /// itself.
    pub fn try_into_owned_elements(self) -> Result<Vec<T>, Self> {
        let mut this = self;
        if this.0.as_slice().is_some() {
            let array = std::mem::replace(&mut this.0, ArcArray::from_shape_vec(IxDyn(&[0]), Vec::new()).expect("an empty array"));
            let count = array.len();
            match array.try_into_owned_nocopy() {
                Ok(owned) => {
                    let (data, offset) = owned.into_raw_vec_and_offset();
                    if data.len() == count {
                        return Ok(data);
                    }
                    let start = offset.unwrap_or(0);
                    return Ok(data[start..start + count].to_vec());
                }
                Err(shared) => this.0 = shared,
            }
        }
        Err(this)
    }

    /// Returns the same elements in row-major order under another shape.
    pub fn reshape(&self, shape: &[usize]) -> Self {
        if self.0.is_standard_layout() {
            let array = self.0.clone().into_shape_with_order(IxDyn(shape));
            return Self(array.unwrap_or_else(|_| panic!("reshape: {:?} does not have as many elements as {shape:?}", self.shape())));
        }
        Self::from_vec(self.copied_elements(), shape)
    }
    /// Returns a view whose axis i is axis `axes[i]`.
    pub fn permute(&self, axes: &[usize]) -> Self {
        Self(self.0.clone().permuted_axes(IxDyn(axes)))
    }
    /// Returns a view of part of an axis.
    pub fn slice(&self, axis: usize, start: usize, end: usize) -> Self {
        let mut array = self.0.clone();
        array.slice_axis_inplace(Axis(axis), Slice::from(start..end));
        Self(array)
    }
    /// Repeats the elements along axes of extent 1 and new leading axes.
    pub fn broadcast_to(&self, shape: &[usize]) -> Self {
        if self.shape() == shape {
            return self.clone();
        }
        let view = self.0.broadcast(IxDyn(shape)).unwrap_or_else(|| panic!("{:?} does not broadcast to {shape:?}", self.shape()));
        let strides: Vec<isize> = view.strides().to_vec();
        let mut data = T::allocate(crate::shape::count(shape));
        strided_copy(self.as_ptr(), shape, &strides, &mut data);
        Self::from_vec(data, shape)
    }
    /// Writes the rows of `other` at these rows: in place where nothing else shares the storage.
    pub fn with_rows_written(self, other: &Self, rows: &[Range<usize>]) -> Self {
        let shape = self.shape().to_vec();
        let width = crate::shape::count(&shape[1..]);
        let mut data = self.try_into_owned_elements().unwrap_or_else(|shared| shared.elements().into_owned());
        let elements = other.elements();
        let mut left = &elements[..];
        for place in rows {
            let (part, after) = left.split_at(place.len() * width);
            data[place.start * width..place.end * width].copy_from_slice(part);
            left = after;
        }
        Self::from_vec(data, &shape)
    }
    /// Concatenates arrays along an axis.
    pub fn concat(parts: &[&Self], axis: usize) -> Self {
        let extent = parts.iter().map(|p| p.shape()[axis]).sum();
        let shape = crate::shape::with_axis(parts[0].shape(), axis, extent);
        let (outer, _, inner) = crate::shape::around(&shape, axis);
        let elements: Vec<Cow<'_, [T]>> = parts.iter().map(|p| p.elements()).collect();
        let mut data = Vec::with_capacity(outer * extent * inner);
        for block in 0..outer {
            for (part, elements) in parts.iter().zip(&elements) {
                let width = part.shape()[axis] * inner;
                data.extend_from_slice(&elements[block * width..(block + 1) * width]);
            }
        }
        Self::from_vec(data, &shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_in_place_unless_something_else_reads_the_storage() {
        let numbers = |from: usize, rows: usize| CpuArray::from_vec((from..from + 3 * rows).map(|x| x as f32).collect(), &[rows, 3]);
        let x = numbers(0, 5);
        let start = x.elements().as_ptr();
        let x = x.with_rows_written(&numbers(100, 3), &[1..3, 4..5]);
        assert!(x.elements().as_ptr() == start);
        assert_eq!(*x.elements(), [0., 1., 2., 100., 101., 102., 103., 104., 105., 9., 10., 11., 106., 107., 108.]);
        let shared = x.clone();
        let written = x.with_rows_written(&numbers(0, 1), &[1..1, 1..2]);
        assert!(shared.elements()[3] == 100.0 && written.elements()[3] == 0.0);
    }
}
