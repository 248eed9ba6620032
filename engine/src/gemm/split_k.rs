//! Products with a long sum and a small result, as gradients of weights are: each task forms all of C for its part of the inner extent, from
//! rows that its thread has likely made itself, and the parts are added in their order. Nothing waits for an operand that is packed for all.

use super::instructions::FEW_ROWS;
use super::kernel::{Kernel, Side};
use super::loop_nest::Product;
use super::matrix::{Extents, MatrixMut, pairs};
use super::operand::{Operand, parts};
use crate::buffer_pool::Pooled;
use crate::simd::vectorised;
use crate::threads::parallel_loop::InTasks;
use rayon::prelude::*;
use std::ops::Range;

/// Elements of C that a task adds up.
const TASK: usize = 1 << 12;

/// Is it quicker, for a sum in so many blocks? Not where the parts of C outweigh the operands.
pub fn pays(blocks: usize, (m, k, n): Extents) -> bool {
    blocks > 1 && m.min(n) > FEW_ROWS && 4 * blocks * m * n <= k * (m + n)
}

/// A·B, or C + A·B, by blocks of k of this depth.
///
/// # Safety
/// As [`serial`](super::serial).
pub unsafe fn run<K: Kernel>((shared, own): (Operand<'_>, Operand<'_>), k: usize, depth: usize, accumulate: bool, c: &[MatrixMut<f32>]) {
    let blocks: Vec<Range<usize>> = parts(0..k, depth).collect();
    let (a, b) = if own.side == Side::A { (own, shared) } else { (shared, own) };
    let lens: Vec<usize> = pairs(a.pieces, b.pieces).map(|(a, b)| a.lines * b.lines).collect();
    let of_all: usize = lens.iter().sum();
    let mut partial = f32::pool().take((blocks.len() - 1) * of_all);
    let outputs = outputs_of_blocks(c, &lens, &mut partial);
    let group = own.group::<K>();
    let own_lines = own.lines.div_ceil(group).div_ceil(tasks_a_block(blocks.len(), rayon::current_num_threads())) * group;
    let own_tasks = own.lines.div_ceil(own_lines);
    (0..blocks.len() * own_tasks).into_par_iter().for_each_task(|task| {
        let (block, from) = (task / own_tasks, task % own_tasks * own_lines);
        let part = blocks[block].clone();
        let mut packed = K::Unit::pool().take(shared.packed_len::<K>(shared.lines, part.len()));
        // SAFETY: the caller's promise; tasks write disjoint blocks of C or of what is added to it.
        unsafe {
            shared.pack::<K>(0..shared.lines, part.clone(), &mut packed);
            let c = &outputs[block];
            let product = Product { shared, own, part, depth, packed: &packed, accumulate: accumulate && block == 0, c };
            let lines = from..(from + own_lines).min(own.lines);
            product.task::<K>(&(0..shared.lines), lines, product.block_lines::<K>(own_lines));
        }
        K::Unit::pool().give(packed);
    });
    for (number, (&c, &len)) in c.iter().zip(&lens).enumerate() {
        // SAFETY: C has so many elements in row-major order.
        let c = unsafe { std::slice::from_raw_parts_mut(c.start, len) };
        let before: usize = lens[..number].iter().sum();
        let terms: Vec<&[f32]> = partial.chunks_exact(of_all).map(|part| &part[before..before + len]).collect();
        add(c, &terms);
    }
    f32::pool().give(partial);
}

/// Into how many tasks a block is cut, each of which packs the shared operand for itself: the fewest with which all threads have as many, or
/// some to take over.
fn tasks_a_block(blocks: usize, threads: usize) -> usize {
    (1..threads).find(|tasks| (blocks * tasks).is_multiple_of(threads) || blocks * tasks >= 4 * threads).unwrap_or(threads)
}

/// The outputs of each block: C for the first, then those of what is added to it.
fn outputs_of_blocks(c: &[MatrixMut<f32>], lens: &[usize], partial: &mut [f32]) -> Vec<Vec<MatrixMut<f32>>> {
    let mut outputs = vec![c.to_vec()];
    for mut part in partial.chunks_exact_mut(lens.iter().sum()) {
        let one = |(c, &len): (&MatrixMut<f32>, &usize)| {
            let (own, rest) = std::mem::take(&mut part).split_at_mut(len);
            part = rest;
            MatrixMut { start: own.as_mut_ptr(), row_stride: c.row_stride }
        };
        outputs.push(c.iter().zip(lens).map(one).collect());
    }
    outputs
}

/// c ← ((c + first term) + second term) …
fn add(c: &mut [f32], terms: &[&[f32]]) {
    c.par_chunks_mut(TASK).enumerate().for_each_task(|(task, c)| {
        vectorised(
            #[inline(always)]
            || {
                for term in terms {
                    c.iter_mut().zip(&term[task * TASK..]).for_each(|(c, x)| *c += x);
                }
            },
        )
    });
}
