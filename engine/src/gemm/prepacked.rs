//! Columns that are packed once for many products, each of some rows in one thread.

use super::instructions::{Instructions, with};
use super::kernel::{Kernel, NoBackground, Side, Unit, block_depth, with_scratch};
use super::loop_nest::Block;
use super::matrix::{Matrix, MatrixMut};
use super::operand::{ColumnPanels, Member, Operand, split_range};
use std::any::Any;

/// The columns of one or several B, packed for all of k.
pub struct Prepacked {
    with: Instructions,
    k: usize,
    members: Vec<Member>,
    /// [`Units`] of the kernel for these instructions.
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
    /// Packs the columns of each B [k, n], given as (matrix, n), on all threads.
    ///
    /// # Safety
    /// The instructions must be available, no extent may be 0, and every element must be valid.
    pub unsafe fn new(with: Instructions, k: usize, b: &[(Matrix<f32>, usize)]) -> Self {
        // SAFETY: the caller's promise.
        unsafe { with!(with, pack(with, k, b)) }
    }

    /// Rows of A that the micro-kernel takes at a time.
    pub fn panel_rows(&self) -> usize {
        let with = self.with;
        with!(with, panel_rows())
    }

    /// Cᵢ ← A·Bᵢ or, to accumulate, Cᵢ ← Cᵢ + A·Bᵢ for an A of m rows, on this thread.
    ///
    /// # Safety
    /// m must not be 0. Every element that is reached must be valid, and nothing else may touch those of the C during the call.
    pub unsafe fn multiply(&self, m: usize, a: Matrix<f32>, accumulate: bool, c: &[MatrixMut<f32>]) {
        debug_assert_eq!(c.len(), self.members.len(), "an output of each B");
        let with = self.with;
        // SAFETY: the caller's promise; the instructions were available when the columns were packed.
        unsafe { with!(with, multiply(self, m, a, accumulate, c)) }
    }
}

/// [`Kernel::ROWS`].
fn panel_rows<K: Kernel>() -> usize {
    K::ROWS
}

/// [`Prepacked::new`] with this kernel.
///
/// # Safety
/// As there.
unsafe fn pack<K: Kernel>(with: Instructions, k: usize, b: &[(Matrix<f32>, usize)]) -> Prepacked {
    let members = Member::stack::<K>(Side::B, b);
    // SAFETY: the caller's promise.
    let units = unsafe { Operand::new(Side::B, &members).pack_in_parallel::<K>(&(0..k), block_depth::<K>(k)) };
    Prepacked { with, k, units: Box::new(Units(units)), members }
}

/// [`Prepacked::multiply`] with this kernel.
///
/// # Safety
/// As there.
unsafe fn multiply<K: Kernel>(b: &Prepacked, m: usize, a: Matrix<f32>, accumulate: bool, c: &[MatrixMut<f32>]) {
    let (depth, rows_of_a) = (block_depth::<K>(b.k), [Member::single(a, m)]);
    let (a, columns) = (Operand::new(Side::A, &rows_of_a), Operand::new(Side::B, &b.members));
    let block_len = columns.packed_len::<K>(columns.lines, depth);
    let Units::<K::Unit>(units) = b.units.downcast_ref().expect("units of the kernel that packed them");
    for (packed, k_block) in units.chunks_exact(block_len).zip(split_range(0..b.k, depth)) {
        let block = Block { a, b: columns, k_block: &k_block, accumulate: accumulate || k_block.start > 0, c };
        // SAFETY: the caller's promise.
        with_scratch(a.own_packed_len::<K>(m, k_block.len()), |scratch| unsafe {
            let rows = a.rows::<K>(0..m, &k_block, scratch);
            let packed = ColumnPanels::packed::<K>(packed.as_ptr(), &k_block);
            block.multiply::<K>((0..m, 0..columns.lines), rows, packed, &mut NoBackground);
        });
    }
}
