//! Operands of products: lines of one matrix or of several, and how they are packed, or read where they lie.

use super::kernel::{Kernel, Side};
use super::matrix::{Matrix, Strides};
use crate::buffer_pool::Pooled;
use crate::threads::parallel_loop::InTasks;
use rayon::prelude::*;
use std::ops::Range;

/// Ranges of at most `most` that make up the range.
pub fn parts(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(most.max(1)).map(move |from| from..(from + most).min(end))
}

/// Bytes of packed lines that are worth a task. (Tests see small products cut as large ones are.)
const PACK_BYTES: usize = if cfg!(test) { 1 << 13 } else { 1 << 14 };

/// A matrix of an operand.
#[derive(Clone, Copy)]
pub struct Piece {
    /// [lines, k]: A, or B transposed.
    pub matrix: Matrix<f32>,
    /// How many there are.
    pub lines: usize,
    /// Which line of the operand the first one is: at the start of a group.
    first: usize,
}

impl Piece {
    /// The one matrix of an operand.
    pub fn only(matrix: Matrix<f32>, lines: usize) -> Self {
        Self { matrix, lines, first: 0 }
    }

    /// Matrices one after another, each from the start of a group on.
    pub fn each<K: Kernel>(side: Side, matrices: &[(Matrix<f32>, usize)]) -> Vec<Self> {
        let place = |first: &mut usize, &(matrix, lines): &(Matrix<f32>, usize)| {
            let piece = Self { matrix: if side == Side::A { matrix } else { matrix.t() }, lines, first: *first };
            *first += lines.next_multiple_of(side.group::<K>());
            Some(piece)
        };
        matrices.iter().scan(0, place).collect()
    }
}

/// An operand by its lines, those of one matrix or of several.
#[derive(Clone, Copy)]
pub struct Operand<'a> {
    pub side: Side,
    pub pieces: &'a [Piece],
    /// How many lines there are, with those that fill up groups between the pieces.
    pub lines: usize,
}

impl<'a> Operand<'a> {
    pub fn new(side: Side, pieces: &'a [Piece]) -> Self {
        let last = &pieces[pieces.len() - 1];
        Self { side, pieces, lines: last.first + last.lines }
    }

    /// Which piece has a line, and as which of its own.
    #[inline]
    pub fn piece(self, line: usize) -> (usize, usize) {
        let piece = if self.pieces.len() == 1 { 0 } else { self.pieces.iter().rposition(|piece| piece.first <= line).unwrap_or(0) };
        (piece, line - self.pieces[piece].first)
    }

    /// Lines of a group.
    pub fn group<K: Kernel>(self) -> usize {
        self.side.group::<K>()
    }

    /// Is it an A that is read where it lies?
    pub fn in_place<K: Kernel>(self) -> bool {
        self.side == Side::A && self.pieces.len() == 1 && K::reads_in_place(self.pieces[0].matrix.strides)
    }

    /// Units that this many lines take for an inner extent of k.
    pub fn packed_len<K: Kernel>(self, lines: usize, k: usize) -> usize {
        lines.next_multiple_of(self.group::<K>()) * k.div_ceil(K::STEP) * K::PARTS
    }

    /// Packs these lines for this part of k, group by group; where lines lie next to each other in bands of k, so that each row of the memory
    /// is read once for all groups.
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    pub unsafe fn pack<K: Kernel>(self, lines: Range<usize>, part: Range<usize>, packed: &mut [K::Unit]) {
        let group_len = self.packed_len::<K>(1, part.len());
        let lie_next = self.pieces.iter().all(|piece| piece.matrix.strides.0 == 1);
        for band in parts(part.clone(), if lie_next { K::BAND } else { part.len() }) {
            let place = self.packed_len::<K>(1, band.start - part.start);
            let len = self.packed_len::<K>(1, band.len());
            for (number, packed) in packed.chunks_exact_mut(group_len).enumerate() {
                let (piece, line) = self.piece(lines.start + number * self.group::<K>());
                let Piece { matrix, lines, .. } = self.pieces[piece];
                let extents = (self.group::<K>().min(lines - line), band.len());
                // SAFETY: the caller's promise: the group lies inside the operand.
                unsafe {
                    let start = matrix.start.offset(line as isize * matrix.strides.0 + band.start as isize * matrix.strides.1);
                    K::pack(self.side, Matrix { start, ..matrix }, extents, &mut packed[place..place + len]);
                }
            }
        }
    }

    /// Units of what a thread packs of these lines for itself.
    pub fn own_len<K: Kernel>(self, lines: usize, k: usize) -> usize {
        if self.in_place::<K>() { 0 } else { self.packed_len::<K>(lines, k) }
    }

    /// Rows of A for a part of k, where they lie or packed into `scratch`, of [`Operand::own_len`].
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    pub unsafe fn rows<K: Kernel>(self, lines: Range<usize>, part: &Range<usize>, scratch: &mut [K::Unit]) -> Rows<K::Unit> {
        // SAFETY: the caller's promise.
        unsafe {
            if self.in_place::<K>() {
                return Rows::in_place::<K>(self.pieces[0].matrix, lines.start, part);
            }
            self.pack::<K>(lines, part.clone(), scratch);
        }
        Rows::packed::<K>(scratch.as_ptr(), part)
    }

