//! The loop nest.

use super::kernel::{Kernel, Meanwhile, Nothing, Side, Tile, Unit, with_scratch};
use super::matrix::MatrixMut;
use super::operand::{Columns, Operand, Rows, parts};
use super::pack_ahead::{Ahead, OwnBlock};
use crate::threads::parallel_loop::InTasks;
use rayon::prelude::*;
use std::ops::Range;

/// Bytes of the shared operand that are packed at a time. (Tests see small products cut as large ones are.)
pub const SHARED_BYTES: usize = if cfg!(test) { 1 << 16 } else { 1 << 20 };

/// A product for a part of k, with one operand packed.
pub struct Product<'a, U> {
    pub shared: Operand<'a>,
    pub own: Operand<'a>,
    pub part: Range<usize>,
    pub depth: usize,
    pub packed: &'a [U],
    pub accumulate: bool,
    pub c: &'a [MatrixMut<f32>],
}

/// How many lines a task multiplies, of the shared and of the own operand, and how many of its own lines it packs at a time.
pub struct Cut {
    shared: usize,
    own: usize,
    block: usize,
}

impl<U: Unit> Product<'_, U> {
    /// Cuts it into tasks and runs them.
    ///
    /// # Safety
    /// As [`serial`].
    pub unsafe fn run<K: Kernel<Unit = U>>(&self) {
        let cut = self.cut::<K>();
        let own_tasks = self.own.lines.div_ceil(cut.own);
        let tasks = own_tasks * self.shared.lines.div_ceil(cut.shared);
        (0..tasks).into_par_iter().for_each_task(|task| {
            let range = |number: usize, size: usize, lines: usize| number * size..((number + 1) * size).min(lines);
            let shared = range(task / own_tasks, cut.shared, self.shared.lines);
            let own = range(task % own_tasks, cut.own, self.own.lines);
            // SAFETY: the caller's promise; tasks write disjoint blocks of C.
            unsafe { self.task::<K>(&shared, own, cut.block) }
        });
    }

    /// The own lines are cut first, and the shared ones where there would be too few tasks, because tasks that share own lines pack them each for itself.
    fn cut<K: Kernel>(&self) -> Cut {
        let (shared_group, own_group) = (self.shared.group::<K>(), self.own.group::<K>());
        let worthwhile = self.shared.lines * self.part.len() * self.own.lines / K::TASK_WORK;
        let threads = rayon::current_num_threads();
        let wanted = worthwhile.clamp(1, 4 * threads);
        let own = self.own.lines.div_ceil(own_group).div_ceil(wanted) * own_group;
        let block = self.block_lines::<K>(own);
        let shared_tasks = wanted.min(2 * threads).div_ceil(self.own.lines.div_ceil(own));
        let shared = self.shared.lines.div_ceil(shared_group).div_ceil(shared_tasks) * shared_group;
        Cut { shared, own, block }
    }

    /// How many own lines a task that has so many packs at a time.
    pub fn block_lines<K: Kernel>(&self, own: usize) -> usize {
        let shared_bytes = self.shared.packed_len::<K>(self.shared.lines, self.depth) * size_of::<K::Unit>();
        let most = K::own_bytes(shared_bytes) / (self.own.packed_len::<K>(1, self.depth) * size_of::<K::Unit>());
        let group = self.own.group::<K>();
        own.div_ceil(group).min(most).max(1) * group
    }

    /// Multiplies these shared lines by these own ones, of which so many are packed at a time.
    ///
    /// # Safety
    /// As [`serial`], for the block of C of these lines.
    pub unsafe fn task<K: Kernel<Unit = U>>(&self, shared: &Range<usize>, own: Range<usize>, block: usize) {
        let own_parts = |lines: Range<usize>| parts(self.part.clone(), self.depth).map(move |part| OwnBlock { lines: lines.clone(), part });
        let blocks: Vec<OwnBlock> = parts(own, block).flat_map(own_parts).collect();
        let shared_len = |lines: usize, k: usize| self.shared.packed_len::<K>(lines, k);
        let packed_of_part = |part: &Range<usize>| {
            let packed = &self.packed[(part.start - self.part.start) / self.depth * shared_len(self.shared.lines, self.depth)..];
            packed[shared_len(shared.start, part.len())..][..shared_len(shared.len(), part.len())].as_ptr()
        };
        let (a, b) = if self.own.side == Side::A { (self.own, self.shared) } else { (self.shared, self.own) };
        let slot = self.own.own_len::<K>(blocks[0].lines.len(), blocks[0].part.len());
        // SAFETY: the caller's promise; two slots are there if blocks need one each.
        with_scratch::<K::Unit, _>(if K::IN_PIECES && blocks.len() > 1 { 2 * slot } else { slot }, |scratch| unsafe {
            let start: *mut K::Unit = scratch.as_mut_ptr();
            let second = if scratch.len() > slot { start.add(slot) } else { start };
            let mut ahead = Ahead::<K>::new(self.own, &blocks, [start, second]);
            for (number, OwnBlock { lines, part }) in blocks.iter().enumerate() {
                let block = Block { a, b, part, accumulate: self.accumulate || part.start > self.part.start, c: self.c };
                let shared_units = packed_of_part(part);
                if self.own.in_place::<K>() {
                    let rows = Rows::in_place::<K>(self.own.pieces[0].matrix, lines.start, part);
                    block.run::<K>((lines.clone(), shared.clone()), rows, Columns::packed::<K>(shared_units, part), &mut Nothing);
                    continue;
                }
                let own_units = ahead.begin_block(number);
                let (ranges, rows, columns) = match self.own.side {
                    Side::A => ((lines.clone(), shared.clone()), own_units, shared_units),
                    Side::B => ((shared.clone(), lines.clone()), shared_units, own_units),
                };
                block.run::<K>(ranges, Rows::packed::<K>(rows, part), Columns::packed::<K>(columns, part), &mut ahead);
            }
        });
    }
}

