//! Matrix products of f32 on packed operands: one way of cutting and packing, and a kernel for each set of instructions, which keeps a block of
//! sums in registers. The readable twin is the triple sum of `Reference`; processors with none of the instructions use matrixmultiply.
//!
//! Both operands are seen as lines along k: the rows of A and the columns of B, in groups of as many as the kernel takes. The operand with
//! fewer lines is packed once for all tasks, part by part of k; each task packs its own lines of the other one, and multiplies them while they are
//! in its second-level cache. Where there are tasks enough, that one too goes through memory once. A kernel that leaves room for other instructions packs
//! what comes next meanwhile (`ahead.rs`).
//!
//! Small products in one thread read a B with contiguous rows where it lies, if the kernel may, and columns may be packed once for many products
//! (`prepacked.rs`).
//!
//! An operand may be several matrices one after another, each from the start of a group on, with an output each: products that share the other
//! operand are then one.
//!
//! Every element is Σ over equal blocks of k of at most [`Kernel::DEPTH`], each in the order of k, wherever the tasks are cut: the same bits on
//! any number of threads, and with AVX-512 as with AVX2, whose kernels are sums of fused multiply-adds. AMX and AVX512-BF16 group the terms of
//! a sum each in its own way, in bfloat16 and (AMX, see `split.rs`) in f32.

mod ahead;
mod amx;
mod avx2;
mod avx512;
mod by_depth;
mod dot;
mod operand;
mod prepacked;
mod rounded;
mod single;
mod split;
#[cfg(test)]
mod tests;

use super::matmul::{Extents, Matrix, SMALL, pairs};
use super::parallel_loop::InTasks;
use super::pool::Pooled;
use crate::backend::precision::Precision;
use crate::scalar::Strides;
use ahead::{Ahead, OwnBlock};
use amx::Amx;
use avx2::Avx2;
use avx512::Avx512;
use dot::Dot;
use operand::{Columns, Operand, Piece, Rows};
pub use prepacked::Prepacked;
use rayon::prelude::*;
use split::{Split, Turned};
use std::cell::RefCell;
use std::ops::Range;
use std::thread::LocalKey;

/// Bytes of the shared operand that are packed at a time. (Here and below, tests see small products cut as large ones are.)
const SHARED_BYTES: usize = if cfg!(test) { 1 << 16 } else { 1 << 20 };
/// Bytes of the shared operand that are worth a task in packing.
const PACK_BYTES: usize = if cfg!(test) { 1 << 13 } else { 1 << 14 };

/// So many rows, as generating text has, are multiplied without packing B in parts.
const FEW_ROWS: usize = 8;

/// What a packed operand is made of.
trait Unit: Pooled + Copy + Default + Send + Sync {
    /// A buffer of each thread.
    fn scratch() -> &'static LocalKey<RefCell<Vec<Self>>>;
}

/// An operand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    A,
    B,
}

impl Side {
    /// Lines of a group.
    fn group<K: Kernel>(self) -> usize {
        match self {
            Self::A => K::ROWS,
            Self::B => K::COLUMNS,
        }
    }
}

