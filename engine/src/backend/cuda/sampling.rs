//! Sampling of tokens from logits on the device. Only uniform numbers are uploaded, and only tokens are read back.

use super::array::CudaArray;
use super::context::{Buffer, Cuda};
use super::launch::{Argument, THREADS, arguments, int};
use super::{compile, runtime::Grid};
use crate::sampling::SamplingRule;

impl Cuda {
    /// Samples one token for each row of logits [R, V]. The kernel does not support min-p, so the host samples if the rule has one.
    pub(super) fn sampled(&self, logits: &CudaArray, rule: &SamplingRule, uniforms: &[f64]) -> Vec<u32> {
        if rule.temperature > 0.0 && rule.min_p > 0.0 {
            let numbers: Vec<f64> = self.download(&self.contiguous(logits)).into_iter().map(f64::from).collect();
            let rows = numbers.chunks_exact(logits.rows().1);
            return rows.zip(uniforms).map(|(row, &uniform)| rule.choose(row, uniform)).collect();
        }
        let (logits, (rows, n)) = (self.contiguous(logits), logits.rows());
        let grid = Grid { x: int(rows) as u32, y: 1, threads: THREADS, shared: 0 };
        // The kernel writes a token's bits into an array of f32.
        let tokens = self.empty(&[rows]);
        if rule.temperature == 0.0 {
            self.launch(&compile::unit("sampling"), "largest", grid, arguments![&tokens, &logits, int(n)]);
        } else {
            let numbers = self.doubles(uniforms);
            let weights = Buffer::new(&self.0, rows * n * size_of::<f64>());
            let [numbers_at, weights_at] = [&numbers, &weights].map(|buffer| Argument::Address(buffer.address()));
            let kept = match rule.top_k {
                0 if rule.keeps_all() => 0,
                0 => n,
                k => k.min(n),
            };
            let arguments = arguments![&tokens, weights_at, &logits, numbers_at, rule.temperature, int(kept), rule.top_p, int(n)];
            self.launch(&compile::unit("sampling"), "sample", grid, arguments);
        }
        self.download(&tokens).into_iter().map(f32::to_bits).collect()
    }

    fn doubles(&self, numbers: &[f64]) -> Buffer {
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_ne_bytes()).collect();
        let buffer = Buffer::new(&self.0, bytes.len());
        self.write(buffer.address(), &bytes);
        buffer
    }
}
