//! What a kernel is: the instructions that multiply packed groups, and how it wants them packed.

use super::matrix::{Matrix, Strides};
use crate::buffer_pool::Pooled;
use std::cell::RefCell;
use std::thread::LocalKey;

/// What a packed operand is made of.
pub trait Unit: Pooled + Copy + Default + Send + Sync {
    /// A buffer of each thread.
    fn scratch() -> &'static LocalKey<RefCell<Vec<Self>>>;
}

/// An operand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    A,
    B,
}

impl Side {
    /// Lines of a group.
    pub fn group<K: Kernel>(self) -> usize {
        match self {
            Self::A => K::ROWS,
            Self::B => K::COLUMNS,
        }
    }
}

/// What the products are made with.
pub trait Kernel {
    /// What it reads of packed operands: [`Kernel::PARTS`] for each line and [`Kernel::STEP`] of k.
    type Unit: Unit;
    /// Lines of a group of A.
    const ROWS: usize;
    /// Lines of a group of B, a panel.
    const COLUMNS: usize;
    /// The inner extent of a unit, of which packed groups have a whole number.
    const STEP: usize;
    /// The inner extent of a block at most, a multiple of the step.
    const DEPTH: usize;
    /// The inner extent that is packed for all groups before the next where lines lie next to each other, a multiple of the step.
    const BAND: usize;
    /// A task has at least about this many multiply-adds.
    const TASK_WORK: usize;
    /// Units for each line and step.
    const PARTS: usize = 1;
    /// Are the sums of a block of k formed from zero and then added to C? Then parts of k that are formed apart and added in order give the same
    /// bits.
    const SUMS_APART: bool;
    /// What [`Kernel::pack_piece`] keeps from piece to piece.
    type PackState: Default;
    /// Bytes that a task packs for itself at a time, of a product whose shared operand has so many in a part of k: they stay in the second-level cache.
    fn own_bytes(_shared_bytes: usize) -> usize {
        if cfg!(test) { 1 << 15 } else { 1 << 17 }
    }

    /// Are the instructions there?
    fn available() -> bool;

    /// Is an A with these strides read where it lies, if each task has its own rows of it? Only kernels with units of f32 may.
    fn reads_in_place(_strides: Strides) -> bool {
        false
    }

    /// Is a B with these strides and n columns read where it lies by a product that is not cut? Only kernels with units of f32 may.
    fn reads_columns_in_place(_strides: Strides, _n: usize) -> bool {
        false
    }

    /// Packs one group of an operand, given as a matrix [lines, k] of these extents. What lies past the extents is not read by
    /// [`Kernel::sums`], or is zero.
    ///
    /// # Safety
    /// The instructions must be there and the elements valid.
    unsafe fn pack(side: Side, lines: Matrix<f32>, extents: (usize, usize), packed: &mut [Self::Unit]);

    /// May packing be done in pieces, between the products of what is packed already? Then there are the next two.
    const IN_PIECES: bool = false;

    /// How many pieces packing one group of these lines, for an inner extent of k, is cut into.
    fn pieces(_side: Side, _lines: Matrix<f32>, _k: usize) -> usize {
        unreachable!("packed at once")
    }

    /// One piece of [`Kernel::pack`].
    ///
    /// # Safety
    /// As [`Kernel::pack`]; the pieces of a group in order, with nothing else done to `packed` and the state between them.
    unsafe fn pack_piece(
        _number: usize,
        _side: Side,
        _lines: Matrix<f32>,
        _extents: (usize, usize),
        _packed: &mut [Self::Unit],
        _state: &mut Self::PackState,
    ) {
        unreachable!("packed at once")
    }

    /// What has to be done in a thread before its [`Kernel::sums`].
    ///
    /// # Safety
    /// The instructions must be there.
    unsafe fn begin() {}

    /// What has to be done in a thread after its [`Kernel::sums`].
    ///
    /// # Safety
    /// [`Kernel::begin`] must come first.
    unsafe fn end() {}

    /// C ← A·B or, to accumulate, C ← C + A·B, for these rows and columns of a tile, at most a group of each.
    ///
    /// # Safety
    /// [`Kernel::begin`] must come first and all elements of the tile be valid.
    unsafe fn sums(extents: (usize, usize), tile: Tile<Self::Unit>);

    /// [`Kernel::sums`], with pieces of something else done where they cost nothing.
    ///
    /// # Safety
    /// As there.
    #[inline]
    unsafe fn sums_while(extents: (usize, usize), tile: Tile<Self::Unit>, _meanwhile: &mut impl Meanwhile) {
        // SAFETY: the caller's promise.
        unsafe { Self::sums(extents, tile) }
    }
}

/// What is done piece by piece while products are under way.
///
/// # Safety
/// Neither may multiply by tiles or wait for other tasks, which might: the products keep what is in the tiles.
pub unsafe trait Meanwhile {
    /// Leaves these groups packed, which are multiplied next, counted from the first of the lines of each operand that are multiplied.
    fn before(&mut self, _a_group: usize, _b_group: usize) {}
    /// Does a piece, if any is left.
    fn piece(&mut self) {}
}

/// Nothing to do.
pub struct Nothing;
// SAFETY: it does nothing.
unsafe impl Meanwhile for Nothing {}

/// What a kernel works on.
#[derive(Clone, Copy)]
pub struct Tile<U> {
    /// Units along k.
    pub steps: usize,
    /// A group of A, with the strides of its rows and steps: packed, or where it lies.
    pub a: *const U,
    pub a_strides: Strides,
    /// A group of B: packed, or where it lies for a kernel that [`Kernel::reads_columns_in_place`].
    pub b: *const U,
    /// Units of B from a step to the next, those of a group where it is packed.
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

/// The inner extent of the equal blocks that k is cut into.
pub fn block_depth<K: Kernel>(k: usize) -> usize {
    k.div_ceil(k.div_ceil(K::DEPTH).max(1)).next_multiple_of(K::STEP)
}
