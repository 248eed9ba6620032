//! Matrix products of f32 whose operands are rounded to bfloat16 while they are packed, with sums in f32: by AMX tiles, or by the dot
//! products of AVX512-BF16. The readable twin is the triple sum over rounded operands in the tests.
//!
//! The smaller operand is packed once for all tasks, part by part of k; each task packs its own lines of the larger one, which so goes through
//! memory once. Every element is a sum in the order of k, in blocks that do not depend on how the tasks are cut: the same bits on any number
//! of threads. AMX and AVX512-BF16 group the terms differently, so their bits differ.

mod amx;
mod dot;
mod pack;

use super::matmul::{Extents, Matrix};
use amx::Amx;
use dot::Dot;
use pack::{COLUMNS, Operand, PAIRS, Row, STEP, Side};
use rayon::prelude::*;
use std::ops::Range;

/// Steps of k that are packed together at most: a group of the shared operand stays in the first-level cache.
const DEPTH: usize = 16;
/// Rows of 16 pairs of the shared operand that are packed at a time: 8 MiB.
const SHARED: usize = 1 << 17;
/// Rows of 16 pairs that a task packs for itself: they stay in the second-level cache.
const OWN: usize = 1 << 12;
/// A task has at least about this many multiply-adds.
const TASK_WORK: usize = 1 << 21;

/// What the products are made with.
trait Instructions {
    /// Rows of a group of A.
    const ROWS: usize;

    /// Are they there?
    fn available() -> bool;

    /// C ← A·B or, to accumulate, A·B + C for a group of rows and a panel of columns.
    ///
    /// # Safety
    /// The instructions must be there and all elements of the tile valid.
    unsafe fn sums(tile: Tile);
}

/// What a kernel works on: a group of A, a panel of B, both packed, and whole rows and columns of C.
#[derive(Clone, Copy)]
struct Tile {
    steps: usize,
    a: *const Row,
    b: *const Row,
    c: *mut f32,
    c_stride: usize,
    accumulate: bool,
}

/// The instructions that are used; `None` where there are none for products of bfloat16.
#[inline]
pub fn instructions() -> Option<&'static str> {
    if Amx::available() {
        Some("AMX")
    } else if Dot::available() {
        Some("AVX512-BF16")
    } else {
        None
    }
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

/// C ← A·B + βC in this thread, C with rows `c_stride` apart.
///
/// # Safety
/// [`instructions`] must have found some; every element that is reached must be valid, and nothing else may touch those of C meanwhile.
pub unsafe fn serial(extents: Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: *mut f32, c_stride: usize) {
    let output = Output { start: c, stride: c_stride };
    // SAFETY: the caller's promise.
    unsafe {
        if Amx::available() { serial_with::<Amx>(extents, a, b, beta, output) } else { serial_with::<Dot>(extents, a, b, beta, output) }
    }
}

