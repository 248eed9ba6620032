//! Loops over the rows of an [N, V] buffer: one pass a row, rows in parallel. Nothing is summed across rows, so the result does not depend
//! on the number of threads.

use engine::{InTasks, Scalar, vectorised};

/// Numbers that are summed one after another; partial sums of blocks keep the error of a long row small.
const BLOCK: usize = 512;
/// Sums that run beside each other, for the vector unit.
const LANES: usize = 16;

/// Numbers that a task has at least, if there are so many.
const TASK: usize = 1 << 13;

/// Calls f(row number, row) for every row of `data`, where vectors serve if it is inlined ([`vectorised`]). Returns the results in order.
pub(crate) fn map_rows<T: Scalar, R: Send>(data: &mut [T], width: usize, f: impl Fn(usize, &mut [T]) -> R + Sync) -> Vec<R> {
    let mut results: Vec<Option<R>> = Vec::new();
    results.resize_with(data.len() / width, || None);
    let rows = TASK.div_ceil(width);
    let tasks = data.chunks_mut(rows * width).zip(results.chunks_mut(rows)).enumerate();
    tasks.for_each_task(|(task, (data, results))| {
        for (i, (row, result)) in data.chunks_exact_mut(width).zip(results).enumerate() {
            *result = Some(vectorised::<T, _>(
                #[inline(always)]
                || f(task * rows + i, row),
            ));
        }
    });
    results.into_iter().map(|result| result.expect("every row has a task")).collect()
}

/// Σ f(x) over a row.
#[inline(always)]
pub(crate) fn sum_of<T: Scalar>(row: &[T], f: impl Fn(T) -> T) -> T {
    let mut total = T::zero();
    for block in row.chunks(BLOCK) {
        let mut lanes = [T::zero(); LANES];
        let mut parts = block.chunks_exact(LANES);
        for part in &mut parts {
            for (lane, &x) in lanes.iter_mut().zip(part) {
                *lane += f(x);
            }
        }
        let rest: T = parts.remainder().iter().map(|&x| f(x)).sum();
        total += lanes.into_iter().sum::<T>() + rest;
    }
    total
}

/// ln Σ e^x over a row as (m, ln Σ e^{x − m}), m = max x: x − m − ln Σ e^{x − m} keeps the digits that x − ln Σ e^x loses where x is large.
/// (m, 0) where m is not finite.
#[inline(always)]
pub(crate) fn logsumexp_parts<T: Scalar>(row: &[T]) -> (T, T) {
    let m = row.iter().fold(T::neg_infinity(), |m, &x| m.maximum(x));
    if !m.is_finite() {
        return (m, T::zero());
    }
    (m, sum_of(row, |x| (x - m).exp()).ln())
}
