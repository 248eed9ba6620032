//! What a set of instructions brings to the loop nest: the micro-kernel, and the packing that it reads.
//!
//! A micro-kernel multiplies a panel of A by a panel of B for a block of k. It keeps the tile of C in registers. Each kernel says
//! how large its panels are, how they are packed, and how much work is worth a task; `loop_nest.rs` does the rest.

use super::matrix::{Matrix, Strides};
use crate::buffer_pool::Pooled;
use std::cell::RefCell;
use std::thread::LocalKey;

/// What a packed panel is made of.
pub trait Unit: Pooled + Copy + Default + Send + Sync {
    /// A buffer of each thread.
    fn scratch() -> &'static LocalKey<RefCell<Vec<Self>>>;
}

/// An operand of the product A·B.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    A,
    B,
}

impl Side {
    /// Lines of a panel: rows of A or columns of B.
    pub fn panel_lines<K: Kernel>(self) -> usize {
        match self {
            Self::A => K::ROWS,
            Self::B => K::COLUMNS,
        }
    }
}

/// A set of instructions that multiplies packed panels.
pub trait Kernel {
    /// What a packed panel is made of: [`Kernel::PARTS`] units for each line and [`Kernel::STEP`] of k.
    type Unit: Unit;
    /// Lines of a panel of A (MR in the BLIS paper).
    const ROWS: usize;
    /// Lines of a panel of B (NR).
    const COLUMNS: usize;
    /// The extent along k of a unit. Packed panels are padded to a whole number of steps.
    const STEP: usize;
    /// The largest extent of a block of k (KC), a multiple of the step.
    const DEPTH: usize;
    /// The extent along k that is packed for all panels before the next, where each row of memory holds one number of every line. A
    /// multiple of the step.
    const BAND: usize;
    /// The least multiply-adds of a task, about.
    const TASK_WORK: usize;
    /// Units for each line and step.
    const PARTS: usize = 1;
    /// True if the sums of a block of k start at zero and are added to C at the end. Blocks of k that are formed apart and added in order
    /// then give the same bits.
    const SUMS_FROM_ZERO: bool;
    /// Bytes that a task packs for itself at a time (MC·KC), if the shared operand has `_shared_bytes` in a block of k. They fit in L2.
    fn own_block_bytes(_shared_bytes: usize) -> usize {
        if cfg!(test) { 1 << 15 } else { 1 << 17 }
    }

    /// True if this processor has the instructions.
    fn is_available() -> bool;

    /// True if an A with these strides is read in place, where each task has its own rows of it. Only kernels with units of f32 may.
    fn reads_rows_in_place(_strides: Strides) -> bool {
        false
    }

    /// True if a B with these strides and `_n` columns is read in place by a product in one thread. Only kernels with units of f32 may.
    fn reads_columns_in_place(_strides: Strides, _n: usize) -> bool {
        false
    }

    /// Packs one panel of an operand, given as a matrix [lines, k] of these extents. What lies past the extents is zero, or is not read by
    /// [`Kernel::multiply_tile`].
    ///
    /// # Safety
    /// The instructions must be available and the elements valid.
    unsafe fn pack(side: Side, lines: Matrix<f32>, extents: (usize, usize), packed: &mut [Self::Unit]);

    /// True if a panel can be packed in pieces, between the products of other panels. Then the next three items are there.
    const PACKS_IN_PIECES: bool = false;

    /// What [`Kernel::pack_piece`] keeps from piece to piece.
    type PackState: Default;

    /// The number of pieces that packing one panel of these lines, for an inner extent of k, is cut into.
    fn piece_count(_side: Side, _lines: Matrix<f32>, _k: usize) -> usize {
        unreachable!("a kernel that packs at once")
    }

    /// One piece of [`Kernel::pack`].
    ///
    /// # Safety
    /// As [`Kernel::pack`]. The pieces of a panel come in order, and nothing else changes `_packed` and the state between them.
    unsafe fn pack_piece(
        _number: usize,
        _side: Side,
        _lines: Matrix<f32>,
        _extents: (usize, usize),
        _packed: &mut [Self::Unit],
        _state: &mut Self::PackState,
    ) {
        unreachable!("a kernel that packs at once")
    }

    /// Prepares this thread for [`Kernel::multiply_tile`].
    ///
    /// # Safety
    /// The instructions must be available.
    unsafe fn begin() {}

    /// Undoes [`Kernel::begin`].
    ///
    /// # Safety
    /// [`Kernel::begin`] must come first.
    unsafe fn end() {}

    /// C ← A·B or, to accumulate, C ← C + A·B, for the first `extents` rows and columns of a tile, at most a panel of each.
    ///
    /// # Safety
    /// [`Kernel::begin`] must come first and all elements of the tile be valid.
    unsafe fn multiply_tile(extents: (usize, usize), tile: Tile<Self::Unit>);

    /// [`Kernel::multiply_tile`], with background work between the products where that costs no time.
    ///
    /// # Safety
    /// As there.
    #[inline]
    unsafe fn multiply_tile_with(extents: (usize, usize), tile: Tile<Self::Unit>, _background: &mut impl Background) {
        // SAFETY: the caller's promise.
        unsafe { Self::multiply_tile(extents, tile) }
    }
}

/// Work that a kernel runs piece by piece between its products.
///
/// # Safety
/// Neither method may use AMX tiles, or wait for other tasks, which might: the kernel keeps its sums in them.
pub unsafe trait Background {
    /// Finishes the work that these panels need, which are multiplied next. Panels are counted from the first of the block.
    fn finish_panels(&mut self, _a_panel: usize, _b_panel: usize) {}
    /// Runs one piece, if any is left.
    fn run_piece(&mut self) {}
}

/// No background work.
pub struct NoBackground;
// SAFETY: it does nothing.
unsafe impl Background for NoBackground {}

/// One call of the micro-kernel: two panels and the tile of C.
#[derive(Clone, Copy)]
pub struct Tile<U> {
    /// Units along k.
    pub steps: usize,
    /// A panel of A, packed or in place, with the strides of its rows and steps.
    pub a: *const U,
    pub a_strides: Strides,
    /// A panel of B: packed, or in place for a kernel that [`Kernel::reads_columns_in_place`].
    pub b: *const U,
    /// Units of B from a step to the next: those of a panel, where it is packed.
    pub b_stride: usize,
    pub c: *mut f32,
    pub c_stride: usize,
    pub accumulate: bool,
}

/// Runs `f` with a scratch buffer of this thread, with unspecified contents.
pub fn with_scratch<U: Unit, R>(len: usize, f: impl FnOnce(&mut [U]) -> R) -> R {
    if len == 0 {
        return f(&mut []);
    }
    let mut buffer = U::scratch().take();
    if buffer.len() < len {
        buffer.resize(len, U::default());
    }
    let result = f(&mut buffer[..len]);
    U::scratch().set(buffer);
    result
}

/// The extent of the equal blocks that k is cut into, each at most [`Kernel::DEPTH`].
pub fn block_depth<K: Kernel>(k: usize) -> usize {
    k.div_ceil(k.div_ceil(K::DEPTH).max(1)).next_multiple_of(K::STEP)
}