/// What the products are made with.
trait Kernel {
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
    /// As [`Kernel::pack`]; the pieces of a group in order, with nothing else done to `packed` and `turned` between them.
    unsafe fn pack_piece(
        _number: usize,
        _side: Side,
        _lines: Matrix<f32>,
        _extents: (usize, usize),
        _packed: &mut [Self::Unit],
        _turned: &mut Turned,
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
unsafe trait Meanwhile {
    /// Leaves these groups packed, which are multiplied next, counted from the first of the lines of each operand that are multiplied.
    fn before(&mut self, _a_group: usize, _b_group: usize) {}
    /// Does a piece, if any is left.
    fn piece(&mut self) {}
}

/// Nothing to do.
struct Nothing;
// SAFETY: it does nothing.
unsafe impl Meanwhile for Nothing {}

/// What a kernel works on.
#[derive(Clone, Copy)]
struct Tile<U> {
    /// Units along k.
    steps: usize,
    /// A group of A, with the strides of its rows and steps: packed, or where it lies.
    a: *const U,
    a_strides: Strides,
    /// A group of B: packed, or where it lies for a kernel that [`Kernel::reads_columns_in_place`].
    b: *const U,
    /// Units of B from a step to the next, those of a group where it is packed.
    b_stride: usize,
    c: *mut f32,
    c_stride: usize,
    accumulate: bool,
}

/// A set of instructions for products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// AVX-512, in f32.
    Avx512,
    /// AVX2 with fused multiply-adds, in f32.
    Avx2,
    /// AMX, of operands rounded to bfloat16.
    Amx,
    /// AVX512-BF16, of operands rounded to bfloat16.
    Dot,
    /// AMX, of operands in three parts of bfloat16: in f32.
    Split,
}

/// A function of the kernel of a set of instructions.
macro_rules! with {
    ($instructions:ident, $function:ident($($argument:expr),*)) => {
        match $instructions {
            Instructions::Avx512 => $function::<Avx512>($($argument),*),
            Instructions::Avx2 => $function::<Avx2>($($argument),*),
            Instructions::Amx => $function::<Amx>($($argument),*),
            Instructions::Dot => $function::<Dot>($($argument),*),
            Instructions::Split => $function::<Split>($($argument),*),
        }
    };
}
use with;

impl Instructions {
    /// The fastest that are there for this precision.
    #[inline]
    pub fn of(precision: Precision) -> Option<Self> {
        match precision {
            Precision::F32 if Avx512::available() => Some(Self::Avx512),
            Precision::F32 if Avx2::available() => Some(Self::Avx2),
            Precision::Bf16 if Amx::available() => Some(Self::Amx),
            Precision::Bf16 if Dot::available() => Some(Self::Dot),
            Precision::F32 | Precision::Tf32 | Precision::Bf16 => None,
        }
    }

    /// The fastest for a product of these extents that is cut into tasks, or into rows for columns that are packed once. Packing operands in three parts takes longer than packing them as they are,
    /// which a large B that is not too long and narrow makes up for. How many rows A has makes no difference beyond [`FEW_ROWS`], so that a row of the result is
    /// the same whatever other rows there are.
    #[inline]
    pub fn of_large(precision: Precision, (m, k, n): Extents) -> Option<Self> {
        let is_cut = (FEW_ROWS + 1) * k * n > SMALL;
        let worthwhile = m > FEW_ROWS && is_cut && k.min(n) >= 48 && (n >= 64 || 8 * n >= k);
        let parts = if precision == Precision::F32 && worthwhile { Self::in_parts() } else { None };
        parts.or_else(|| Self::of(precision))
    }

    /// Those for f32 in parts of bfloat16.
    pub fn in_parts() -> Option<Self> {
        Split::available().then_some(Self::Split)
    }

    /// Are products of these A with one B quicker together? Not where each A is read where it lies.
    pub fn sharing_pays(self, a: &[(Matrix<f32>, usize)]) -> bool {
        let in_place = |strides| with!(self, reads_in_place(strides));
        a.len() == 1 || !a.iter().any(|(a, _)| in_place(a.strides))
    }

    /// Their name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "AVX-512",
            Self::Avx2 => "AVX2",
            Self::Amx => "AMX",
            Self::Dot => "AVX512-BF16",
            Self::Split => "AMX",
        }
    }
}

/// [`Kernel::reads_in_place`].
fn reads_in_place<K: Kernel>(strides: Strides) -> bool {
    K::reads_in_place(strides)
}

/// C ← A·B + βC in this thread, C with rows `c_stride` apart.
///
/// # Safety
/// The instructions must be there; no extent may be 0; every element that is reached must be valid, and nothing else may touch those of C meanwhile.
pub unsafe fn serial(with: Instructions, extents: Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: *mut f32, c_stride: usize) {
    let c = Output { start: c, stride: c_stride };
    // SAFETY: the caller's promise.
    unsafe { with!(with, serial_with(extents, a, b, beta, c)) }
}