/// C ← A·B + βC in parallel, C in row-major order.
///
/// # Safety
/// As [`serial`].
pub unsafe fn parallel(extents: Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: &mut [f32]) {
    let output = Output { start: c.as_mut_ptr(), stride: extents.2 };
    // SAFETY: the caller's promise.
    unsafe {
        if Amx::available() { parallel_with::<Amx>(extents, a, b, beta, output) } else { parallel_with::<Dot>(extents, a, b, beta, output) }
    }
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
fn block_depth(k: usize) -> usize {
    let steps = k.div_ceil(STEP);
    steps.div_ceil(steps.div_ceil(DEPTH).max(1)) * STEP
}

/// [`serial`] with these instructions.
///
/// # Safety
/// As [`serial`], and the instructions must be there.
unsafe fn serial_with<I: Instructions>((m, k, n): Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: Output) {
    let (a, b) = (Operand { matrix: a, side: Side::Rows(I::ROWS) }, Operand { matrix: b.t(), side: Side::Columns });
    // SAFETY: the caller's promise.
    unsafe {
        let accumulate = accumulates((m, k, n), beta, c);
        for part in parts(0..k, block_depth(k)) {
            let (a_len, b_len) = (a.packed_len(m, part.len()), b.packed_len(n, part.len()));
            pack::with_scratch(a_len + b_len, |scratch| {
                let (a_packed, b_packed) = scratch.split_at_mut(a_len);
                a.pack(0..m, part.clone(), a_packed);
                b.pack(0..n, part.clone(), b_packed);
                block::<I>((0..m, 0..n), a_packed, b_packed, accumulate || part.start > 0, c);
            });
        }
    }
}

/// [`parallel`] with these instructions.
///
/// # Safety
/// As [`serial_with`].
unsafe fn parallel_with<I: Instructions>((m, k, n): Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: Output) {
    // SAFETY: the caller's promise.
    let accumulate = unsafe { accumulates((m, k, n), beta, c) };
    let (a, b) = (Operand { matrix: a, side: Side::Rows(I::ROWS) }, Operand { matrix: b.t(), side: Side::Columns });
    let shares_a = m <= n;
    let ((shared, shared_lines), (own, own_lines)) = if shares_a { ((a, m), (b, n)) } else { ((b, n), (a, m)) };
    let depth = block_depth(k);
    let block_len = shared.packed_len(shared_lines, depth);
    for part in parts(0..k, (SHARED / block_len).max(1) * depth) {
        // SAFETY: the caller's promise.
        let packed = unsafe { shared.pack_in_parallel(shared_lines, &part, depth) };
        let (shared_cut, own_cut) = cut((shared_lines, shared.group()), (own_lines, own.group()), m * part.len() * n / TASK_WORK);
        let own_tasks = own_lines.div_ceil(own_cut);
        (0..own_tasks * shared_lines.div_ceil(shared_cut)).into_par_iter().with_max_len(1).for_each(|task| {
            let of_shared = task / own_tasks * shared_cut..((task / own_tasks + 1) * shared_cut).min(shared_lines);
            let of_own = task % own_tasks * own_cut..((task % own_tasks + 1) * own_cut).min(own_lines);
            for (packed, block_part) in packed.chunks_exact(block_len).zip(parts(part.clone(), depth)) {
                let shared_packed = shared.packed_lines(packed, &of_shared, block_part.len());
                let accumulate = accumulate || block_part.start > 0;
                pack::with_scratch(own.packed_len(of_own.len(), block_part.len()), |own_packed| {
                    // SAFETY: the caller's promise; tasks write disjoint blocks of C.
                    unsafe {
                        own.pack(of_own.clone(), block_part, own_packed);
                        if shares_a {
                            block::<I>((of_shared.clone(), of_own.clone()), shared_packed, own_packed, accumulate, c)
                        } else {
                            block::<I>((of_own.clone(), of_shared.clone()), own_packed, shared_packed, accumulate, c)
                        }
                    }
                });
            }
        });
        pack::recycle(packed);
    }
}

/// How many lines of the shared and of the own operand a task multiplies, with about `worthwhile` tasks at most: the own lines are cut first,
/// because tasks that share some of them pack them each for itself.
fn cut((shared_lines, shared_group): (usize, usize), (own_lines, own_group): (usize, usize), worthwhile: usize) -> (usize, usize) {
    let wanted = worthwhile.clamp(1, 4 * rayon::current_num_threads());
    let most = OWN / DEPTH;
    let own = (own_lines.div_ceil(own_group).div_ceil(wanted) * own_group).clamp(own_group, most);
    let shared_tasks = wanted.div_ceil(own_lines.div_ceil(own));
    let shared = shared_lines.div_ceil(shared_group).div_ceil(shared_tasks) * shared_group;
    (shared.max(shared_group), own)
}

/// C[rows, columns] ← A·B or, to accumulate, that plus C, both packed for the same part of k.
///
/// # Safety
/// As [`serial_with`].
unsafe fn block<I: Instructions>((rows, columns): (Range<usize>, Range<usize>), a: &[Row], b: &[Row], accumulate: bool, c: Output) {
    let (groups, panels) = (rows.len().div_ceil(I::ROWS), columns.len().div_ceil(COLUMNS));
    let steps = b.len() / (panels * PAIRS * 2);
    let (group_len, panel_len) = (steps * I::ROWS, steps * PAIRS * 2);
    let one = |group: usize, panel: usize| {
        let (row, column) = (rows.start + group * I::ROWS, columns.start + panel * COLUMNS);
        let extents = (I::ROWS.min(rows.end - row), COLUMNS.min(columns.end - column));
        // SAFETY: the group, the panel and the part of C lie inside what the caller promises.
        unsafe {
            let (a, b) = (a.as_ptr().add(group * group_len), b.as_ptr().add(panel * panel_len));
            let c = Output { start: c.start.add(row * c.stride + column), ..c };
            sums::<I>(extents, Tile { steps, a, b, c: c.start, c_stride: c.stride, accumulate });
        }
    };
    // The operand with fewer lines is walked in the inner loop, from the second-level cache, while a group of the other stays in the first.
    if groups <= panels {
        (0..panels).for_each(|panel| (0..groups).for_each(|group| one(group, panel)));
    } else {
        (0..groups).for_each(|group| (0..panels).for_each(|panel| one(group, panel)));
    }
}

/// The kernel, for a tile that may have fewer rows and columns than the kernel's.
///
/// # Safety
/// As [`Instructions::sums`].
unsafe fn sums<I: Instructions>((rows, columns): (usize, usize), tile: Tile) {
    if (rows, columns) == (I::ROWS, COLUMNS) {
        // SAFETY: the caller's promise.
        return unsafe { I::sums(tile) };
    }
    let mut whole = [0.0; 32 * COLUMNS];
    // SAFETY: the caller's promise; `whole` has the extents of a whole tile.
    unsafe {
        for i in (0..rows).filter(|_| tile.accumulate) {
            std::ptr::copy_nonoverlapping(tile.c.add(i * tile.c_stride), whole.as_mut_ptr().add(i * COLUMNS), columns);
        }
        I::sums(Tile { c: whole.as_mut_ptr(), c_stride: COLUMNS, ..tile });
        for i in 0..rows {
            std::ptr::copy_nonoverlapping(whole.as_ptr().add(i * COLUMNS), tile.c.add(i * tile.c_stride), columns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generator, Scalar};

    /// x rounded to bfloat16 by its definition: to nearest, ties to even.
    fn rounded(x: f32) -> f64 {
        let bits = x.to_bits();
        f64::from(f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000))
    }

    /// Products of rounded numbers are exact in f32, so γ = (k + 1)·u bounds the error of their sum relative to Σ |a·b| (Higham 2002, equation
    /// 3.4, for any order of the sum).
    #[test]
    fn agrees_with_the_triple_sum_of_rounded_operands_for_all_strides_and_edges() {
        agrees::<Amx>("AMX");
        agrees::<Dot>("AVX512-BF16");
    }

    fn agrees<I: Instructions>(name: &str) {
        if !I::available() {
            return println!("skipped: this processor has no {name}");
        }
        let mut generator = Generator::new(7);
        for (m, k, n) in [
            (1, 1, 1),
            (32, 32, 32),
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
            (13, 33, 33000),
        ] {
            for (a_transposed, b_transposed, beta) in [(false, false, 0.0), (false, true, 1.0), (true, false, 0.5), (true, true, 0.0)] {
                let mut draw = |len: usize| -> Vec<f32> { (0..len).map(|_| generator.normal() as f32).collect() };
                let (a, b, c) = (draw(m * k), draw(k * n), draw(m * n));
                let a_of = |i: usize, p: usize| rounded(a[if a_transposed { p * m + i } else { i * k + p }]);
                let b_of = |p: usize, j: usize| rounded(b[if b_transposed { j * k + p } else { p * n + j }]);
                let left = if a_transposed { Matrix::row_major(&a, m).t() } else { Matrix::row_major(&a, k) };
                let right = if b_transposed { Matrix::row_major(&b, k).t() } else { Matrix::row_major(&b, n) };
                let (mut one, mut many) = (c.clone(), c.clone());
                // SAFETY: the matrices are whole slices and the instructions are there.
                unsafe {
                    serial_with::<I>((m, k, n), left, right, beta, Output { start: one.as_mut_ptr(), stride: n });
                    parallel_with::<I>((m, k, n), left, right, beta, Output { start: many.as_mut_ptr(), stride: n });
                }
                assert_eq!(one, many, "{name}: the same bits however the work is cut");
                for (position, &got) in one.iter().enumerate() {
                    let (i, j) = (position / n, position % n);
                    let terms = (0..k).map(|p| a_of(i, p) * b_of(p, j));
                    let (sum, size) = terms.fold((0.0, 0.0), |(sum, size): (f64, f64), x| (sum + x, size + x.abs()));
                    let old = f64::from(beta * c[position]);
                    let bound = (k + 2) as f64 * f32::UNIT_ROUNDOFF * (size + old.abs());
                    assert!((f64::from(got) - sum - old).abs() <= bound, "{name} {m}×{k}×{n} at ({i}, {j}): {got} against {}", sum + old);
                }
            }
        }
    }

    /// Numbers in neither order of the memory, as of an array whose axes were permuted.
    #[test]
    fn reads_operands_of_any_strides() {
        if instructions().is_none() {
            return println!("skipped: this processor has no AMX and no AVX512-BF16");
        }
        let (m, k, n) = (19, 70, 21);
        let mut generator = Generator::new(8);
        let mut draw = |len: usize| -> Vec<f32> { (0..len).map(|_| generator.normal() as f32).collect() };
        let (a, b) = (draw(m * k * 2), draw(k * n * 3));
        let dense = |x: &[f32], step: usize| x.iter().copied().step_by(step).collect::<Vec<_>>();
        let (a_dense, b_dense) = (dense(&a, 2), dense(&b, 3));
        let spread =
            |x: &[f32], columns: usize, step: usize| Matrix { start: x.as_ptr(), strides: ((columns * step) as isize, step as isize) };
        let (mut expected, mut got) = (vec![0.0; m * n], vec![0.0; m * n]);
        // SAFETY: the strides reach elements of the slices only.
        unsafe {
            parallel((m, k, n), Matrix::row_major(&a_dense, k), Matrix::row_major(&b_dense, n), 0.0, &mut expected);
            parallel((m, k, n), spread(&a, k, 2), spread(&b, n, 3), 0.0, &mut got);
        }
        assert_eq!(expected, got);
    }

    /// What cannot be kept in bfloat16 goes to ∞, NaN stays NaN, and neither reaches other rows and columns.
    #[test]
    fn infinities_and_nan_stay_in_their_row_and_column() {
        if instructions().is_none() {
            return println!("skipped: this processor has no AMX and no AVX512-BF16");
        }
        let (m, k, n) = (33, 40, 34);
        let (mut a, mut b) = (vec![1.0; m * k], vec![1.0; k * n]);
        a[3 * k + 7] = f32::NAN;
        a[5 * k + 1] = f32::MAX;
        b[2 * n + 33] = f32::NEG_INFINITY;
        let mut c = vec![0.0; m * n];
        // SAFETY: the matrices are whole slices.
        unsafe { parallel((m, k, n), Matrix::row_major(&a, k), Matrix::row_major(&b, n), 0.0, &mut c) };
        for (position, &x) in c.iter().enumerate() {
            let right = match (position / n, position % n) {
                (3, _) | (5, 33) => x.is_nan(),
                (5, _) => x == f32::INFINITY,
                (_, 33) => x == f32::NEG_INFINITY,
                _ => x == 40.0,
            };
            assert!(right, "{x} at ({}, {})", position / n, position % n);
        }
    }
}
