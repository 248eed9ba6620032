//! Packing in the background: a task packs its next block a piece at a time, while the micro-kernel multiplies the block before.
//!
//! Only kernels that leave the core idle between their products do so ([`Kernel::PACKS_IN_PIECES`]). For others a block is packed when its
//! turn comes.

use super::kernel::{Background, Kernel, Side};
use super::matrix::Matrix;
use super::operand::{Member, Operand};
use std::ops::Range;

/// A block of a task's own lines: lines and a block of k.
#[derive(Clone)]
pub struct OwnBlock {
    pub lines: Range<usize>,
    pub k_block: Range<usize>,
}

/// The packing of a task's own blocks, one after another. There is room for two: the one that is multiplied and the next.
pub struct PackAhead<'a, K: Kernel> {
    operand: Operand<'a>,
    blocks: &'a [OwnBlock],
    slots: [*mut K::Unit; 2],
    /// The number of the block that is multiplied.
    current: usize,
    next: NextPiece,
    state: K::PackState,
}

/// The piece that is packed next.
struct NextPiece {
    block: usize,
    panel: usize,
    piece: usize,
    /// The number of the panel's pieces.
    pieces: usize,
    /// The panel's lines in this block of k, and their extents.
    lines: Matrix<f32>,
    extents: (usize, usize),
}

impl<'a, K: Kernel> PackAhead<'a, K> {
    /// Packs these blocks of an operand. The first has the most lines and the longest block of k.
    ///
    /// # Safety
    /// As [`Kernel::pack`], of an operand that is valid as long as this lives. Both slots must have the length of the first block, and
    /// nothing else may write to them.
    pub unsafe fn new(operand: Operand<'a>, blocks: &'a [OwnBlock], slots: [*mut K::Unit; 2]) -> Self {
        let none = Matrix { start: std::ptr::null(), strides: (0, 0) };
        let next = NextPiece { block: 0, panel: 0, piece: 0, pieces: 0, lines: none, extents: (0, 0) };
        let mut ahead = Self { operand, blocks, slots, current: 0, next, state: K::PackState::default() };
        ahead.find_panel();
        ahead
    }

    /// Begins to multiply this block, the one after the last, and returns its units. In pieces, each panel is packed once
    /// [`Background::finish_panels`] has asked for it; otherwise all are.
    pub fn begin_block(&mut self, number: usize) -> *const K::Unit {
        debug_assert!(!K::PACKS_IN_PIECES || self.next.block >= number, "a block begins when the one before is packed");
        self.current = number;
        let slot = self.slots[number % 2];
        if !K::PACKS_IN_PIECES {
            let OwnBlock { lines, k_block } = &self.blocks[number];
            let len = self.operand.packed_len::<K>(lines.len(), k_block.len());
            // SAFETY: the promise of `new`.
            unsafe { self.operand.pack::<K>(lines.clone(), k_block.clone(), std::slice::from_raw_parts_mut(slot, len)) };
        }
        slot
    }

    /// Finds the lines of the next panel.
    fn find_panel(&mut self) {
        let Some(OwnBlock { lines, k_block }) = self.blocks.get(self.next.block).filter(|_| K::PACKS_IN_PIECES) else { return };
        let panel_lines = self.operand.panel_lines::<K>();
        let (member, line) = self.operand.locate(lines.start + self.next.panel * panel_lines);
        let Member { matrix, lines, .. } = self.operand.members[member];
        let (across, along) = matrix.strides;
        let start = matrix.start.wrapping_offset(line as isize * across + k_block.start as isize * along);
        (self.next.lines, self.next.extents) = (Matrix { start, ..matrix }, (panel_lines.min(lines - line), k_block.len()));
        (self.next.piece, self.next.pieces) = (0, K::piece_count(self.operand.side, self.next.lines, k_block.len()));
    }

    /// Goes to the next panel.
    fn end_panel(&mut self) {
        self.next.panel += 1;
        if self.next.panel * self.operand.panel_lines::<K>() >= self.blocks[self.next.block].lines.len() {
            (self.next.block, self.next.panel) = (self.next.block + 1, 0);
        }
        self.find_panel();
    }
}

// SAFETY: packing neither uses tiles nor waits.
unsafe impl<K: Kernel> Background for PackAhead<'_, K> {
    fn finish_panels(&mut self, a_panel: usize, b_panel: usize) {
        let needed = (self.current, if self.operand.side == Side::A { a_panel } else { b_panel });
        while K::PACKS_IN_PIECES && (self.next.block, self.next.panel) <= needed {
            self.run_piece();
        }
    }

    #[inline]
    fn run_piece(&mut self) {
        if !K::PACKS_IN_PIECES || self.next.block >= self.blocks.len().min(self.current + 2) {
            return;
        }
        let len = self.operand.packed_len::<K>(1, self.next.extents.1);
        // SAFETY: the promise of `new`: the panel lies inside the operand and in its slot. A panel of the current block is written before
        // it is read, and those of the next block are in the other slot.
        unsafe {
            let packed = self.slots[self.next.block % 2].add(self.next.panel * len);
            let packed = std::slice::from_raw_parts_mut(packed, len);
            K::pack_piece(self.next.piece, self.operand.side, self.next.lines, self.next.extents, packed, &mut self.state);
        }
        self.next.piece += 1;
        if self.next.piece == self.next.pieces {
            self.end_panel();
        }
    }
}