/// C ← A·B + βC in parallel, C in row-major order.
///
/// # Safety
/// As [`serial`].
pub unsafe fn parallel(with: Instructions, extents: Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: &mut [f32]) {
    let (m, k, n) = extents;
    let c = Output { start: c.as_mut_ptr(), stride: n };
    // SAFETY: the caller's promise.
    unsafe {
        let accumulate = accumulates(extents, beta, c);
        with!(with, parallel_with(k, &[Piece::only(a, m)], &[Piece::only(b.t(), n)], accumulate, &[c]))
    }
}

/// Cᵢ ← Aᵢ·B for several A, or Cᵢ ← A·Bᵢ for several B, in parallel, each C in row-major order: each element with the bits of a product of its
/// own by the same instructions. Operands come as (matrix, rows) and (matrix, columns), one of the two lists with one.
///
/// # Safety
/// As [`serial`].
pub unsafe fn parallel_many(with: Instructions, k: usize, a: &[(Matrix<f32>, usize)], b: &[(Matrix<f32>, usize)], c: &mut [Vec<f32>]) {
    debug_assert!(a.len().min(b.len()) == 1 && a.len().max(b.len()) == c.len(), "products that share an operand");
    let outputs = c.iter_mut().zip(pairs(a, b));
    let c: Vec<Output> = outputs.map(|(c, (_, (_, n)))| Output { start: c.as_mut_ptr(), stride: n }).collect();
    // SAFETY: the caller's promise.
    unsafe { with!(with, parallel_many_with(k, a, b, &c)) }
}

/// A row-major output with rows `stride` apart.
#[derive(Clone, Copy)]
struct Output {
    start: *mut f32,
    stride: usize,
}
// SAFETY: tasks write disjoint blocks.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

