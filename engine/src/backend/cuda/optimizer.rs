//! The optimizer's step, and the squares of a gradient's norm.

use super::Cuda;
use super::array::{Buffer, CudaArray};
use super::launch::{Argument, arguments};
use super::runtime::Grid;
use super::views::bytes_of_mut;
use super::{compile, launch};
use crate::backend::AdamwStep;

/// Elements whose squares one block adds up.
const CHUNK: usize = 1 << 16;

impl Cuda {
    pub(super) fn adamw_step(&self, [theta, m, v]: [&mut CudaArray; 3], gradient: &CudaArray, step: &AdamwStep) {
        let correction = |beta: f64| 1.0 - beta.powf(step.step as f64);
        let gradient = self.contiguous(gradient);
        let old = [&*theta, &*m, &*v].map(|x| (self.contiguous(x), x.address()));
        let mut new = [theta, m, v];
        for (array, (old, address)) in new.iter_mut().zip(&old) {
            // The arrays in `old` share the block with the one that is to be written, so two owners mean none besides.
            if old.address() != *address || !array.has_owners(2) {
                **array = self.empty(old.shape());
            }
        }
        new.iter().for_each(|array| array.forget_rounded());
        let n = gradient.len();
        let numbers = [
            step.gradient_scale,
            step.beta1,
            1.0 - step.beta1,
            step.beta2,
            1.0 - step.beta2,
            1.0 / correction(step.beta2),
            step.learning_rate / correction(step.beta1),
            1.0 - step.learning_rate * step.weight_decay,
            step.epsilon,
        ];
        let mut arguments = Vec::from(arguments![&*new[0], &*new[1], &*new[2], &old[0].0, &old[1].0, &old[2].0, &gradient]);
        arguments.extend(numbers.map(|x| Argument::Float(x as f32)));
        arguments.push(n.into());
        self.launch_elements("optimizer", "adamw", n, &mut arguments);
    }

    /// Σ x² of each array, with one wait for all.
    pub(super) fn squares(&self, arrays: &[&CudaArray]) -> Vec<f64> {
        let blocks: Vec<usize> = arrays.iter().map(|x| x.len().div_ceil(CHUNK)).collect();
        let total: usize = blocks.iter().sum();
        let sums = Buffer::new(&self.0, total * size_of::<f64>());
        let mut first = 0;
        for (x, &blocks) in arrays.iter().zip(&blocks) {
            let x = self.contiguous(x);
            let grid = Grid { x: blocks as u32, y: 1, threads: launch::THREADS, shared: 0 };
            let out = Argument::Address(sums.address() + (first * size_of::<f64>()) as u64);
            self.launch(&compile::unit("optimizer"), "sum_of_squares", grid, arguments![out, &x, CHUNK, x.len()]);
            first += blocks;
        }
        let mut partial = vec![0f64; total];
        if total > 0 {
            self.0.runtime.download(sums.address(), bytes_of_mut(&mut partial)).unwrap_or_else(|error| error.raise());
        }
        let mut rest = &partial[..];
        let mut take = |count: usize| {
            let (own, others) = rest.split_at(count);
            rest = others;
            own.iter().sum()
        };
        blocks.iter().map(|&count| take(count)).collect()
    }
}
