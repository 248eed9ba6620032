//! Matrix products of f32 with AVX-512 or AVX2: B is packed into panels of two vectors' columns, once for all tasks or, where A is small, by
//! each task for itself, and a kernel keeps a block of sums in registers: 12 × 32, or 6 × 16. The readable twin is the triple sum of
//! `Reference`; other processors use matrixmultiply.
//!
//! Every element is Σ over blocks of [`DEPTH`] of fused multiply-adds in the order of k, wherever the tasks are cut and whichever
//! instructions there are: the same bits on any number of threads.

mod avx2;
mod avx512;

use super::matmul::{Extents, Matrix};
use crate::scalar::Scalar;
use avx2::Avx2;
use avx512::Avx512;
pub use avx512::transposed;
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

/// What the products are made with: a set of vector instructions.
trait Instructions {
    /// Numbers of a vector.
    const LANES: usize;
    /// Rows of the kernel's block of sums.
    const ROWS: usize;
    /// Columns of the kernel's block of sums: two vectors.
    const COLUMNS: usize = 2 * Self::LANES;

    /// A transposed A is read where it lies if its columns are at most this many elements apart (more of them than fit would share a set
    /// of the cache), else packed first.
    const IN_PLACE: isize;

    /// Are they there?
    fn available() -> bool;

    /// to[p·to_stride + j] ← from[j·from_stride + p] for p and j below [`Instructions::LANES`]: a square of contiguous columns as contiguous rows.
    ///
    /// # Safety
    /// The instructions must be there and all elements valid.
    unsafe fn transpose(from: *const f32, from_stride: isize, to: *mut f32, to_stride: usize);

    /// C ← Σ_p A[·, p]·B[p, ·] + βC for `count` rows, 1 to [`Instructions::ROWS`].
    ///
    /// # Safety
    /// The instructions must be there and all elements of the tile valid.
    unsafe fn sums(count: usize, tile: Tile);
}

/// The inner extent is cut into equal blocks of at most this many, so that a panel of B stays in the first two levels of cache.
const DEPTH: usize = 384;
/// Rows of a task at most: their part of A stays in the second-level cache.
const TASK_ROWS: usize = 96;
/// Elements of B that are packed at a time, which stay in the third-level cache.
const PACKED: usize = 1 << 20;
/// An A of at most this many elements stays in the second-level cache beside [`PIECE`] elements of B.
const SMALL_A: usize = 1 << 17;
/// Elements of B that a task packs for itself where A is small.
const PIECE: usize = 1 << 16;
/// A task has at least about this many multiply-adds.
const TASK_WORK: usize = 1 << 19;

