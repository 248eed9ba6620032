//! Operands as lines along k: which matrices they come from, and their panels, packed or read in place.

use super::kernel::{Kernel, Side};
use super::matrix::{Matrix, Strides};
use crate::buffer_pool::Pooled;
use crate::threads::parallel_loop::InTasks;
use std::ops::Range;

/// Bytes of packed panels that are worth a task. (Tests see small products cut as large ones are.)
const PACK_BYTES: usize = if cfg!(test) { 1 << 13 } else { 1 << 14 };

/// Cuts a range into ranges of `len`, of which the last may be shorter.
pub fn split_range(range: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(len.max(1)).map(move |from| from..(from + len).min(end))
}

/// One matrix of an operand.
#[derive(Clone, Copy)]
pub struct Member {
    /// [lines, k]: A, or B transposed.
    pub matrix: Matrix<f32>,
    /// The number of its lines.
    pub lines: usize,
    /// The line of the operand that is its first: the start of a panel.
    first_line: usize,
}

impl Member {
    /// The one matrix of an operand.
    pub fn single(matrix: Matrix<f32>, lines: usize) -> Self {
        Self { matrix, lines, first_line: 0 }
    }

    /// Matrices one after another, each from the start of a panel on.
    pub fn stack<K: Kernel>(side: Side, matrices: &[(Matrix<f32>, usize)]) -> Vec<Self> {
        let place = |first_line: &mut usize, &(matrix, lines): &(Matrix<f32>, usize)| {
            let member = Self { matrix: if side == Side::A { matrix } else { matrix.t() }, lines, first_line: *first_line };
            *first_line += lines.next_multiple_of(side.panel_lines::<K>());
            Some(member)
        };
        matrices.iter().scan(0, place).collect()
    }
}

/// An operand: the lines of one matrix, or of several one after another.
#[derive(Clone, Copy)]
pub struct Operand<'a> {
    pub side: Side,
    pub members: &'a [Member],
    /// The number of lines, with those that pad the panels between the members.
    pub lines: usize,
}

impl<'a> Operand<'a> {
    pub fn new(side: Side, members: &'a [Member]) -> Self {
        let last = &members[members.len() - 1];
        Self { side, members, lines: last.first_line + last.lines }
    }

    /// The member that has a line, and the line's number in it.
    #[inline]
    pub fn locate(self, line: usize) -> (usize, usize) {
        let is_single = self.members.len() == 1;
        let member = if is_single { 0 } else { self.members.iter().rposition(|member| member.first_line <= line).unwrap_or(0) };
        (member, line - self.members[member].first_line)
    }

    /// Lines of a panel.
    pub fn panel_lines<K: Kernel>(self) -> usize {
        self.side.panel_lines::<K>()
    }

    /// True for an A that is read in place.
    pub fn is_in_place<K: Kernel>(self) -> bool {
        self.side == Side::A && self.members.len() == 1 && K::reads_rows_in_place(self.members[0].matrix.strides)
    }

    /// True for a B that a product in one thread reads in place.
    fn has_columns_in_place<K: Kernel>(self) -> bool {
        self.side == Side::B && self.members.len() == 1 && K::reads_columns_in_place(self.members[0].matrix.t().strides, self.lines)
    }

    /// Units of this many packed lines for an inner extent of k.
    pub fn packed_len<K: Kernel>(self, lines: usize, k: usize) -> usize {
        lines.next_multiple_of(self.panel_lines::<K>()) * k.div_ceil(K::STEP) * K::PARTS
    }

    /// Units that a task packs of its own lines: none where they are read in place.
    pub fn own_packed_len<K: Kernel>(self, lines: usize, k: usize) -> usize {
        if self.is_in_place::<K>() { 0 } else { self.packed_len::<K>(lines, k) }
    }

    /// Units that [`Operand::columns`] packs of these lines.
    pub fn columns_packed_len<K: Kernel>(self, lines: usize, k: usize) -> usize {
        if self.has_columns_in_place::<K>() { 0 } else { self.packed_len::<K>(lines, k) }
    }

    /// Packs these lines for a block of k, panel by panel. Where each row of memory holds one number of every line, it goes band by band of
    /// k, so that each row is read once for all panels.
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    pub unsafe fn pack<K: Kernel>(self, lines: Range<usize>, k_block: Range<usize>, packed: &mut [K::Unit]) {
        let panel_len = self.packed_len::<K>(1, k_block.len());
        let are_interleaved = self.members.iter().all(|member| member.matrix.strides.0 == 1);
        for band in split_range(k_block.clone(), if are_interleaved { K::BAND } else { k_block.len() }) {
            let place = self.packed_len::<K>(1, band.start - k_block.start);
            let len = self.packed_len::<K>(1, band.len());
            for (number, packed) in packed.chunks_exact_mut(panel_len).enumerate() {
                let (member, line) = self.locate(lines.start + number * self.panel_lines::<K>());
                let Member { matrix, lines, .. } = self.members[member];
                let extents = (self.panel_lines::<K>().min(lines - line), band.len());
                // SAFETY: the caller's promise: the panel lies inside the operand.
                unsafe {
                    let start = matrix.start.offset(line as isize * matrix.strides.0 + band.start as isize * matrix.strides.1);
                    K::pack(self.side, Matrix { start, ..matrix }, extents, &mut packed[place..place + len]);
                }
            }
        }
    }

