//! Launches of attention: cuts the packed segments into tiles, and chooses the kernels for the heads' width.

use super::array::CudaArray;
use super::compile;
use super::context::Cuda;
use super::launch::{Argument, arguments, int, typed};
use super::runtime::Grid;
use crate::backend::attention::{Attention, composed, composed_vjp};
use crate::rotary::Pairing;
use crate::segments::Segments;

/// The widest head that the kernels support.
const WIDEST: usize = 256;

/// The kernels for heads of a width, with the sizes of their tiles.
struct Variant {
    width: usize,
    /// Rows of a tile, forward and backward.
    forward: usize,
    backward: usize,
}

impl Variant {
    fn of(width: usize) -> Self {
        match width {
            0..=64 => Self { width: 64, forward: 64, backward: 32 },
            65..=128 => Self { width: 128, forward: 32, backward: 32 },
            _ => Self { width: 256, forward: 16, backward: 16 },
        }
    }
    /// The bytes of shared memory for this many tiles of features and tiles of scores.
    fn shared(&self, rows: usize, features: usize, scores: usize) -> u32 {
        ((features * rows * (self.width + 1) + scores * rows * (rows + 1)) * size_of::<f32>()) as u32
    }
}

/// The sizes and constants of one call.
pub(super) struct Call {
    pub heads: usize,
    pub kv_heads: usize,
    pub width: usize,
    window: i32,
    scale: f32,
}

impl Call {
    pub fn new(q: &CudaArray, k: &CudaArray, segments: &Segments, scale: f64) -> Self {
        let (heads, kv_heads, width) = (q.shape()[1], k.shape()[1], q.shape()[2]);
        let window = segments.window().map_or(i32::MAX, |window| i32::try_from(window).unwrap_or(i32::MAX));
        Self { heads, kv_heads, width, window, scale: scale as f32 }
    }
    /// The arguments at the end of every kernel's list.
    pub fn tail(&self) -> [Argument; 5] {
        [int(self.heads).into(), int(self.kv_heads).into(), int(self.width).into(), self.window.into(), self.scale.into()]
    }
}

/// Cuts the queries of every segment, or its keys, into tiles of `rows` rows. Each tile is five numbers, as in the kernels' `Tile`.
pub(super) fn tiles(segments: &Segments, rows: usize, over_keys: bool) -> Vec<u32> {
    let mut tiles = Vec::new();
    for segment in 0..segments.len() {
        let (q, k) = (segments.queries(segment), segments.keys(segment));
        let extent = if over_keys { k.len() } else { q.len() };
        for first in (0..extent).step_by(rows) {
            tiles.extend([q.start, q.len(), k.start, k.len(), first].map(|x| int(x) as u32));
        }
    }
    tiles
}

/// The numbers per tile.
const TILE: usize = 5;

impl Cuda {
    /// Launches a kernel of `unit` on each tile and head, with `threads` threads and `shared` bytes of shared memory per block.
    pub(super) fn launch_tiles(
        &self,
        (unit, kernel): (&str, &str),
        (tiles, heads): (&[u32], usize),
        (threads, shared): (u32, u32),
        arguments: &[Argument],
    ) {
        let grid = Grid { x: (tiles.len() / TILE) as u32, y: int(heads) as u32, threads, shared };
        self.launch(&compile::unit(unit), kernel, grid, arguments);
    }

    /// Computes the output [N, H, D] and the logsumexp of the scores [N, H].
    fn attended(&self, qkv: [&CudaArray; 3], segments: &Segments, scale: f64) -> (CudaArray, CudaArray) {
        let call = Call::new(qkv[0], qkv[1], segments, scale);
        let [q, k, v] = qkv.map(|x| self.contiguous(x));
        let (output, logsumexp) = (self.empty(q.shape()), self.empty(&q.shape()[..2]));
        let variant = Variant::of(call.width);
        let tiles = tiles(segments, variant.forward, false);
        let table = self.table(&tiles);
        let mut arguments = Vec::from(arguments![&output, &logsumexp, &q, &k, &v, Argument::Address(table.address())]);
        arguments.extend(call.tail());
        let shared = variant.shared(variant.forward, 3, 1);
        let kernel = format!("attention_{}", variant.width);
        self.launch_tiles(("attention", &kernel), (&tiles, call.heads), (256, shared), &arguments);
        (output, logsumexp)
    }