/// Is AVX-512 or AVX2 there?
#[inline]
pub fn available() -> bool {
    Avx512::available() || Avx2::available()
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

thread_local! {
    static SCRATCH: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Runs `f` with a scratch buffer of this thread, with unspecified contents. `which` keeps the buffers for A and for B apart.
fn with_scratch<R>(which: usize, len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = SCRATCH.with(|scratch| std::mem::take(&mut scratch.borrow_mut()[which]));
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    let result = f(&mut buffer[..len]);
    SCRATCH.with(|scratch| scratch.borrow_mut()[which] = buffer);
    result
}

/// The equal blocks that k is cut into: how many, and their depth.
fn depth_blocks(k: usize) -> (usize, usize) {
    let blocks = k.div_ceil(DEPTH).max(1);
    (blocks, k.div_ceil(blocks))
}

/// C ← A·B + βC in this thread, C with rows `c_stride` apart.
///
/// # Safety
/// [`available`] must have said so; every element that is reached must be valid, and nothing else may touch those of C meanwhile.
pub unsafe fn serial(extents: Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: *mut f32, c_stride: usize) {
    let output = Output { start: c, stride: c_stride };
    // SAFETY: the caller's promise.
    unsafe {
        if Avx512::available() {
            serial_with::<Avx512>(extents, a, b, beta, output)
        } else {
            serial_with::<Avx2>(extents, a, b, beta, output)
        }
    }
}

/// C ← A·B + βC in parallel, C in row-major order.
///
/// # Safety
/// As [`serial`].
pub unsafe fn parallel(extents: Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe {
        if Avx512::available() { parallel_with::<Avx512>(extents, a, b, beta, c) } else { parallel_with::<Avx2>(extents, a, b, beta, c) }
    }
}

/// [`serial`] with these instructions.
///
/// # Safety
/// As [`serial`], and the instructions must be there.
unsafe fn serial_with<I: Instructions>((m, k, n): Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, output: Output) {
    let (_, depth) = depth_blocks(k);
    let columns = (PACKED / 8 / depth.max(1)).next_multiple_of(I::COLUMNS);
    for column in (0..n).step_by(columns) {
        let width = columns.min(n - column);
        for (number, from) in (0..k).step_by(depth.max(1)).enumerate() {
            let part = from..(from + depth).min(k);
            with_scratch(1, part.len() * width.next_multiple_of(I::COLUMNS), |packed| {
                for (panel, packed) in packed.chunks_exact_mut(part.len() * I::COLUMNS).enumerate() {
                    let first = column + panel * I::COLUMNS;
                    // SAFETY: the panel lies inside B.
                    unsafe { pack_b::<I>(b, part.clone(), first..(first + I::COLUMNS).min(n), packed) }
                }
                let beta = if number == 0 { beta } else { 1.0 };
                // SAFETY: the caller's promise.
                unsafe { block::<I>(a, 0..m, part.clone(), packed, column..column + width, beta, output) }
            });
        }
    }
}

/// [`parallel`] with these instructions: part by part of k, so that a useful number of columns of B is packed at a time.
///
/// # Safety
/// As [`serial_with`].
unsafe fn parallel_with<I: Instructions>((m, k, n): Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: &mut [f32]) {
    if m * k <= SMALL_A && k * n > PACKED {
        // SAFETY: the caller's promise.
        return unsafe { by_columns::<I>((m, k, n), a, b, beta, c) };
    }
    let (_, depth) = depth_blocks(k);
    let most = PACKED / n.clamp(I::COLUMNS, PACKED / depth.max(1)).next_multiple_of(I::COLUMNS);
    let part = (most / depth.max(1)).max(1) * depth.max(1);
    for from in (0..k.max(1)).step_by(part) {
        let beta = if from == 0 { beta } else { 1.0 };
        // SAFETY: the caller's promise, for columns of A and rows of B from `from` on.
        unsafe {
            let a = Matrix { start: a.start.offset(from as isize * a.strides.1), ..a };
            let b = Matrix { start: b.start.offset(from as isize * b.strides.0), ..b };
            parallel_part::<I>((m, part.min(k - from), n), depth, a, b, beta, c);
        }
    }
}

/// [`parallel_with`] for an A that stays in the cache and a B that is larger than what is packed at a time: each task packs columns of B for
/// itself, so that no packed B goes through memory and some tasks pack while others multiply.
///
/// # Safety
/// As [`serial_with`].
unsafe fn by_columns<I: Instructions>((m, k, n): Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: &mut [f32]) {
    let output = Output { start: c.as_mut_ptr(), stride: n };
    let width = (PIECE / depth_blocks(k).1.max(1)).next_multiple_of(I::COLUMNS);
    (0..n.div_ceil(width)).into_par_iter().with_max_len(1).for_each(|piece| {
        let (b, output, first) = (b, output, piece * width);
        // SAFETY: the caller's promise; tasks write disjoint columns of C.
        unsafe {
            let b = Matrix { start: b.start.offset(first as isize * b.strides.1), ..b };
            let output = Output { start: output.start.add(first), ..output };
            serial_with::<I>((m, k, width.min(n - first)), a, b, beta, output)
        }
    });
}

/// [`parallel_with`] for a part of k that is a whole number of blocks of `depth` (but for the last).
///
/// # Safety
/// As [`serial_with`].
unsafe fn parallel_part<I: Instructions>((m, k, n): Extents, depth: usize, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: &mut [f32]) {
    let output = Output { start: c.as_mut_ptr(), stride: n };
    let columns = (PACKED / k.max(1)).next_multiple_of(I::COLUMNS);
    let mut buffer = f32::allocate(k * columns.min(n.next_multiple_of(I::COLUMNS)));
    for column in (0..n).step_by(columns) {
        let range = column..(column + columns).min(n);
        let whole = range.len().next_multiple_of(I::COLUMNS);
        let packed = &mut buffer[..k * whole];
        pack_all::<I>(b, (k, depth), range.clone(), packed);
        let packed = &*packed;
        let panels = range.len().div_ceil(I::COLUMNS);
        let (task_rows, panels_a_task) = cut::<I>(m, panels, m * k * range.len() / TASK_WORK);
        let (row_tasks, column_tasks) = (m.div_ceil(task_rows), panels.div_ceil(panels_a_task));
        let work = m * k * range.len() / (row_tasks * column_tasks);
        let at_once = (TASK_WORK / work.max(1)).max(1);
        (0..row_tasks * column_tasks).into_par_iter().with_min_len(at_once).with_max_len(at_once).for_each(|task| {
            let (row, panel) = (task / column_tasks * task_rows, task % column_tasks * panels_a_task);
            let rows = row..(row + task_rows).min(m);
            let first = range.start + panel * I::COLUMNS;
            let columns = first..(first + panels_a_task * I::COLUMNS).min(range.end);
            for from in (0..k).step_by(depth) {
                let part = from..(from + depth).min(k);
                let beta = if from == 0 { beta } else { 1.0 };
                let start = part.start * whole + panel * I::COLUMNS * part.len();
                let packed = &packed[start..start + part.len() * columns.len().next_multiple_of(I::COLUMNS)];
                // SAFETY: the caller's promise; tasks write disjoint blocks of C.
                unsafe { block::<I>(a, rows.clone(), part, packed, columns.clone(), beta, output) }
            }
        });
    }
    f32::recycle(buffer);
}

/// How many rows and panels of C a task computes, with about `worthwhile` tasks at most: rows are cut first, because tasks that share
/// rows of A pack them each for itself.
fn cut<I: Instructions>(m: usize, panels: usize, worthwhile: usize) -> (usize, usize) {
    let wanted = worthwhile.clamp(1, 4 * rayon::current_num_threads());
    let groups = m.div_ceil(I::ROWS).max(1);
    let rows = (groups.div_ceil(wanted) * I::ROWS).min(TASK_ROWS);
    let column_tasks = wanted.div_ceil(m.div_ceil(rows).max(1)).min(panels.max(1));
    (rows, panels.div_ceil(column_tasks).max(1))
}

/// Packs these columns of B: block by block of k, in each block panel by panel.
fn pack_all<I: Instructions>(b: Matrix<f32>, (k, depth): (usize, usize), columns: Range<usize>, packed: &mut [f32]) {
    let whole = columns.len().next_multiple_of(I::COLUMNS);
    for from in (0..k).step_by(depth) {
        let part = from..(from + depth).min(k);
        let packed = &mut packed[part.start * whole..part.end * whole];
        let panels_a_task = (1 << 15) / (part.len() * I::COLUMNS) + 1;
        let panels = packed.par_chunks_exact_mut(part.len() * I::COLUMNS).with_min_len(panels_a_task).with_max_len(panels_a_task);
        panels.enumerate().for_each(|(panel, packed)| {
            let first = columns.start + panel * I::COLUMNS;
            // SAFETY: the panel lies inside B, which the caller of `parallel` promises to be valid.
            unsafe { pack_b::<I>(b, part.clone(), first..(first + I::COLUMNS).min(columns.end), packed) }
        });
    }
}

/// One panel of B in the order the kernel reads it, [depth, columns], with zeros past its last column.
///
/// # Safety
/// The elements must be valid.
unsafe fn pack_b<I: Instructions>(b: Matrix<f32>, part: Range<usize>, columns: Range<usize>, packed: &mut [f32]) {
    let (row_stride, column_stride) = b.strides;
    // SAFETY: the caller's promise.
    unsafe {
        let start = b.start.offset(part.start as isize * row_stride + columns.start as isize * column_stride);
        if columns.len() < I::COLUMNS {
            packed.fill(0.0);
        }
        if column_stride == 1 {
            for (p, row) in packed.chunks_exact_mut(I::COLUMNS).enumerate() {
                let from = start.offset(p as isize * row_stride);
                if columns.len() == I::COLUMNS {
                    std::ptr::copy_nonoverlapping(from, row.as_mut_ptr(), I::COLUMNS);
                } else {
                    row[..columns.len()].copy_from_slice(std::slice::from_raw_parts(from, columns.len()));
                }
            }
            return;
        }
        for (number, rows) in packed.chunks_mut(I::LANES * I::COLUMNS).enumerate() {
            let start = start.offset((number * I::LANES) as isize * row_stride);
            let whole = if row_stride == 1 && rows.len() == I::LANES * I::COLUMNS { columns.len() / I::LANES * I::LANES } else { 0 };
            for j in (0..whole).step_by(I::LANES) {
                I::transpose(start.offset(j as isize * column_stride), column_stride, rows.as_mut_ptr().add(j), I::COLUMNS);
            }
            for j in whole..columns.len() {
                let column = start.offset(j as isize * column_stride);
                for (p, row) in rows.chunks_exact_mut(I::COLUMNS).enumerate() {
                    row[j] = *column.offset(p as isize * row_stride);
                }
            }
        }
    }
}

/// C[rows, columns] ← A[rows, part]·packed + βC.
///
/// # Safety
/// As [`serial`]; `packed` holds the panels of these columns.
unsafe fn block<I: Instructions>(
    a: Matrix<f32>,
    rows: Range<usize>,
    part: Range<usize>,
    packed: &[f32],
    columns: Range<usize>,
    beta: f32,
    output: Output,
) {
    let depth = part.len();
    let in_place = (a.strides.1 == 1 && a.strides.0 % 1024 != 0) || (a.strides.0 == 1 && a.strides.1 <= I::IN_PLACE);
    let len = if in_place { 0 } else { rows.len() * depth };
    with_scratch(0, len, |scratch| {
        if !in_place {
            // SAFETY: the caller's promise.
            unsafe { pack_a::<I>(a, rows.clone(), part.clone(), scratch) };
        }
        for (number, panel) in packed.chunks_exact(depth * I::COLUMNS).enumerate() {
            let first = columns.start + number * I::COLUMNS;
            let width = I::COLUMNS.min(columns.end - first);
            for row in (0..rows.len()).step_by(I::ROWS) {
                let count = I::ROWS.min(rows.len() - row);
                // SAFETY: the caller's promise: the rows, the columns and the depth lie inside A, the panel and C.
                unsafe {
                    let (a, strides) = if in_place {
                        let start = (rows.start + row) as isize * a.strides.0 + part.start as isize * a.strides.1;
                        (a.start.offset(start), a.strides)
                    } else {
                        (scratch.as_ptr().add(row * depth), (1, count as isize))
                    };
                    let c = output.start.add((rows.start + row) * output.stride + first);
                    I::sums(count, Tile { depth, a, strides, b: panel.as_ptr(), beta, c, c_stride: output.stride, width });
                }
            }
        }
    });
}

/// Rows of A in the order the kernel reads them: groups of the kernel's rows (fewer at the end), each [depth, rows].
///
/// # Safety
/// The elements must be valid.
unsafe fn pack_a<I: Instructions>(a: Matrix<f32>, rows: Range<usize>, part: Range<usize>, packed: &mut [f32]) {
    /// Columns that are read for all groups before the next: lines of the cache that two groups share are read once.
    const BAND: usize = 16;
    let depth = part.len();
    let (row_stride, column_stride) = a.strides;
    for band in (0..depth).step_by(BAND) {
        for (number, group) in packed.chunks_mut(I::ROWS * depth).enumerate() {
            let count = group.len() / depth;
            let group = &mut group[band * count..(band + BAND).min(depth) * count];
            // SAFETY: the caller's promise.
            unsafe {
                let first = (rows.start + number * I::ROWS) as isize * row_stride + (part.start + band) as isize * column_stride;
                let start = a.start.offset(first);
                if row_stride == 1 && count == I::ROWS {
                    for (p, to) in group.chunks_exact_mut(I::ROWS).enumerate() {
                        std::ptr::copy_nonoverlapping(start.offset(p as isize * column_stride), to.as_mut_ptr(), I::ROWS);
                    }
                } else {
                    for (p, to) in group.chunks_exact_mut(count).enumerate() {
                        let from = start.offset(p as isize * column_stride);
                        to.iter_mut().enumerate().for_each(|(i, x)| *x = *from.offset(i as isize * row_stride));
                    }
                }
            }
        }
    }
}

/// What the kernel works on: A by its start and strides, a packed panel of B, and where the sums go.
#[derive(Clone, Copy)]
struct Tile {
    depth: usize,
    a: *const f32,
    strides: (isize, isize),
    b: *const f32,
    beta: f32,
    c: *mut f32,
    c_stride: usize,
    /// Columns of C, at most two vectors.
    width: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Generator;

    /// γ = (k + 1)·u bounds the error of a sum of k products relative to Σ |a·b| (Higham 2002, equation 3.4).
    #[test]
    fn agrees_with_the_triple_sum_for_all_strides_and_edges() {
        agrees::<Avx512>();
        agrees::<Avx2>();
    }

    fn agrees<I: Instructions>() {
        if !I::available() {
            return println!("skipped: this processor has no vectors of {} numbers", I::LANES);
        }
        let mut generator = Generator::new(7);
        for (m, k, n) in [
            (1, 1, 1),
            (12, 5, 32),
            (13, 400, 33),
            (64, 64, 64),
            (97, 800, 95),
            (200, 3, 17),
            (5, 1030, 300),
            (96, 1024, 48),
            (40, 9000, 160),
            (50, 700, 70),
            (800, 40, 33),
            (24, 32, 1),
            (64, 64, 16),
            (13, 33, 33000),
        ] {
            for (a_transposed, b_transposed, beta) in [(false, false, 0.0), (false, true, 1.0), (true, false, 1.0), (true, true, 0.0)] {
                let mut draw = |len: usize| -> Vec<f32> { (0..len).map(|_| generator.normal() as f32).collect() };
                let (a, b, c) = (draw(m * k), draw(k * n), draw(m * n));
                let a_of = |i: usize, p: usize| a[if a_transposed { p * m + i } else { i * k + p }];
                let b_of = |p: usize, j: usize| b[if b_transposed { j * k + p } else { p * n + j }];
                let left = if a_transposed { Matrix::row_major(&a, m).t() } else { Matrix::row_major(&a, k) };
                let right = if b_transposed { Matrix::row_major(&b, k).t() } else { Matrix::row_major(&b, n) };
                let (mut one, mut many) = (c.clone(), c.clone());
                // SAFETY: the matrices are whole slices and the instructions are there.
                unsafe {
                    serial_with::<I>((m, k, n), left, right, beta, Output { start: one.as_mut_ptr(), stride: n });
                    parallel_with::<I>((m, k, n), left, right, beta, &mut many);
                }
                assert_eq!(one, many, "the same bits however the work is cut");
                for (position, &got) in one.iter().enumerate() {
                    let (i, j) = (position / n, position % n);
                    let terms = (0..k).map(|p| a_of(i, p) as f64 * b_of(p, j) as f64);
                    let (sum, size) = terms.fold((0.0, 0.0), |(sum, size): (f64, f64), x| (sum + x, size + x.abs()));
                    let old = (beta * c[position]) as f64;
                    let bound = (k + 2) as f64 * f32::UNIT_ROUNDOFF * (size + old.abs());
                    assert!((got as f64 - sum - old).abs() <= bound, "{m}×{k}×{n} at ({i}, {j}): {got} against {}", sum + old);
                }
            }
        }
    }
}
