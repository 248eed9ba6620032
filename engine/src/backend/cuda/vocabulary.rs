//! The vocabulary projection with log-softmax in chunks of rows: logits exist for one chunk at a time, forward and backward.

use super::Cuda;
use super::array::CudaArray;
use super::launch::{Argument, arguments, int};
use super::runtime::{Operand, Product};
use std::ops::Range;

/// About this many logits are held at a time (256 MiB).
const CHUNK_LOGITS: usize = 1 << 26;

/// The operands of one call, row-major.
struct Projection {
    hidden: CudaArray,
    weight: CudaArray,
    rows: usize,
    width: usize,
    vocabulary: usize,
}

fn matrix(address: u64, ld: usize, transposed: bool) -> Operand {
    Operand { address, transposed, ld: ld.max(1), stride: 0 }
}

impl Projection {
    fn new(cuda: &Cuda, hidden: &CudaArray, weight: &CudaArray) -> Self {
        let (rows, width, vocabulary) = (hidden.shape()[0], hidden.shape()[1], weight.shape()[0]);
        Self { hidden: cuda.contiguous(hidden), weight: cuda.contiguous(weight), rows, width, vocabulary }
    }
    fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (rows, chunk) = (self.rows, (CHUNK_LOGITS / self.vocabulary.max(1)).clamp(16, 16384));
        (0..rows).step_by(chunk).map(move |start| start..(start + chunk).min(rows))
    }
    fn hidden_at(&self, row: usize) -> u64 {
        self.hidden.address() + (row * self.width * size_of::<f32>()) as u64
    }
    /// z = hidden·weightᵀ for a chunk of rows.
    fn logits(&self, cuda: &Cuda, range: &Range<usize>) -> CudaArray {
        let z = cuda.empty(&[range.len(), self.vocabulary]);
        cuda.product(&Product {
            extents: (range.len(), self.width, self.vocabulary),
            batch: 1,
            a: matrix(self.hidden_at(range.start), self.width, false),
            b: matrix(self.weight.address(), self.width, true),
            beta: 0.0,
            c: z.address(),
        });
        z
    }
    /// z̄·weight into its rows of hidden̄, z̄ᵀ·hidden added to weight̄.
    fn add_gradients(&self, cuda: &Cuda, range: &Range<usize>, z_bar: &CudaArray, [hidden_bar, weight_bar]: &[CudaArray; 2]) {
        let hidden_offset = (range.start * self.width * size_of::<f32>()) as u64;
        cuda.product(&Product {
            extents: (range.len(), self.vocabulary, self.width),
            batch: 1,
            a: matrix(z_bar.address(), self.vocabulary, false),
            b: matrix(self.weight.address(), self.width, false),
            beta: 0.0,
            c: hidden_bar.address() + hidden_offset,
        });
        cuda.product(&Product {
            extents: (self.vocabulary, range.len(), self.width),
            batch: 1,
            a: matrix(z_bar.address(), self.vocabulary, true),
            b: matrix(self.hidden_at(range.start), self.width, false),
            beta: if range.start == 0 { 0.0 } else { 1.0 },
            c: weight_bar.address(),
        });
    }
    /// The gradients' arrays; weight̄ is zero where there are no rows to write it.
    fn gradients(&self, cuda: &Cuda) -> [CudaArray; 2] {
        let weight_bar = if self.rows == 0 { cuda.filled(0.0, self.weight.shape()) } else { cuda.empty(self.weight.shape()) };
        [cuda.empty(self.hidden.shape()), weight_bar]
    }
}

/// The address of element `row` of a vector.
fn element(x: &CudaArray, row: usize) -> Argument {
    Argument::Address(x.address() + (row * size_of::<f32>()) as u64)
}

impl Cuda {
    /// (log-probability of each target, logsumexp of each row's logits), each [N].
    pub(super) fn target_log_probs(&self, hidden: &CudaArray, weight: &CudaArray, targets: &[u32]) -> (CudaArray, CudaArray) {
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

    /// (hidden̄, weight̄) of [`Cuda::target_log_probs`].
    pub(super) fn target_log_probs_vjp(
        &self,
        [hidden, weight]: [&CudaArray; 2],
        targets: &[u32],
        totals: &CudaArray,
        cotangent: &CudaArray,
    ) -> (CudaArray, CudaArray) {
        let call = Projection::new(self, hidden, weight);
        let (totals, g, table) = (self.contiguous(totals), self.contiguous(cotangent), self.table(targets));
        let gradients = call.gradients(self);
        for range in call.chunks() {
            let z = call.logits(self, &range);
            let target = Argument::Address(table.address() + (range.start * size_of::<u32>()) as u64);
            let inputs = [element(&totals, range.start), element(&g, range.start)];
            let arguments = arguments![&z, inputs[0], inputs[1], target, int(call.vocabulary)];
            self.launch_rows("rows", "log_prob_vjp", (range.len(), call.vocabulary), arguments);
            call.add_gradients(self, &range, &z, &gradients);
        }
        let [hidden_bar, weight_bar] = gradients;
        (hidden_bar, weight_bar)
    }

    /// The summed loss [] with (hidden̄, weight̄).
    pub(super) fn summed_cross_entropy(&self, hidden: &CudaArray, weight: &CudaArray, targets: &[u32]) -> (CudaArray, [CudaArray; 2]) {
        let call = Projection::new(self, hidden, weight);
        let (losses, table) = (self.empty(&[call.rows]), self.table(targets));
        let gradients = call.gradients(self);
        for range in call.chunks() {
            let z = call.logits(self, &range);
            let target = Argument::Address(table.address() + (range.start * size_of::<u32>()) as u64);
            let arguments = arguments![element(&losses, range.start), &z, target, int(call.vocabulary)];
            self.launch_rows("rows", "cross_entropy", (range.len(), call.vocabulary), arguments);
            call.add_gradients(self, &range, &z, &gradients);
        }
        (self.summed(&losses, 0).with_shape(&[]), gradients)
    }
}