    /// Computes (q̄, k̄, v̄).
    fn attended_vjp(
        &self,
        qkv: [&CudaArray; 3],
        [output, logsumexp, cotangent]: [&CudaArray; 3],
        segments: &Segments,
        scale: f64,
    ) -> (CudaArray, CudaArray, CudaArray) {
        let call = Call::new(qkv[0], qkv[1], segments, scale);
        let [q, k, v] = qkv.map(|x| self.contiguous(x));
        let [output, logsumexp, g] = [output, logsumexp, cotangent].map(|x| self.contiguous(x));
        let delta = self.empty(logsumexp.shape());
        self.row_dot(&delta, &output, &g);
        let bars @ [q_bar, k_bar, v_bar] = &[&q, &k, &v].map(|x| self.empty(x.shape()));
        let variant = Variant::of(call.width);
        let rows = variant.backward;
        for over_keys in [false, true] {
            let tiles = tiles(segments, rows, over_keys);
            let table = self.table(&tiles);
            let written = if over_keys { &bars[1..] } else { &bars[..1] };
            let mut arguments: Vec<Argument> = written.iter().map(Argument::from).collect();
            arguments.extend(Vec::from(arguments![&q, &k, &v, &logsumexp, &delta, &g, Argument::Address(table.address())]));
            arguments.extend(call.tail());
            let (name, heads, scores) = if over_keys { ("keys", call.kv_heads, 2) } else { ("queries", call.heads, 1) };
            let (kernel, shared) = (format!("attention_{name}_{}", variant.width), variant.shared(rows, 4, scores));
            self.launch_tiles(("attention", &kernel), (&tiles, heads), (256, shared), &arguments);
        }
        (q_bar.clone(), k_bar.clone(), v_bar.clone())
    }
}

impl Attention for Cuda {
    fn rope(&self, x: CudaArray, cos: &CudaArray, sin: &CudaArray, pairing: Pairing) -> CudaArray {
        let x = self.packed(&x);
        let y = self.empty_as(x.shape(), x.storage());
        let (cos, sin) = (self.contiguous(cos), self.contiguous(sin));
        let [heads, width, pairs] = [x.shape()[1], x.shape()[2], cos.shape()[1]].map(int);
        let adjacent = i32::from(pairing == Pairing::Adjacent);
        let (kernel, per_token) = (typed("rope", &[x.storage()]), x.shape()[1] * x.shape()[2]);
        self.launch_rows("arrays", &kernel, (x.shape()[0], per_token), arguments![&y, &x, &cos, &sin, heads, width, pairs, adjacent]);
        y
    }
    fn attention(&self, q: &CudaArray, k: &CudaArray, v: &CudaArray, segments: &Segments, scale: f64) -> (CudaArray, CudaArray) {
        if self.is_flash(q.shape()[2]) {
            return self.flash([q, k, v], segments, scale);
        }
        if q.shape()[2] > WIDEST {
            return composed(self, q, k, v, segments, scale);
        }
        self.attended([q, k, v], segments, scale)
    }
    fn attention_vjp(
        &self,
        q: &CudaArray,
        k: &CudaArray,
        v: &CudaArray,
        output: &CudaArray,
        logsumexp: &CudaArray,
        cotangent: &CudaArray,
        segments: &Segments,
        scale: f64,
    ) -> (CudaArray, CudaArray, CudaArray) {
        // The kernels write the rows of segments alone.
        if segments.leave_rows() {
            return composed_vjp(self, q, k, v, output, logsumexp, cotangent, segments, scale);
        }
        if self.is_flash(q.shape()[2]) {
            return self.flash_vjp([q, k, v], [output, logsumexp, cotangent], segments, scale);
        }
        if q.shape()[2] > WIDEST {
            return composed_vjp(self, q, k, v, output, logsumexp, cotangent, segments, scale);
        }
        self.attended_vjp([q, k, v], [output, logsumexp, cotangent], segments, scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest limit of shared memory per block among the supported GPUs, in bytes.
    const MOST_SHARED: u32 = 99 * 1024;

    #[test]
    fn every_variant_fits_into_shared_memory() {
        for width in [1, 64, 65, 128, 129, WIDEST] {
            let variant = Variant::of(width);
            assert!(variant.width >= width);
            assert!(variant.shared(variant.forward, 3, 1) <= MOST_SHARED);
            assert!(variant.shared(variant.backward, 4, 2) <= MOST_SHARED);
        }
    }

    #[test]
    fn tiles_cover_each_segment() {
        let segments = Segments::of_queries_and_keys(&[1, 33], &[3, 33]);
        assert_eq!(tiles(&segments, 32, false), [0, 1, 0, 3, 0, 1, 33, 3, 33, 0, 1, 33, 3, 33, 32]);
        assert_eq!(tiles(&segments, 64, true), [0, 1, 0, 3, 0, 1, 33, 3, 33, 0]);
    }
}