    /// Rows of A for a block of k: in place, or packed into `scratch`, which has [`Operand::own_packed_len`].
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    pub unsafe fn rows<K: Kernel>(self, lines: Range<usize>, k_block: &Range<usize>, scratch: &mut [K::Unit]) -> RowPanels<K::Unit> {
        // SAFETY: the caller's promise.
        unsafe {
            if self.is_in_place::<K>() {
                return RowPanels::in_place::<K>(self.members[0].matrix, lines.start, k_block);
            }
            self.pack::<K>(lines, k_block.clone(), scratch);
        }
        RowPanels::packed::<K>(scratch.as_ptr(), k_block)
    }

    /// Columns of B for a block of k: in place, or packed into `scratch`, which has [`Operand::columns_packed_len`].
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    pub unsafe fn columns<K: Kernel>(self, lines: Range<usize>, k_block: &Range<usize>, scratch: &mut [K::Unit]) -> ColumnPanels<K::Unit> {
        // SAFETY: the caller's promise.
        unsafe {
            if self.has_columns_in_place::<K>() {
                return ColumnPanels::in_place::<K>(self.members[0].matrix.t(), lines.start, k_block);
            }
            self.pack::<K>(lines, k_block.clone(), scratch);
        }
        ColumnPanels::packed::<K>(scratch.as_ptr(), k_block)
    }

    /// Packs all lines for a part of k on all threads, in blocks of `depth`. Each block takes the space of a whole one.
    ///
    /// # Safety
    /// As [`Kernel::pack`].
    pub unsafe fn pack_in_parallel<K: Kernel>(self, k_part: &Range<usize>, depth: usize) -> Vec<K::Unit> {
        let block_len = self.packed_len::<K>(self.lines, depth);
        let mut packed = K::Unit::pool().take(k_part.len().div_ceil(depth) * block_len);
        let mut tasks = Vec::new();
        for (k_block, packed) in split_range(k_part.clone(), depth).zip(packed.chunks_exact_mut(block_len)) {
            let packed = &mut packed[..self.packed_len::<K>(self.lines, k_block.len())];
            let panel_len = self.packed_len::<K>(1, k_block.len());
            let panels = (PACK_BYTES / (panel_len * size_of::<K::Unit>())).max(1);
            let lines = split_range(0..self.lines, panels * self.panel_lines::<K>());
            tasks.extend(lines.zip(packed.chunks_mut(panels * panel_len)).map(|(lines, packed)| (lines, k_block.clone(), packed)));
        }
        // SAFETY: the caller's promise.
        tasks.into_iter().for_each_task(|(lines, k_block, packed)| unsafe { self.pack::<K>(lines, k_block, packed) });
        packed
    }
}

/// Rows of A as the micro-kernel reads them, panel by panel.
#[derive(Clone, Copy)]
pub struct RowPanels<U> {
    pub start: *const U,
    /// Units from a panel to the next.
    pub panel_stride: isize,
    /// Strides between rows and between steps.
    pub strides: Strides,
}

impl<U> RowPanels<U> {
    /// Packed rows for this block of k.
    pub fn packed<K: Kernel<Unit = U>>(packed: *const U, k_block: &Range<usize>) -> Self {
        let panel_stride = (k_block.len().div_ceil(K::STEP) * K::ROWS * K::PARTS) as isize;
        Self { start: packed, panel_stride, strides: (1, K::ROWS as isize) }
    }

    /// The rows of `a` from `row` on, in place, for this block of k. The units are f32.
    ///
    /// # Safety
    /// The row and the block must lie inside A.
    pub unsafe fn in_place<K: Kernel<Unit = U>>(a: Matrix<f32>, row: usize, k_block: &Range<usize>) -> Self {
        // SAFETY: the caller's promise.
        let start = unsafe { a.start.offset(row as isize * a.strides.0 + k_block.start as isize * a.strides.1) };
        Self { start: start.cast(), panel_stride: K::ROWS as isize * a.strides.0, strides: a.strides }
    }
}

/// Columns of B as the micro-kernel reads them, panel by panel.
#[derive(Clone, Copy)]
pub struct ColumnPanels<U> {
    pub start: *const U,
    /// Units from a panel to the next.
    pub panel_stride: usize,
    /// Units from a step to the next.
    pub step_stride: usize,
}

impl<U> ColumnPanels<U> {
    /// Packed columns for this block of k.
    pub fn packed<K: Kernel<Unit = U>>(packed: *const U, k_block: &Range<usize>) -> Self {
        let step_stride = K::COLUMNS * K::PARTS;
        Self { start: packed, panel_stride: k_block.len().div_ceil(K::STEP) * step_stride, step_stride }
    }

    /// The columns of `b` from `column` on, in place, for this block of k. The units are f32 and the rows contiguous.
    ///
    /// # Safety
    /// The column and the block must lie inside B.
    unsafe fn in_place<K: Kernel<Unit = U>>(b: Matrix<f32>, column: usize, k_block: &Range<usize>) -> Self {
        let step_stride = b.strides.0.unsigned_abs();
        // SAFETY: the caller's promise.
        let start = unsafe { b.start.add(k_block.start * step_stride + column) };
        Self { start: start.cast(), panel_stride: K::COLUMNS, step_stride }
    }
}
