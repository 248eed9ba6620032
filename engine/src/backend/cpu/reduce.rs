//! Sums and maxima along an axis, in an order fixed by the sizes alone.

use super::array::CpuArray;
use super::element::Element;
use crate::shape::{around, with_axis};
use crate::simd::vectorised;
use crate::threads::parallel_loop::InTasks;

/// Partial sums that a row keeps, one per vector lane.
const LANES: usize = 16;
/// Rows longer than this are cut in two, and the sums of the halves are added. So the error grows with the logarithm of the length.
const PAIRWISE: usize = 1 << 10;
/// Rows (or elements of a row) handled by one task.
const TASK: usize = 1 << 14;

/// Folds a slice of at most [`PAIRWISE`] elements with `LANES` independent accumulators.
#[inline(always)]
fn fold_lanes<T: Element>(row: &[T], start: T, f: impl Fn(T, T) -> T + Copy) -> T {
    let mut lanes = [start; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = f(*lane, x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = f(*lane, x);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = f(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// Computes Σ of a slice.
#[inline(always)]
pub fn row_sum<T: Element>(row: &[T]) -> T {
    if row.len() <= PAIRWISE { fold_lanes(row, T::zero(), |a, b| a + b) } else { long_sum(row) }
}

fn long_sum<T: Element>(row: &[T]) -> T {
    if row.len() <= PAIRWISE {
        return fold_lanes(row, T::zero(), |a, b| a + b);
    }
    let middle = (row.len() / 2).next_multiple_of(LANES);
    long_sum(&row[..middle]) + long_sum(&row[middle..])
}

/// Computes Σ x·y over two slices of the same length.
#[inline(always)]
pub fn row_dot<T: Element>(x: &[T], y: &[T]) -> T {
    let y = &y[..x.len()];
    let mut lanes = [T::zero(); LANES];
    let whole = x.len() / LANES * LANES;
    for (a, b) in x[..whole].chunks_exact(LANES).zip(y[..whole].chunks_exact(LANES)) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    for i in whole..x.len() {
        lanes[i - whole] += x[i] * y[i];
    }
    row_sum(&lanes)
}

/// Computes the maximum of a slice: −∞ if it is empty, NaN if it holds a NaN.
#[inline(always)]
pub fn row_max<T: Element>(row: &[T]) -> T {
    fold_lanes(row, T::neg_infinity(), T::maximum)
}

/// Computes Σ along an axis, kept with extent 1.
pub fn sum<T: Element>(x: &CpuArray<T>, axis: usize) -> CpuArray<T> {
    reduce(x, axis, row_sum, T::zero(), |a, b| a + b)
}

/// Computes the maximum along an axis, kept with extent 1.
pub fn max<T: Element>(x: &CpuArray<T>, axis: usize) -> CpuArray<T> {
    reduce(x, axis, row_max, T::neg_infinity(), T::maximum)
}

fn reduce<T: Element>(
    x: &CpuArray<T>,
    axis: usize,
    row: impl Fn(&[T]) -> T + Sync + Copy,
    start: T,
    f: impl Fn(T, T) -> T + Sync + Copy,
) -> CpuArray<T> {
    let (outer, extent, inner) = around(x.shape(), axis);
    let elements = x.elements();
    let mut out = T::allocate(outer * inner);
    if extent == 0 {
        out.fill(start);
    } else if inner == 1 {
        let rows_a_task = (TASK / extent).max(1);
        out.chunks_mut(rows_a_task).zip(elements.chunks(rows_a_task * extent)).for_each_task(|(out, rows)| {
            vectorised::<T, _>(
                #[inline(always)]
                || out.iter_mut().zip(rows.chunks_exact(extent)).for_each(|(y, x)| *y = row(x)),
            )
        });
    } else {
        for (out, block) in out.chunks_exact_mut(inner).zip(elements.chunks_exact(extent * inner)) {
            fold_columns(block, out, start, f);
        }
    }
    CpuArray::from_vec(out, &with_axis(x.shape(), axis, 1))
}

/// Folds the rows of a [extent, inner] block into one row: rows within bands in parallel, then the bands in order.
fn fold_columns<T: Element>(block: &[T], out: &mut [T], start: T, f: impl Fn(T, T) -> T + Sync + Copy) {
    let inner = out.len();
    let rows_a_band = (TASK / inner).max(16);
    let add_rows = |into: &mut [T], rows: &[T]| {
        vectorised::<T, _>(
            #[inline(always)]
            || rows.chunks_exact(inner).for_each(|row| into.iter_mut().zip(row).for_each(|(y, &x)| *y = f(*y, x))),
        )
    };
    out.fill(start);
    if block.len() <= rows_a_band * inner {
        return add_rows(out, block);
    }
    let mut bands = T::allocate(block.len().div_ceil(rows_a_band * inner) * inner);
    bands.chunks_mut(inner).zip(block.chunks(rows_a_band * inner)).for_each_task(|(band, rows)| {
        band.fill(start);
        add_rows(band, rows);
    });
    add_rows(out, &bands);
    T::recycle(bands);
}
