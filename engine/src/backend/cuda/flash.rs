//! Launches of attention on tensor cores: operands in bfloat16, for heads of up to 128 features in multiples of 8.

use super::array::CudaArray;
use super::attention::{Call, tiles};
use super::context::Cuda;
use super::launch::{Argument, arguments};
use super::runtime::Storage;
use crate::backend::precision::Precision;
use crate::segments::Segments;

/// Rows of a block's own tile, and threads of a block. They equal `ROWS` and `THREADS` in the kernels.
const ROWS: usize = 64;
const THREADS: u32 = 128;
/// The widest head that the kernels support.
const WIDEST: usize = 128;

/// The kernels for heads of a width, with the sizes of their tiles.
struct Variant {
    width: usize,
    /// Rows of a tile of the other side (keys for a block of queries, or the reverse), forward and backward.
    forward: usize,
    backward: usize,
}

impl Variant {
    fn of(width: usize) -> Self {
        if width <= 64 { Self { width: 64, forward: 64, backward: 64 } } else { Self { width: 128, forward: 64, backward: 32 } }
    }
    /// The bytes of this many rows of features, padded against bank conflicts.
    fn bytes(&self, rows: usize) -> usize {
        rows * (self.width + 8) * Storage::Bf16.bytes()
    }
    /// Shared memory of the forward kernel: a tile of queries, and two stages of a tile of keys and a tile of values.
    fn shared_forward(&self) -> u32 {
        self.bytes(ROWS + 4 * self.forward) as u32
    }
    /// Shared memory of a backward kernel: two tiles of its own, and two stages of two tiles of the other side. The kernel over `keys` also
    /// needs the logsumexps and δs of the queries.
    fn shared_backward(&self, keys: bool) -> u32 {
        let numbers = if keys { 4 * self.backward * size_of::<f32>() } else { 0 };
        (self.bytes(2 * ROWS + 4 * self.backward) + numbers) as u32
    }
}

impl Cuda {
    /// True if tensor cores compute attention for heads of this width.
    pub(super) fn is_flash(&self, width: usize) -> bool {
        self.0.precision == Precision::Bf16 && width <= WIDEST && width.is_multiple_of(8) && width > 0
    }

    fn flash_operand(&self, x: &CudaArray) -> CudaArray {
        self.packed(&self.rounded(x))
    }

    /// Computes the output [N, H, D] in bfloat16 and the logsumexp of the scores [N, H] in f32.
    pub(super) fn flash(&self, qkv: [&CudaArray; 3], segments: &Segments, scale: f64) -> (CudaArray, CudaArray) {
        let (call, variant) = (Call::new(qkv[0], qkv[1], segments, scale), Variant::of(qkv[0].shape()[2]));
        let [q, k, v] = qkv.map(|x| self.flash_operand(x));
        let (output, logsumexp) = (self.empty_as(q.shape(), Storage::Bf16), self.empty(&q.shape()[..2]));
        let tiles = tiles(segments, ROWS, false);
        let table = self.table(&tiles);
        let mut arguments = Vec::from(arguments![&output, &logsumexp, &q, &k, &v, Argument::Address(table.address())]);
        arguments.extend(call.tail());
        let (kernel, size) = (format!("flash_{}", variant.width), (THREADS, variant.shared_forward()));
        self.launch_tiles(("flash", &kernel), (&tiles, call.heads), size, &arguments);
        (output, logsumexp)
    }

    /// Computes (q̄, k̄, v̄) in bfloat16.
    pub(super) fn flash_vjp(
        &self,
        qkv: [&CudaArray; 3],
        [output, logsumexp, cotangent]: [&CudaArray; 3],
        segments: &Segments,
        scale: f64,
    ) -> (CudaArray, CudaArray, CudaArray) {
        let (call, variant) = (Call::new(qkv[0], qkv[1], segments, scale), Variant::of(qkv[0].shape()[2]));
        let [q, k, v] = qkv.map(|x| self.flash_operand(x));
        let [output, g] = [output, cotangent].map(|x| self.flash_operand(x));
        let logsumexp = self.contiguous(logsumexp);
        let delta = self.empty(logsumexp.shape());
        self.row_dot(&delta, &output, &g);
        let bars @ [q_bar, k_bar, v_bar] = &[&q, &k, &v].map(|x| self.empty_as(x.shape(), Storage::Bf16));
        for over_keys in [false, true] {
            let tiles = tiles(segments, ROWS, over_keys);
            let table = self.table(&tiles);
            let written = if over_keys { &bars[1..] } else { &bars[..1] };
            let mut arguments: Vec<Argument> = written.iter().map(Argument::from).collect();
            arguments.extend(Vec::from(arguments![&q, &k, &v, &logsumexp, &delta, &g, Argument::Address(table.address())]));
            arguments.extend(call.tail());
            let (name, heads) = if over_keys { ("keys", call.kv_heads) } else { ("queries", call.heads) };
            let (kernel, size) = (format!("flash_{name}_{}", variant.width), (THREADS, variant.shared_backward(over_keys)));
            self.launch_tiles(("flash", &kernel), (&tiles, heads), size, &arguments);
        }
        (q_bar.clone(), k_bar.clone(), v_bar.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_fits_into_shared_memory() {
        // The smallest limit of shared memory per block among the supported GPUs, in bytes.
        let most = 99 * 1024;
        for width in [8, 64, 72, WIDEST] {
            let variant = Variant::of(width);
            assert!(variant.width >= width);
            assert!(variant.shared_forward() <= most && variant.shared_backward(false) <= most && variant.shared_backward(true) <= most);
        }
    }
}
