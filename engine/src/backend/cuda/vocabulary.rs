//! The vocabulary projection with log-softmax, in chunks of rows. Only the logits of one chunk exist at a time, forward and backward: all
//! logits together would need too much memory.

use super::array::CudaArray;
use super::context::Cuda;
use super::launch::{Argument, arguments, int, typed};
use super::runtime::{Operand, Product, Storage};
use crate::backend::core::{Core, Indices};
use crate::backend::vocabulary::Vocabulary;
use crate::sampling::SamplingRule;
use std::ops::Range;

/// The approximate number of logits in a chunk (256 MiB).
const CHUNK_LOGITS: usize = 1 << 26;

/// The operands of one call, row-major.
struct Projection {
    hidden: CudaArray,
    weight: CudaArray,
    rows: usize,
    width: usize,
    vocabulary: usize,
}

/// Describes the rows of a matrix from `first` on, as an operand.
fn rows_of(x: &CudaArray, first: usize, transposed: bool) -> Operand {
    let width = x.shape()[1];
    Operand { address: x.at(first * width), storage: x.storage(), transposed, ld: width.max(1), stride: 0 }
}

impl Projection {
    fn new(cuda: &Cuda, hidden: &CudaArray, weight: &CudaArray) -> Self {
        let (rows, width, vocabulary) = (hidden.shape()[0], hidden.shape()[1], weight.shape()[0]);
        let [hidden, weight] = [hidden, weight].map(|x| cuda.packed(&cuda.operand(x)));
        Self { hidden, weight, rows, width, vocabulary }
    }
    fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (rows, chunk) = (self.rows, (CHUNK_LOGITS / self.vocabulary.max(1)).clamp(16, 16384));
        (0..rows).step_by(chunk).map(move |start| start..(start + chunk).min(rows))
    }
    /// Computes z = hidden·weightᵀ for a chunk of rows, in f32.
    fn logits(&self, cuda: &Cuda, range: &Range<usize>) -> CudaArray {
        let z = cuda.empty(&[range.len(), self.vocabulary]);
        cuda.product(&Product {
            extents: (range.len(), self.width, self.vocabulary),
            batch: 1,
            a: rows_of(&self.hidden, range.start, false),
            b: rows_of(&self.weight, 0, true),
            accumulates: false,
            bias: None,
            c: z.address(),
            c_storage: z.storage(),
        });
        z
    }
    /// Writes z̄·weight into the chunk's rows of hidden̄, and adds z̄ᵀ·hidden to weight̄. The first chunk overwrites weight̄.
    fn add_gradients(&self, cuda: &Cuda, range: &Range<usize>, z_bar: &CudaArray, [hidden_bar, weight_bar]: &[CudaArray; 2]) {
        cuda.product(&Product {
            extents: (range.len(), self.vocabulary, self.width),
            batch: 1,
            a: rows_of(z_bar, 0, false),
            b: rows_of(&self.weight, 0, false),
            accumulates: false,
            bias: None,
            c: hidden_bar.at(range.start * self.width),
            c_storage: hidden_bar.storage(),
        });
        cuda.product(&Product {
            extents: (self.vocabulary, range.len(), self.width),
            batch: 1,
            a: rows_of(z_bar, 0, true),
            b: rows_of(&self.hidden, range.start, false),
            accumulates: range.start > 0,
            bias: None,
            c: weight_bar.address(),
            c_storage: weight_bar.storage(),
        });
    }
    /// Returns the array for the logits' cotangents: the logits' own block in f32, else a new one stored like the operands.
    fn cotangents(&self, cuda: &Cuda, z: &CudaArray) -> CudaArray {
        match self.hidden.storage() {
            Storage::F32 => z.clone(),
            Storage::Bf16 => cuda.empty_as(z.shape(), Storage::Bf16),
        }
    }
    /// Allocates the gradients. Fills weight̄ with zeros if there are no rows, because then nothing is written to it.
    fn gradients(&self, cuda: &Cuda) -> [CudaArray; 2] {
        let weight_bar = if self.rows == 0 { cuda.filled(0.0, self.weight.shape()) } else { cuda.empty(self.weight.shape()) };
        [cuda.empty_as(self.hidden.shape(), cuda.activation()), weight_bar]
    }
}

/// Returns the address of element `row` of a vector.
fn element(x: &CudaArray, row: usize) -> Argument {
    Argument::Address(x.at(row))
}

impl Vocabulary for Cuda {
    fn linear_log_prob(&self, hidden: &CudaArray, weight: &CudaArray, targets: &Indices, _vjp: bool) -> (CudaArray, CudaArray) {
        let call = Projection::new(self, hidden, weight);
        let (log_probs, totals) = (self.empty(&[call.rows]), self.empty(&[call.rows]));
        let table = self.table(targets);
        for range in call.chunks() {
            let z = call.logits(self, &range);
            let target = Argument::Address(table.address() + (range.start * size_of::<u32>()) as u64);
            let outputs = [element(&log_probs, range.start), element(&totals, range.start)];
            let arguments = arguments![outputs[0], outputs[1], &z, target, int(call.vocabulary)];
            self.launch_rows("rows", "log_prob", (range.len(), call.vocabulary), arguments);
        }
        (log_probs, totals)
    }

    fn linear_log_prob_vjp(
        &self,
        hidden: &CudaArray,
        weight: &CudaArray,
        targets: &Indices,
        totals: &CudaArray,
        cotangent: &CudaArray,
    ) -> (CudaArray, CudaArray) {
        let call = Projection::new(self, hidden, weight);
        let (totals, g, table) = (self.contiguous(totals), self.contiguous(cotangent), self.table(targets));
        let gradients = call.gradients(self);
        for range in call.chunks() {
            let z = call.logits(self, &range);
            let target = Argument::Address(table.address() + (range.start * size_of::<u32>()) as u64);
            let (z_bar, inputs) = (call.cotangents(self, &z), [element(&totals, range.start), element(&g, range.start)]);
            let arguments = arguments![&z_bar, &z, inputs[0], inputs[1], target, int(call.vocabulary)];
            self.launch_rows("rows", &typed("log_prob_vjp", &[z_bar.storage()]), (range.len(), call.vocabulary), arguments);
            call.add_gradients(self, &range, &z_bar, &gradients);
        }
        let [hidden_bar, weight_bar] = gradients;
        (hidden_bar, weight_bar)
    }

    fn linear_cross_entropy(&self, hidden: &CudaArray, weight: &CudaArray, targets: &Indices) -> (CudaArray, [CudaArray; 2]) {
        let call = Projection::new(self, hidden, weight);
        let (losses, table) = (self.empty(&[call.rows]), self.table(targets));
        let gradients = call.gradients(self);
        for range in call.chunks() {
            let z = call.logits(self, &range);
            let target = Argument::Address(table.address() + (range.start * size_of::<u32>()) as u64);
            let z_bar = call.cotangents(self, &z);
            let arguments = arguments![element(&losses, range.start), &z_bar, &z, target, int(call.vocabulary)];
            self.launch_rows("rows", &typed("cross_entropy", &[z_bar.storage()]), (range.len(), call.vocabulary), arguments);
            call.add_gradients(self, &range, &z_bar, &gradients);
        }
        (self.sum(&losses, 0).with_shape(&[]), gradients)
    }
    fn sample_rows(&self, logits: &CudaArray, rule: &SamplingRule, uniforms: &[f64]) -> Vec<u32> {
        self.sampled(logits, rule, uniforms)
    }
}