/// What is multiplied at a time: lines of both operands for a part of k.
pub struct Block<'a> {
    pub a: Operand<'a>,
    pub b: Operand<'a>,
    pub part: &'a Range<usize>,
    pub accumulate: bool,
    /// The output of each piece of A or of B.
    pub c: &'a [MatrixMut<f32>],
}

impl Block<'_> {
    /// C[rows, columns] ← A[rows, part]·B[part, columns] or, to accumulate, that plus C.
    ///
    /// # Safety
    /// As [`serial`].
    pub unsafe fn run<K: Kernel>(
        &self,
        (rows, columns): (Range<usize>, Range<usize>),
        a: Rows<K::Unit>,
        b: Columns<K::Unit>,
        meanwhile: &mut impl Meanwhile,
    ) {
        let steps = self.part.len().div_ceil(K::STEP);
        // SAFETY: the instructions are there.
        unsafe { K::begin() };
        for (a_group, row) in rows.step_by(K::ROWS).enumerate() {
            let (a_piece, row) = self.a.piece(row);
            // SAFETY: the caller's promise: the groups and the block of C lie inside A, B and C.
            let (a_start, a_strides) = unsafe { (a.start.offset(a_group as isize * a.group), a.strides) };
            for (b_group, column) in columns.clone().step_by(K::COLUMNS).enumerate() {
                meanwhile.before(a_group, b_group);
                let (b_piece, column) = self.b.piece(column);
                let extents = (K::ROWS.min(self.a.pieces[a_piece].lines - row), K::COLUMNS.min(self.b.pieces[b_piece].lines - column));
                // One of the operands has one piece.
                let MatrixMut { start, row_stride: stride } = self.c[a_piece + b_piece];
                // SAFETY: as above.
                unsafe {
                    let (b_start, c) = (b.start.add(b_group * b.group), start.add(row * stride + column));
                    let tile = Tile {
                        steps,
                        a: a_start,
                        a_strides,
                        b: b_start,
                        b_stride: b.stride,
                        c,
                        c_stride: stride,
                        accumulate: self.accumulate,
                    };
                    K::sums_while(extents, tile, meanwhile);
                }
            }
        }
        // SAFETY: begun above.
        unsafe { K::end() };
    }
}