    /// Is it a B that a product that is not cut reads where it lies?
    fn columns_in_place<K: Kernel>(self) -> bool {
        self.side == Side::B && self.pieces.len() == 1 && K::reads_columns_in_place(self.pieces[0].matrix.t().strides, self.lines)
    }

    /// Units that [`Operand::columns`] packs of these lines.
    pub fn columns_len<K: Kernel>(self, lines: usize, k: usize) -> usize {
        if self.columns_in_place::<K>() { 0 } else { self.packed_len::<K>(lines, k) }
    }

    /// Columns of B for a part of k, where they lie or packed into `scratch`, of [`Operand::columns_len`].
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    pub unsafe fn columns<K: Kernel>(self, lines: Range<usize>, part: &Range<usize>, scratch: &mut [K::Unit]) -> Columns<K::Unit> {
        // SAFETY: the caller's promise.
        unsafe {
            if self.columns_in_place::<K>() {
                return Columns::in_place::<K>(self.pieces[0].matrix.t(), lines.start, part);
            }
            self.pack::<K>(lines, part.clone(), scratch);
        }
        Columns::packed::<K>(scratch.as_ptr(), part)
    }

    /// Packs all lines for a part of k, cut into blocks of `depth`, each in the space of a whole one.
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    pub unsafe fn pack_in_parallel<K: Kernel>(self, part: &Range<usize>, depth: usize) -> Vec<K::Unit> {
        let block_len = self.packed_len::<K>(self.lines, depth);
        let mut packed = K::Unit::pool().take(part.len().div_ceil(depth) * block_len);
        let mut tasks = Vec::new();
        for (part, packed) in parts(part.clone(), depth).zip(packed.chunks_exact_mut(block_len)) {
            let packed = &mut packed[..self.packed_len::<K>(self.lines, part.len())];
            let group_len = self.packed_len::<K>(1, part.len());
            let groups = (PACK_BYTES / (group_len * size_of::<K::Unit>())).max(1);
            let lines = parts(0..self.lines, groups * self.group::<K>());
            tasks.extend(lines.zip(packed.chunks_mut(groups * group_len)).map(|(lines, packed)| (lines, part.clone(), packed)));
        }
        // SAFETY: the caller's promise.
        tasks.into_par_iter().for_each_task(|(lines, part, packed)| unsafe { self.pack::<K>(lines, part, packed) });
        packed
    }
}

/// Rows of A as kernels read them, group by group.
#[derive(Clone, Copy)]
pub struct Rows<U> {
    pub start: *const U,
    /// Units from a group to the next.
    pub group: isize,
    pub strides: Strides,
}

impl<U> Rows<U> {
    /// Packed rows, for this part of k.
    pub fn packed<K: Kernel<Unit = U>>(packed: *const U, part: &Range<usize>) -> Self {
        let group = (part.len().div_ceil(K::STEP) * K::ROWS * K::PARTS) as isize;
        Self { start: packed, group, strides: (1, K::ROWS as isize) }
    }

    /// The rows of `a` from `row` on where they lie, for this part of k. The units are f32.
    ///
    /// # Safety
    /// The row and the part must lie inside A.
    pub unsafe fn in_place<K: Kernel<Unit = U>>(a: Matrix<f32>, row: usize, part: &Range<usize>) -> Self {
        // SAFETY: the caller's promise.
        let start = unsafe { a.start.offset(row as isize * a.strides.0 + part.start as isize * a.strides.1) };
        Self { start: start.cast(), group: K::ROWS as isize * a.strides.0, strides: a.strides }
    }
}

/// Columns of B as kernels read them, group by group.
#[derive(Clone, Copy)]
pub struct Columns<U> {
    pub start: *const U,
    /// Units from a group to the next.
    pub group: usize,
    /// Units from a step to the next.
    pub stride: usize,
}

impl<U> Columns<U> {
    /// Packed columns, for this part of k.
    pub fn packed<K: Kernel<Unit = U>>(packed: *const U, part: &Range<usize>) -> Self {
        let stride = K::COLUMNS * K::PARTS;
        Self { start: packed, group: part.len().div_ceil(K::STEP) * stride, stride }
    }

    /// The columns of `b` from `column` on where they lie, for this part of k. The units are f32 and rows contiguous.
    ///
    /// # Safety
    /// The column and the part must lie inside B.
    unsafe fn in_place<K: Kernel<Unit = U>>(b: Matrix<f32>, column: usize, part: &Range<usize>) -> Self {
        let stride = b.strides.0.unsigned_abs();
        // SAFETY: the caller's promise.
        let start = unsafe { b.start.add(part.start * stride + column) };
        Self { start: start.cast(), group: K::COLUMNS, stride }
    }
}
