//! Blocks of lines of an operand that are packed a piece at a time, while products of those that are packed already are under way.

use super::kernel::{Kernel, Meanwhile, Side};
use super::matrix::Matrix;
use super::operand::{Operand, Piece};
use std::ops::Range;

/// Lines and a part of k.
#[derive(Clone)]
pub struct OwnBlock {
    pub lines: Range<usize>,
    pub part: Range<usize>,
}

/// A task's blocks of an operand, of which the first groups have been packed. There is room for two blocks, the one that is multiplied and the next one.
pub struct Ahead<'a, K: Kernel> {
    operand: Operand<'a>,
    blocks: &'a [OwnBlock],
    slots: [*mut K::Unit; 2],
    /// The block that is multiplied.
    multiplied: usize,
    /// What is packed next.
    next: Next,
    state: K::PackState,
}

/// A piece of a group of a block.
struct Next {
    block: usize,
    group: usize,
    piece: usize,
    /// How many pieces the group has.
    pieces: usize,
    /// Its lines in this part of k, and their extents.
    lines: Matrix<f32>,
    extents: (usize, usize),
}

impl<'a, K: Kernel> Ahead<'a, K> {
    /// These blocks, of which the first has the most lines and the longest part of k.
    ///
    /// # Safety
    /// As [`Kernel::pack`], of an operand that is valid as long as this lives; both slots must have the length of the first block, and nothing else may write them
    /// meanwhile.
    pub unsafe fn new(operand: Operand<'a>, blocks: &'a [OwnBlock], slots: [*mut K::Unit; 2]) -> Self {
        let none = Matrix { start: std::ptr::null(), strides: (0, 0) };
        let next = Next { block: 0, group: 0, piece: 0, pieces: 0, lines: none, extents: (0, 0) };
        let mut ahead = Self { operand, blocks, slots, multiplied: 0, next, state: K::PackState::default() };
        ahead.find_group();
        ahead
    }

    /// Makes this block, which comes after the one before, the one that is multiplied, and says where its units are: all packed or, in pieces, each group
    /// once [`Meanwhile::before`] has asked for it.
    pub fn begin_block(&mut self, number: usize) -> *const K::Unit {
        debug_assert!(!K::IN_PIECES || self.next.block >= number, "a block begins when the one before is packed");
        self.multiplied = number;
        let slot = self.slots[number % 2];
        if !K::IN_PIECES {
            let OwnBlock { lines, part } = &self.blocks[number];
            let len = self.operand.packed_len::<K>(lines.len(), part.len());
            // SAFETY: the promise of `new`.
            unsafe { self.operand.pack::<K>(lines.clone(), part.clone(), std::slice::from_raw_parts_mut(slot, len)) };
        }
        slot
    }

    /// Finds the lines of the group that is next.
    fn find_group(&mut self) {
        let Some(OwnBlock { lines, part }) = self.blocks.get(self.next.block).filter(|_| K::IN_PIECES) else { return };
        let group = self.operand.group::<K>();
        let (number, line) = self.operand.piece(lines.start + self.next.group * group);
        let Piece { matrix, lines, .. } = self.operand.pieces[number];
        let (across, along) = matrix.strides;
        let start = matrix.start.wrapping_offset(line as isize * across + part.start as isize * along);
        (self.next.lines, self.next.extents) = (Matrix { start, ..matrix }, (group.min(lines - line), part.len()));
        (self.next.piece, self.next.pieces) = (0, K::pieces(self.operand.side, self.next.lines, part.len()));
    }

    /// Goes to the next group.
    fn end_group(&mut self) {
        self.next.group += 1;
        if self.next.group * self.operand.group::<K>() >= self.blocks[self.next.block].lines.len() {
            (self.next.block, self.next.group) = (self.next.block + 1, 0);
        }
        self.find_group();
    }
}

// SAFETY: packing neither uses tiles nor waits.
unsafe impl<K: Kernel> Meanwhile for Ahead<'_, K> {
    fn before(&mut self, a_group: usize, b_group: usize) {
        let needed = (self.multiplied, if self.operand.side == Side::A { a_group } else { b_group });
        while K::IN_PIECES && (self.next.block, self.next.group) <= needed {
            self.piece();
        }
    }

    #[inline]
    fn piece(&mut self) {
        if !K::IN_PIECES || self.next.block >= self.blocks.len().min(self.multiplied + 2) {
            return;
        }
        let len = self.operand.packed_len::<K>(1, self.next.extents.1);
        // SAFETY: the promise of `new`: the group lies inside the operand and in its slot. A group of the block that is multiplied is written before it is
        // read, and those of the next block are in the other slot.
        unsafe {
            let packed = self.slots[self.next.block % 2].add(self.next.group * len);
            let packed = std::slice::from_raw_parts_mut(packed, len);
            K::pack_piece(self.next.piece, self.operand.side, self.next.lines, self.next.extents, packed, &mut self.state);
        }
        self.next.piece += 1;
        if self.next.piece == self.next.pieces {
            self.end_group();
        }
    }
}
