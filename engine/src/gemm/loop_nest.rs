//! The loops around the micro-kernel. Their numbers are those of the pseudo-code in `gemm/mod.rs`.

use super::kernel::{Background, Kernel, NoBackground, Side, Tile, Unit, with_scratch};
use super::matrix::MatrixMut;
use super::operand::{ColumnPanels, Operand, RowPanels, split_range};
use super::pack_ahead::{OwnBlock, PackAhead};
use crate::buffer_pool::Pooled;
use crate::threads::parallel_loop::run_tasks;
use std::ops::Range;

/// Bytes of the shared operand that are packed at a time. They stay in L2 until all tasks have read them. (Tests see small products cut as
/// large ones are.)
const SHARED_BYTES: usize = if cfg!(test) { 1 << 16 } else { 1 << 20 };

/// C ← A·B or, to accumulate, C ← C + A·B on all threads, for blocks of k of this depth. Each member of the operand that has several has an
/// output.
///
/// # Safety
/// As [`serial`](super::multiply::serial).
pub unsafe fn multiply_on_all_threads<K: Kernel>(
    (shared, own): (Operand<'_>, Operand<'_>),
    k: usize,
    depth: usize,
    accumulate: bool,
    c: &[MatrixMut<f32>],
) {
    let block_len = shared.packed_len::<K>(shared.lines, depth);
    let blocks = SHARED_BYTES / (block_len * size_of::<K::Unit>());
    // Loop 4a: parts of k.
    for k_part in split_range(0..k, blocks.max(1) * depth) {
        // SAFETY: the caller's promise.
        unsafe {
            let packed = shared.pack_in_parallel::<K>(&k_part, depth);
            let accumulate = accumulate || k_part.start > 0;
            PackedProduct { shared, own, k_part, depth, packed: &packed, accumulate, c }.run_tasks::<K>();
            K::Unit::pool().give(packed);
        }
    }
}

/// A product for a part of k, with the shared operand packed.
pub struct PackedProduct<'a, U> {
    pub shared: Operand<'a>,
    pub own: Operand<'a>,
    pub k_part: Range<usize>,
    /// The extent of a block of k.
    pub depth: usize,
    /// The shared operand, block by block of k.
    pub packed: &'a [U],
    pub accumulate: bool,
    pub c: &'a [MatrixMut<f32>],
}

/// Lines that a task multiplies, and own lines that it packs at a time.
struct TaskLines {
    shared: usize,
    own: usize,
    own_block: usize,
}

