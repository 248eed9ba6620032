//! Gathering and scattering by integer indices.

use super::array::CpuArray;
use super::element::Element;
use crate::threads::parallel_loop::InTasks;

/// Number of elements that are worth a task.
const TASK_ELEMENTS: usize = 1 << 14;
/// Largest number of tasks of a scatter, because each task looks at every index to find its own rows.
const MOST_TASKS: usize = 64;

/// Gathers rows of a table [V, D] at N indices.
pub fn gather_rows<T: Element>(table: &CpuArray<T>, rows: &[u32]) -> CpuArray<T> {
    let width = table.shape()[1];
    let elements = table.elements();
    let mut out = T::allocate(rows.len() * width);
    let rows_a_task = 1 + TASK_ELEMENTS / width.max(1);
    out.chunks_mut(rows_a_task * width.max(1)).zip(rows.chunks(rows_a_task)).for_each_task(|(out, rows)| {
        for (out, &row) in out.chunks_exact_mut(width).zip(rows) {
            out.copy_from_slice(&elements[row as usize * width..][..width]);
        }
    });
    CpuArray::from_vec(out, &[rows.len(), width])
}

/// Adds row n of x [N, D] to row `rows[n]` of zeros, in order of n.
pub fn scatter_add_rows<T: Element>(x: &CpuArray<T>, rows: &[u32], row_count: usize) -> CpuArray<T> {
    let mut out = T::allocate(row_count * x.shape()[1]);
    add_rows(&mut out, x, rows, row_count, |zeros| zeros.fill(T::zero()));
    CpuArray::from_vec(out, &[row_count, x.shape()[1]])
}

/// Adds row n of x [N, D] to row `rows[n]` of `sum`, in order of n.
pub fn scatter_add_rows_to<T: Element>(sum: CpuArray<T>, x: &CpuArray<T>, rows: &[u32]) -> CpuArray<T> {
    let shape = sum.shape().to_vec();
    let mut out = sum.into_owned_elements();
    add_rows(&mut out, x, rows, shape[0], |_| ());
    CpuArray::from_vec(out, &shape)
}

/// Adds each row of x to its row of `out`, after `first` has run on each task's rows of `out`.
fn add_rows<T: Element>(out: &mut [T], x: &CpuArray<T>, rows: &[u32], row_count: usize, first: impl Fn(&mut [T]) + Sync) {
    let width = x.shape()[1];
    let elements = x.elements();
    let rows_a_task = (TASK_ELEMENTS / width.max(1)).max(row_count / MOST_TASKS) + 1;
    out.chunks_mut(rows_a_task * width.max(1)).enumerate().for_each_task(|(task, out)| {
        first(out);
        let own = task * rows_a_task..(task + 1) * rows_a_task;
        for (x, &row) in elements.chunks_exact(width.max(1)).zip(rows).filter(|(_, row)| own.contains(&(**row as usize))) {
            out[(row as usize - own.start) * width..][..width].iter_mut().zip(x).for_each(|(y, &x)| *y += x);
        }
    });
}

/// Gathers y[r, j] = x[r, index[r, j]] along the last axis.
pub fn gather_last<T: Element>(x: &CpuArray<T>, index: &[u32], k: usize) -> CpuArray<T> {
    let n = *x.shape().last().expect("an axis");
    let shape = crate::shape::with_axis(x.shape(), x.shape().len() - 1, k);
    let elements = x.elements();
    let out = index.iter().enumerate().map(|(i, &j)| elements[i / k * n + j as usize]).collect();
    CpuArray::from_vec(out, &shape)
}

/// Scatters y[r, index[r, j]] += x[r, j] along the last axis, in order of j.
pub fn scatter_add_last<T: Element>(x: &CpuArray<T>, index: &[u32], n: usize) -> CpuArray<T> {
    let k = *x.shape().last().expect("an axis");
    let shape = crate::shape::with_axis(x.shape(), x.shape().len() - 1, n);
    let elements = x.elements();
    let mut out = T::allocate(crate::shape::count(&shape));
    out.fill(T::zero());
    if k > 0 && n > 0 {
        let rows_a_task = 1 + TASK_ELEMENTS / n;
        let inputs = elements.chunks(rows_a_task * k).zip(index.chunks(rows_a_task * k));
        out.chunks_mut(rows_a_task * n).zip(inputs).for_each_task(|(y, (x, index))| {
            for (y, (x, index)) in y.chunks_exact_mut(n).zip(x.chunks_exact(k).zip(index.chunks_exact(k))) {
                x.iter().zip(index).for_each(|(&x, &j)| y[j as usize] += x);
            }
        });
    }
    CpuArray::from_vec(out, &shape)
}