/// Runs `f` with a scratch buffer of this thread, with unspecified contents.
fn with_scratch<U: Unit, R>(len: usize, f: impl FnOnce(&mut [U]) -> R) -> R {
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

/// Is the product to be added to C? For β other than 0 and 1, which kernels do not know, C ← βC first.
///
/// # Safety
/// The elements of C must be valid.
unsafe fn accumulates((m, _, n): Extents, beta: f32, c: Output) -> bool {
    if beta != 0.0 && beta != 1.0 {
        for i in 0..m {
            // SAFETY: the caller's promise.
            let row = unsafe { std::slice::from_raw_parts_mut(c.start.add(i * c.stride), n) };
            row.iter_mut().for_each(|x| *x *= beta);
        }
    }
    beta != 0.0
}

/// Ranges of at most `most` that make up the range.
fn parts(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(most.max(1)).map(move |from| from..(from + most).min(end))
}

/// The inner extent of the equal blocks that k is cut into.
fn block_depth<K: Kernel>(k: usize) -> usize {
    k.div_ceil(k.div_ceil(K::DEPTH).max(1)).next_multiple_of(K::STEP)
}

/// [`serial`] with this kernel.
///
/// # Safety
/// As [`serial`].
unsafe fn serial_with<K: Kernel>((m, k, n): Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: Output) {
    debug_assert!(m > 0 && k > 0 && n > 0, "a product of nothing");
    let (a, b) = ([Piece::only(a, m)], [Piece::only(b.t(), n)]);
    let (a, b) = (Operand::new(Side::A, &a), Operand::new(Side::B, &b));
    // SAFETY: the caller's promise.
    unsafe {
        let accumulate = accumulates((m, k, n), beta, c);
        for part in parts(0..k, block_depth::<K>(k)) {
            let a_len = a.own_len::<K>(m, part.len());
            with_scratch(a_len + b.columns_len::<K>(n, part.len()), |scratch| {
                let (a_packed, b_packed) = scratch.split_at_mut(a_len);
                let (rows, columns) = (a.rows::<K>(0..m, &part, a_packed), b.columns::<K>(0..n, &part, b_packed));
                let block = Block { a, b, part: &part, accumulate: accumulate || part.start > 0, c: &[c] };
                block.run::<K>((0..m, 0..n), rows, columns, &mut Nothing);
            });
        }
    }
}

/// [`parallel_many`] with this kernel.
///
/// # Safety
/// As [`serial`].
unsafe fn parallel_many_with<K: Kernel>(k: usize, a: &[(Matrix<f32>, usize)], b: &[(Matrix<f32>, usize)], c: &[Output]) {
    // SAFETY: the caller's promise.
    unsafe { parallel_with::<K>(k, &Piece::each::<K>(Side::A, a), &Piece::each::<K>(Side::B, b), false, c) }
}

/// [`parallel`] with this kernel, for an output of each piece of A, or of B, whichever has several.
///
/// # Safety
/// As [`serial`].
unsafe fn parallel_with<K: Kernel>(k: usize, a: &[Piece], b: &[Piece], accumulate: bool, c: &[Output]) {
    let (a, b) = (Operand::new(Side::A, a), Operand::new(Side::B, b));
    debug_assert!(a.lines > 0 && k > 0 && b.lines > 0, "a product of nothing");
    let (shared, own) = if a.lines <= b.lines { (a, b) } else { (b, a) };
    let depth = block_depth::<K>(k);
    if K::SUMS_APART && by_depth::pays(k.div_ceil(depth), (a.lines, k, b.lines)) {
        // SAFETY: the caller's promise.
        return unsafe { by_depth::run::<K>((shared, own), k, depth, accumulate, c) };
    }
    let block_len = shared.packed_len::<K>(shared.lines, depth);
    let blocks = SHARED_BYTES / (block_len * size_of::<K::Unit>());
    // SAFETY: the caller's promise.
    unsafe {
        for part in parts(0..k, blocks.max(1) * depth) {
            let packed = shared.pack_in_parallel::<K>(&part, depth);
            let accumulate = accumulate || part.start > 0;
            let product = Product { shared, own, part, depth, packed: &packed, accumulate, c };
            product.run::<K>();
            K::Unit::pool().give(packed);
        }
    }
}

/// A product for a part of k, with one operand packed.
struct Product<'a, U> {
    shared: Operand<'a>,
    own: Operand<'a>,
    part: Range<usize>,
    depth: usize,
    packed: &'a [U],
    accumulate: bool,
    c: &'a [Output],
}

/// How many lines a task multiplies, of the shared and of the own operand, and how many of its own lines it packs at a time.
struct Cut {
    shared: usize,
    own: usize,
    block: usize,
}

impl<U: Unit> Product<'_, U> {
    /// Cuts it into tasks and runs them.
    ///
    /// # Safety
    /// As [`serial`].
    unsafe fn run<K: Kernel<Unit = U>>(&self) {
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
    fn block_lines<K: Kernel>(&self, own: usize) -> usize {
        let shared_bytes = self.shared.packed_len::<K>(self.shared.lines, self.depth) * size_of::<K::Unit>();
        let most = K::own_bytes(shared_bytes) / (self.own.packed_len::<K>(1, self.depth) * size_of::<K::Unit>());
        let group = self.own.group::<K>();
        own.div_ceil(group).min(most).max(1) * group
    }

    /// Multiplies these shared lines by these own ones, of which so many are packed at a time.
    ///
    /// # Safety
    /// As [`serial`], for the block of C of these lines.
    unsafe fn task<K: Kernel<Unit = U>>(&self, shared: &Range<usize>, own: Range<usize>, block: usize) {
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
struct Block<'a> {
    a: Operand<'a>,
    b: Operand<'a>,
    part: &'a Range<usize>,
    accumulate: bool,
    /// The output of each piece of A or of B.
    c: &'a [Output],
}

impl Block<'_> {
    /// C[rows, columns] ← A[rows, part]·B[part, columns] or, to accumulate, that plus C.
    ///
    /// # Safety
    /// As [`serial`].
    unsafe fn run<K: Kernel>(
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
                let Output { start, stride } = self.c[a_piece + b_piece];
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
