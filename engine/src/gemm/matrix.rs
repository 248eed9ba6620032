//! Matrices as the products see them: a first element and strides, with no notion of who owns the storage.

/// Strides of a matrix in elements: (between rows, between columns).
pub type Strides = (isize, isize);

/// (m, k, n): the rows of the output, the inner extent, the columns of the output.
pub type Extents = (usize, usize, usize);

/// Products of fewer multiply-adds run in one piece. (Miri is slow, and must see products that are cut.)
pub const SMALL: usize = if cfg!(miri) { 1 << 6 } else { 1 << 16 };

/// Products with at most this many rows, as in generating text, do not pack B in three parts.
pub const FEW_ROWS: usize = 8;

/// Products with at most this many rows may read B as it lies in memory, once.
pub const STREAMED_ROWS: usize = 16;

/// A matrix to read: its first element and its strides.
#[derive(Clone, Copy)]
pub struct Matrix<T> {
    /// Element (0, 0).
    pub start: *const T,
    /// Strides between rows and between columns, in elements.
    pub strides: Strides,
}
// SAFETY: it is only read through, while the array it points into is borrowed.
unsafe impl<T: Sync> Send for Matrix<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Matrix<T> {}

impl<T> Matrix<T> {
    /// A row-major matrix with rows of `columns` elements.
    pub fn row_major(elements: &[T], columns: usize) -> Self {
        Self { start: elements.as_ptr(), strides: (columns as isize, 1) }
    }
    /// The rows from `row` on.
    ///
    /// # Safety
    /// The row must be inside.
    pub unsafe fn rows_from(self, row: usize) -> Self {
        // SAFETY: the caller's promise.
        Self { start: unsafe { self.start.offset(row as isize * self.strides.0) }, ..self }
    }
    /// The transpose.
    pub fn t(self) -> Self {
        Self { start: self.start, strides: (self.strides.1, self.strides.0) }
    }
}

/// A matrix to write: its first element and the stride between its rows, whose elements are contiguous.
#[derive(Clone, Copy)]
pub struct MatrixMut<T> {
    /// Element (0, 0).
    pub start: *mut T,
    /// Elements from a row to the next.
    pub row_stride: usize,
}
// SAFETY: tasks write disjoint blocks of it.
unsafe impl<T: Send> Send for MatrixMut<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for MatrixMut<T> {}

impl<T> MatrixMut<T> {
    /// A row-major matrix with rows of `columns` elements.
    pub fn row_major(elements: &mut [T], columns: usize) -> Self {
        Self { start: elements.as_mut_ptr(), row_stride: columns }
    }
}

/// Pairs each of several operands with the one that they share: one of the lists has one element. No pairs where a list is empty.
pub fn pairs<'a, T: Copy>(a: &'a [T], b: &'a [T]) -> impl Iterator<Item = (T, T)> + 'a {
    let count = if a.is_empty() || b.is_empty() { 0 } else { a.len().max(b.len()) };
    (0..count).map(|i| (a[i.min(a.len() - 1)], b[i.min(b.len() - 1)]))
}
