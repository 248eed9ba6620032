//! Columns that are packed once for many products, each of some rows in one thread.

use super::instructions::{Instructions, with};
use super::kernel::{Kernel, Nothing, Side, Unit, block_depth, with_scratch};
use super::loop_nest::Block;
use super::matrix::{Matrix, MatrixMut};
use super::operand::{Columns, Operand, Piece, parts};
use std::any::Any;

/// The columns of one or several B, packed for all of k.
pub struct Prepacked {
    with: Instructions,
    k: usize,
    pieces: Vec<Piece>,
    /// [`Units`] of the kernel of these instructions.
    units: Box<dyn Any + Send + Sync>,
}

/// Units that go back to their pool.
struct Units<U: Unit>(Vec<U>);

impl<U: Unit> Drop for Units<U> {
    fn drop(&mut self) {
        U::pool().give(std::mem::take(&mut self.0))
    }
}

impl Prepacked {
    /// Packs the columns of each B [k, n], given as (matrix, n), in parallel.
    ///
    /// # Safety
    /// The instructions must be there, no extent may be 0, and every element must be valid.
    pub unsafe fn new(with: Instructions, k: usize, b: &[(Matrix<f32>, usize)]) -> Self {
        // SAFETY: the caller's promise.
        unsafe { with!(with, pack(with, k, b)) }
    }

    /// Rows of A that the kernel takes at a time.
    pub fn rows_of_group(&self) -> usize {
        let with = self.with;
        with!(with, rows_of_group())
    }

    /// Cᵢ ← A·Bᵢ or, to accumulate, Cᵢ ← Cᵢ + A·Bᵢ for an A of m rows, in this thread, each C given by its start and the stride between its rows.
    ///
    /// # Safety
    /// m must not be 0, every element that is reached valid, and nothing else may touch those of the C meanwhile.
    pub unsafe fn multiply(&self, m: usize, a: Matrix<f32>, accumulate: bool, c: &[MatrixMut<f32>]) {
        debug_assert_eq!(c.len(), self.pieces.len(), "an output of each B");
        let with = self.with;
        // SAFETY: the caller's promise; the instructions were there when the columns were packed.
        unsafe { with!(with, multiply(self, m, a, accumulate, c)) }
    }
}

/// [`Kernel::ROWS`].
fn rows_of_group<K: Kernel>() -> usize {
    K::ROWS
}

/// [`Prepacked::new`] with this kernel.
///
/// # Safety
/// As there.
unsafe fn pack<K: Kernel>(with: Instructions, k: usize, b: &[(Matrix<f32>, usize)]) -> Prepacked {
    let pieces = Piece::each::<K>(Side::B, b);
    // SAFETY: the caller's promise.
    let units = unsafe { Operand::new(Side::B, &pieces).pack_in_parallel::<K>(&(0..k), block_depth::<K>(k)) };
    Prepacked { with, k, units: Box::new(Units(units)), pieces }
}

/// [`Prepacked::multiply`] with this kernel.
///
/// # Safety
/// As there.
unsafe fn multiply<K: Kernel>(b: &Prepacked, m: usize, a: Matrix<f32>, accumulate: bool, c: &[MatrixMut<f32>]) {
    let (depth, own) = (block_depth::<K>(b.k), [Piece::only(a, m)]);
    let (a, columns) = (Operand::new(Side::A, &own), Operand::new(Side::B, &b.pieces));
    let block_len = columns.packed_len::<K>(columns.lines, depth);
    let Units::<K::Unit>(units) = b.units.downcast_ref().expect("units of the kernel that packed them");
    for (packed, part) in units.chunks_exact(block_len).zip(parts(0..b.k, depth)) {
        let block = Block { a, b: columns, part: &part, accumulate: accumulate || part.start > 0, c };
        // SAFETY: the caller's promise.
        with_scratch(a.own_len::<K>(m, part.len()), |scratch| unsafe {
            let rows = a.rows::<K>(0..m, &part, scratch);
            block.run::<K>((0..m, 0..columns.lines), rows, Columns::packed::<K>(packed.as_ptr(), &part), &mut Nothing);
        });
    }
}
