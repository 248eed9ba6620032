//! Columns that are packed once for many products, each of some rows in one thread.

use super::avx2::Avx2;
use super::avx512::Avx512;
use super::operand::{Columns, Operand, Piece};
use super::rounded::Pairs;
use super::{Amx, Block, Dot, Instructions, Kernel, Nothing, Output, Side, Split, Unit, block_depth, parts, with, with_scratch};
use crate::backend::cpu::matmul::Matrix;
use crate::backend::cpu::pool::Pooled;

/// The columns of one or several B, packed for all of k.
pub struct Prepacked {
    with: Instructions,
    k: usize,
    pieces: Vec<Piece>,
    units: Units,
}

/// What they are packed in.
enum Units {
    Single(Vec<f32>),
    Pairs(Vec<Pairs>),
}

impl Drop for Units {
    fn drop(&mut self) {
        match self {
            Self::Single(units) => f32::pool().give(std::mem::take(units)),
            Self::Pairs(units) => Pairs::pool().give(std::mem::take(units)),
        }
    }
}

/// Units that may be kept packed.
trait Kept: Unit {
    fn keep(units: Vec<Self>) -> Units;
    fn of(units: &Units) -> &[Self];
}

impl Kept for f32 {
    fn keep(units: Vec<f32>) -> Units {
        Units::Single(units)
    }
    fn of(units: &Units) -> &[f32] {
        match units {
            Units::Single(units) => units,
            Units::Pairs(_) => unreachable!("units of another kernel"),
        }
    }
}

impl Kept for Pairs {
    fn keep(units: Vec<Pairs>) -> Units {
        Units::Pairs(units)
    }
    fn of(units: &Units) -> &[Pairs] {
        match units {
            Units::Pairs(units) => units,
            Units::Single(_) => unreachable!("units of another kernel"),
        }
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
    pub unsafe fn multiply(&self, m: usize, a: Matrix<f32>, accumulate: bool, c: &[(*mut f32, usize)]) {
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
unsafe fn pack<K: Kernel<Unit: Kept>>(with: Instructions, k: usize, b: &[(Matrix<f32>, usize)]) -> Prepacked {
    let pieces = Piece::each::<K>(Side::B, b);
    // SAFETY: the caller's promise.
    let units = unsafe { Operand::new(Side::B, &pieces).pack_in_parallel::<K>(&(0..k), block_depth::<K>(k)) };
    Prepacked { with, k, units: K::Unit::keep(units), pieces }
}

/// [`Prepacked::multiply`] with this kernel.
///
/// # Safety
/// As there.
unsafe fn multiply<K: Kernel<Unit: Kept>>(b: &Prepacked, m: usize, a: Matrix<f32>, accumulate: bool, c: &[(*mut f32, usize)]) {
    let c: Vec<Output> = c.iter().map(|&(start, stride)| Output { start, stride }).collect();
    let (depth, own) = (block_depth::<K>(b.k), [Piece::only(a, m)]);
    let (a, columns) = (Operand::new(Side::A, &own), Operand::new(Side::B, &b.pieces));
    let block_len = columns.packed_len::<K>(columns.lines, depth);
    for (packed, part) in K::Unit::of(&b.units).chunks_exact(block_len).zip(parts(0..b.k, depth)) {
        let block = Block { a, b: columns, part: &part, accumulate: accumulate || part.start > 0, c: &c };
        // SAFETY: the caller's promise.
        with_scratch(a.own_len::<K>(m, part.len()), |scratch| unsafe {
            let rows = a.rows::<K>(0..m, &part, scratch);
            block.run::<K>((0..m, 0..columns.lines), rows, Columns::packed::<K>(packed.as_ptr(), &part), &mut Nothing);
        });
    }
}