impl<U: Unit> PackedProduct<'_, U> {
    /// Cuts the product into tasks and runs them.
    ///
    /// # Safety
    /// As [`serial`](super::multiply::serial).
    unsafe fn run_tasks<K: Kernel<Unit = U>>(&self) {
        let lines = self.task_lines::<K>();
        let own_tasks = self.own.lines.div_ceil(lines.own);
        let tasks = own_tasks * self.shared.lines.div_ceil(lines.shared);
        // Loops 5 and 3a: shared lines and own lines, a task each.
        run_tasks(tasks, &|task| {
            let range = |number: usize, size: usize, lines: usize| number * size..((number + 1) * size).min(lines);
            let shared = range(task / own_tasks, lines.shared, self.shared.lines);
            let own = range(task % own_tasks, lines.own, self.own.lines);
            // SAFETY: the caller's promise; tasks write disjoint blocks of C.
            unsafe { self.run_task::<K>(&shared, own, lines.own_block) }
        });
    }

    /// Sizes the tasks. The own lines are cut first. The shared lines are cut where there would be fewer than two tasks a thread, because
    /// each of the tasks with the same own lines packs them for itself.
    fn task_lines<K: Kernel>(&self) -> TaskLines {
        let (shared_panel, own_panel) = (self.shared.panel_lines::<K>(), self.own.panel_lines::<K>());
        let most_tasks = self.shared.lines * self.k_part.len() * self.own.lines / K::TASK_WORK;
        let threads = rayon::current_num_threads();
        let tasks = most_tasks.clamp(1, 4 * threads);
        let own = self.own.lines.div_ceil(own_panel).div_ceil(tasks) * own_panel;
        let shared_tasks = tasks.min(2 * threads).div_ceil(self.own.lines.div_ceil(own));
        let shared = self.shared.lines.div_ceil(shared_panel).div_ceil(shared_tasks) * shared_panel;
        TaskLines { shared, own, own_block: self.own_block_lines::<K>(own) }
    }

    /// Own lines that a task with `own` of them packs at a time: whole panels, as many as [`Kernel::own_block_bytes`] allows.
    pub fn own_block_lines<K: Kernel>(&self, own: usize) -> usize {
        let shared_bytes = self.shared.packed_len::<K>(self.shared.lines, self.depth) * size_of::<K::Unit>();
        let most = K::own_block_bytes(shared_bytes) / (self.own.packed_len::<K>(1, self.depth) * size_of::<K::Unit>());
        let panel = self.own.panel_lines::<K>();
        own.div_ceil(panel).min(most).max(1) * panel
    }

    /// The shared lines as they are packed for this block of k.
    fn packed_shared<K: Kernel<Unit = U>>(&self, lines: &Range<usize>, k_block: &Range<usize>) -> *const U {
        let len = |lines: usize, k: usize| self.shared.packed_len::<K>(lines, k);
        let block = (k_block.start - self.k_part.start) / self.depth * len(self.shared.lines, self.depth);
        self.packed[block..][len(lines.start, k_block.len())..][..len(lines.len(), k_block.len())].as_ptr()
    }

    /// Multiplies these shared lines by these own ones, of which `own_block` are packed at a time.
    ///
    /// # Safety
    /// As [`serial`](super::multiply::serial), for the block of C of these lines.
    pub unsafe fn run_task<K: Kernel<Unit = U>>(&self, shared: &Range<usize>, own: Range<usize>, own_block: usize) {
        // Loops 3b and 4b: blocks of own lines, and in each the blocks of k.
        let k_blocks = |lines: Range<usize>| {
            split_range(self.k_part.clone(), self.depth).map(move |k_block| OwnBlock { lines: lines.clone(), k_block })
        };
        let blocks: Vec<OwnBlock> = split_range(own, own_block).flat_map(k_blocks).collect();
        let (a, b) = if self.own.side == Side::A { (self.own, self.shared) } else { (self.shared, self.own) };
        let slot = self.own.own_packed_len::<K>(blocks[0].lines.len(), blocks[0].k_block.len());
        let slots = if K::PACKS_IN_PIECES && blocks.len() > 1 { 2 } else { 1 };
        // SAFETY: the caller's promise; there are two slots where blocks are packed ahead.
        with_scratch::<K::Unit, _>(slots * slot, |scratch| unsafe {
            let start: *mut K::Unit = scratch.as_mut_ptr();
            let second = if scratch.len() > slot { start.add(slot) } else { start };
            let mut ahead = PackAhead::<K>::new(self.own, &blocks, [start, second]);
            for (number, OwnBlock { lines, k_block }) in blocks.iter().enumerate() {
                let block = Block { a, b, k_block, accumulate: self.accumulate || k_block.start > self.k_part.start, c: self.c };
                let shared_units = self.packed_shared::<K>(shared, k_block);
                if self.own.is_in_place::<K>() {
                    let rows = RowPanels::in_place::<K>(self.own.members[0].matrix, lines.start, k_block);
                    let columns = ColumnPanels::packed::<K>(shared_units, k_block);
                    block.multiply::<K>((lines.clone(), shared.clone()), rows, columns, &mut NoBackground);
                    continue;
                }
                let own_units = ahead.begin_block(number);
                let (ranges, rows, columns) = match self.own.side {
                    Side::A => ((lines.clone(), shared.clone()), own_units, shared_units),
                    Side::B => ((shared.clone(), lines.clone()), shared_units, own_units),
                };
                let (rows, columns) = (RowPanels::packed::<K>(rows, k_block), ColumnPanels::packed::<K>(columns, k_block));
                block.multiply::<K>(ranges, rows, columns, &mut ahead);
            }
        });
    }
}

/// A block of the product: a block of k, for lines of both operands.
pub struct Block<'a> {
    pub a: Operand<'a>,
    pub b: Operand<'a>,
    pub k_block: &'a Range<usize>,
    pub accumulate: bool,
    /// The output of each member of A or of B.
    pub c: &'a [MatrixMut<f32>],
}

impl Block<'_> {
    /// C[rows, columns] ← A[rows, k_block]·B[k_block, columns] or, to accumulate, that plus C.
    ///
    /// # Safety
    /// As [`serial`](super::multiply::serial).
    pub unsafe fn multiply<K: Kernel>(
        &self,
        (rows, columns): (Range<usize>, Range<usize>),
        a: RowPanels<K::Unit>,
        b: ColumnPanels<K::Unit>,
        background: &mut impl Background,
    ) {
        let steps = self.k_block.len().div_ceil(K::STEP);
        // SAFETY: the instructions are available.
        unsafe { K::begin() };
        // Loop 2: panels of A.
        for (a_panel, row) in rows.step_by(K::ROWS).enumerate() {
            let (a_member, row) = self.a.locate(row);
            // SAFETY: the caller's promise: the panels and the block of C lie inside A, B and C.
            let (a_start, a_strides) = unsafe { (a.start.offset(a_panel as isize * a.panel_stride), a.strides) };
            // Loop 1: panels of B.
            for (b_panel, column) in columns.clone().step_by(K::COLUMNS).enumerate() {
                background.finish_panels(a_panel, b_panel);
                let (b_member, column) = self.b.locate(column);
                let extents = (K::ROWS.min(self.a.members[a_member].lines - row), K::COLUMNS.min(self.b.members[b_member].lines - column));
                // One of the operands has one member, number 0.
                let MatrixMut { start, row_stride } = self.c[a_member + b_member];
                // SAFETY: as above.
                unsafe {
                    let (b_start, c) = (b.start.add(b_panel * b.panel_stride), start.add(row * row_stride + column));
                    let tile = Tile {
                        steps,
                        a: a_start,
                        a_strides,
                        b: b_start,
                        b_stride: b.step_stride,
                        c,
                        c_stride: row_stride,
                        accumulate: self.accumulate,
                    };
                    K::multiply_tile_with(extents, tile, background);
                }
            }
        }
        // SAFETY: begun above.
        unsafe { K::end() };
    }
}
