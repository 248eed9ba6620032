//! Products with a long sum and a small result, as gradients of weights are, cut along k.
//!
//! Each task forms all of C for its block of k, and the blocks are added in order. A task's rows are likely those that its thread has made
//! itself, so that they are still in its cache. Nothing waits for an operand that is packed for all.

use super::kernel::{Kernel, Side};
use super::loop_nest::PackedProduct;
use super::matrix::{Extents, FEW_ROWS, MatrixMut, pairs};
use super::operand::{Operand, split_range};
use crate::buffer_pool::Pooled;
use crate::simd::vectorised;
use crate::threads::parallel_loop::{InTasks, run_tasks};
use std::ops::Range;

/// Elements of C that a task adds up.
const TASK: usize = 1 << 12;

/// Whether to cut a product along k into this many blocks. Not worth it where the partial sums outweigh the operands.
pub fn should_split_k(blocks: usize, (m, k, n): Extents) -> bool {
    blocks > 1 && m.min(n) > FEW_ROWS && 4 * blocks * m * n <= k * (m + n)
}

/// C ← A·B or, to accumulate, C ← C + A·B, by blocks of k of this depth.
///
/// # Safety
/// As [`serial`](super::multiply::serial).
pub unsafe fn multiply_split_k<K: Kernel>(
    (shared, own): (Operand<'_>, Operand<'_>),
    k: usize,
    depth: usize,
    accumulate: bool,
    c: &[MatrixMut<f32>],
) {
    let k_blocks: Vec<Range<usize>> = split_range(0..k, depth).collect();
    let (a, b) = if own.side == Side::A { (own, shared) } else { (shared, own) };
    let lens: Vec<usize> = pairs(a.members, b.members).map(|(a, b)| a.lines * b.lines).collect();
    let total_len: usize = lens.iter().sum();
    let mut partial_sums = f32::pool().take((k_blocks.len() - 1) * total_len);
    let outputs = outputs_of_blocks(c, &lens, &mut partial_sums);
    let panel = own.panel_lines::<K>();
    let own_lines = own.lines.div_ceil(panel).div_ceil(tasks_per_block(k_blocks.len(), rayon::current_num_threads())) * panel;
    let own_tasks = own.lines.div_ceil(own_lines);
    run_tasks(k_blocks.len() * own_tasks, &|task| {
        let (block, from) = (task / own_tasks, task % own_tasks * own_lines);
        let k_part = k_blocks[block].clone();
        let mut packed = K::Unit::pool().take(shared.packed_len::<K>(shared.lines, k_part.len()));
        // SAFETY: the caller's promise; tasks write disjoint blocks of C or of a partial sum.
        unsafe {
            shared.pack::<K>(0..shared.lines, k_part.clone(), &mut packed);
            let c = &outputs[block];
            let product = PackedProduct { shared, own, k_part, depth, packed: &packed, accumulate: accumulate && block == 0, c };
            let lines = from..(from + own_lines).min(own.lines);
            product.run_task::<K>(&(0..shared.lines), lines, product.own_block_lines::<K>(own_lines));
        }
        K::Unit::pool().give(packed);
    });
    for (number, (&c, &len)) in c.iter().zip(&lens).enumerate() {
        // SAFETY: C has `len` elements in row-major order.
        let c = unsafe { std::slice::from_raw_parts_mut(c.start, len) };
        let before: usize = lens[..number].iter().sum();
        let terms: Vec<&[f32]> = partial_sums.chunks_exact(total_len).map(|sums| &sums[before..before + len]).collect();
        add_in_order(c, &terms);
    }
    f32::pool().give(partial_sums);
}

/// The number of tasks that a block is cut into, each of which packs the shared operand for itself: the fewest that keep all threads busy.
/// Either all have the same number of tasks, or there are four a thread.
fn tasks_per_block(blocks: usize, threads: usize) -> usize {
    (1..threads).find(|tasks| (blocks * tasks).is_multiple_of(threads) || blocks * tasks >= 4 * threads).unwrap_or(threads)
}

/// The outputs of each block: C for the first, partial sums for the others.
fn outputs_of_blocks(c: &[MatrixMut<f32>], lens: &[usize], partial_sums: &mut [f32]) -> Vec<Vec<MatrixMut<f32>>> {
    let mut outputs = vec![c.to_vec()];
    for mut sums in partial_sums.chunks_exact_mut(lens.iter().sum()) {
        let one = |(c, &len): (&MatrixMut<f32>, &usize)| {
            let (own, rest) = std::mem::take(&mut sums).split_at_mut(len);
            sums = rest;
            MatrixMut::row_major(own, c.row_stride)
        };
        outputs.push(c.iter().zip(lens).map(one).collect());
    }
    outputs
}

/// c ← ((c + first term) + second term) …
fn add_in_order(c: &mut [f32], terms: &[&[f32]]) {
    c.chunks_mut(TASK).enumerate().for_each_task(|(task, c)| {
        vectorised::<f32, _>(
            #[inline(always)]
            || {
                for term in terms {
                    c.iter_mut().zip(&term[task * TASK..]).for_each(|(c, x)| *c += x);
                }
            },
        )
    });
}
