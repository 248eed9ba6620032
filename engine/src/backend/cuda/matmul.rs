//! Matrix products: which views cuBLASLt reads without a copy, and how a batch is split into calls.

use super::array::{CudaArray, merged};
use super::context::Cuda;
use super::launch::{arguments, typed};
use super::runtime::{Operand, Product, Storage};
use crate::backend::precision::Precision;
use crate::backend::products::Products;
use crate::formula::Add;
use crate::shape::{broadcast_or_panic, count};

/// Returns how the last two axes are stored: (transposed, elements between stored rows), or `None` if they must be copied.
fn layout(shape: &[usize], strides: &[usize]) -> Option<(bool, usize)> {
    let [rows, columns, row, column] = [shape[0], shape[1], strides[0], strides[1]];
    if (column == 1 || columns == 1) && (row >= columns || rows == 1) {
        return Some((false, if rows == 1 { columns } else { row }.max(1)));
    }
    if (row == 1 || rows == 1) && (column >= rows || columns == 1) {
        return Some((true, if columns == 1 { rows } else { column }.max(1)));
    }
    None
}

/// An operand that cuBLASLt can read without a copy, and the layout of its matrices.
struct Matrices {
    array: CudaArray,
    transposed: bool,
    ld: usize,
}

impl Matrices {
    fn of(cuda: &Cuda, x: &CudaArray) -> Self {
        let lead = x.shape().len() - 2;
        if let Some((transposed, ld)) = layout(&x.shape()[lead..], &x.strides()[lead..]) {
            return Self { array: x.clone(), transposed, ld };
        }
        let array = cuda.packed(x);
        let ld = array.shape()[lead + 1].max(1);
        Self { array, transposed: false, ld }
    }
    /// Returns the strides of the leading axes, broadcast to `lead`.
    fn lead_strides(&self, lead: &[usize]) -> Vec<usize> {
        let tail = &self.array.shape()[self.array.shape().len() - 2..];
        let shape: Vec<usize> = lead.iter().chain(tail).copied().collect();
        self.array.broadcast_to(&shape).strides()[..lead.len()].to_vec()
    }
    fn operand(&self, offset: usize, stride: usize) -> Operand {
        let (address, storage) = (self.array.at(offset), self.array.storage());
        Operand { address, storage, transposed: self.transposed, ld: self.ld, stride }
    }
}

impl Cuda {
    /// Converts an operand of a product: to bfloat16 if products are in bfloat16, else to f32.
    pub(super) fn operand(&self, x: &CudaArray) -> CudaArray {
        match self.0.precision {
            Precision::Bf16 => self.rounded(x),
            Precision::F32 | Precision::Tf32 => self.widened(x),
        }
    }

    /// Makes arrays contiguous and stores them alike: in f32 if any of them is, else in bfloat16. Returns this storage too.
    fn stored_alike<const N: usize>(&self, arrays: [&CudaArray; N]) -> ([CudaArray; N], Storage) {
        let storage = arrays.iter().fold(Storage::Bf16, |storage, x| storage.wider(x.storage()));
        let alike = |x: &CudaArray| if storage == Storage::Bf16 { self.packed(x) } else { self.contiguous(x) };
        (arrays.map(alike), storage)
    }

    /// Computes A·B, with the result in `storage`.
    pub(super) fn matrix_product(&self, a: &CudaArray, b: &CudaArray, storage: Storage) -> CudaArray {
        let (a, b) = (&self.operand(a), &self.operand(b));
        let (a_lead, b_lead) = (a.shape().len() - 2, b.shape().len() - 2);
        let (m, k, n) = (a.shape()[a_lead], a.shape()[a_lead + 1], b.shape()[b_lead + 1]);
        let lead = broadcast_or_panic("matmul", &a.shape()[..a_lead], &b.shape()[..b_lead]);
        let shape: Vec<usize> = lead.iter().copied().chain([m, n]).collect();
        if count(&shape) == 0 || k == 0 {
            return self.filled(0.0, &shape);
        }
        let c = self.empty_as(&shape, storage);
        if count(&b.shape()[..b_lead]) == 1 && a.is_contiguous() {
            let a = a.with_shape(&[count(&lead) * m, k]);
            let b = b.last_axes(2);
            self.products(&Matrices::of(self, &a), &Matrices::of(self, &b), &[], (count(&lead) * m, k, n), &c);
        } else {
            self.products(&Matrices::of(self, a), &Matrices::of(self, b), &lead, (m, k, n), &c);
        }
        c
    }

    /// Multiplies the matrices of a batch. After merging, the last leading axis is the batch of one call. Each combination of the other
    /// leading axes needs a call.
    fn products(&self, a: &Matrices, b: &Matrices, lead: &[usize], extents: (usize, usize, usize), c: &CudaArray) {
        let strides = [a.lead_strides(lead), b.lead_strides(lead)];
        let (axes, steps) = merged(lead, &[&strides[0], &strides[1]]);
        let (a_steps, b_steps) = (&steps[0], &steps[1]);
        let (batch, outer) = axes.split_last().map_or((1, &[][..]), |(&last, outer)| (last, outer));
        let last = |steps: &[usize]| steps.last().copied().unwrap_or(0);
        for call in 0..count(outer) {
            let (mut rest, mut a_offset, mut b_offset) = (call, 0, 0);
            for axis in (0..outer.len()).rev() {
                let index = rest % outer[axis];
                rest /= outer[axis];
                a_offset += index * a_steps[axis];
                b_offset += index * b_steps[axis];
            }
            let c_offset = call * batch * extents.0 * extents.2;
            self.product(&Product {
                extents,
                batch,
                a: a.operand(a_offset, last(a_steps)),
                b: b.operand(b_offset, last(b_steps)),
                accumulates: false,
                bias: None,
                c: c.at(c_offset),
                c_storage: c.storage(),
            });
        }
    }

    /// Queues a product of matrices that are not empty.
    pub(super) fn product(&self, product: &Product) {
        // SAFETY: the callers' arrays are as large as the extents say, and live until the product is queued. Their blocks may then return
        // to the cache, whose later users are queued behind the product.
        unsafe { self.0.runtime.product(product) }.unwrap_or_else(|error| error.raise());
    }
}

impl Products for Cuda {
    fn matmul_wide(&self, a: &CudaArray, b: &CudaArray) -> CudaArray {
        self.matrix_product(a, b, Storage::F32)
    }
    fn linear(&self, x: &CudaArray, weight: &CudaArray, bias: &CudaArray) -> CudaArray {
        let (x, weight) = (self.operand(x), self.operand(&weight.permute(&[1, 0])));
        let (m, k, n) = (x.shape()[0], x.shape()[1], weight.shape()[1]);
        let y = self.empty_as(&[m, n], self.activation());
        let bias_as_stored = self.packed(&if y.storage() == Storage::Bf16 { self.rounded(bias) } else { self.widened(bias) });
        let [a, b] = [&x, &weight].map(|operand| Matrices::of(self, operand));
        let product = Product {
            extents: (m, k, n),
            batch: 1,
            a: a.operand(0, 0),
            b: b.operand(0, 0),
            accumulates: false,
            bias: Some(bias_as_stored.address()),
            c: y.address(),
            c_storage: y.storage(),
        };
        if m == 0 || k == 0 || n == 0 || !self.0.runtime.device().adds_bias(&product) {
            return self.apply(Add, [&self.matrix_product(&x, &weight, self.activation()), &bias_as_stored]);
        }
        self.product(&product);
        y
    }
    fn swiglu(&self, gate: &CudaArray, up: &CudaArray) -> CudaArray {
        let ([gate, up], storage) = self.stored_alike([gate, up]);
        let (y, n) = (self.empty_as(gate.shape(), storage), gate.len());
        self.launch_elements("arrays", &typed("swiglu", &[storage]), n, arguments![&y, &gate, &up, n]);
        y
    }
    fn swiglu_vjp(&self, gate: &CudaArray, up: &CudaArray, cotangent: &CudaArray) -> (CudaArray, CudaArray) {
        let ([gate, up, g], storage) = self.stored_alike([gate, up, cotangent]);
        let [gate_bar, up_bar] = [gate.shape(); 2].map(|shape| self.empty_as(shape, storage));
        let (kernel, n) = (typed("swiglu_vjp", &[storage]), gate.len());
        self.launch_elements("arrays", &kernel, n, arguments![&gate_bar, &up_bar, &gate, &up, &g, n]);
        (gate_bar, up_bar)
    }
}

#[cfg(test)]
mod tests {
    use super::layout;

    #[test]
    fn rows_and_columns_with_gaps_are_taken_as_they_lie() {
        assert_eq!(layout(&[3, 4], &[4, 1]), Some((false, 4)));
        assert_eq!(layout(&[3, 4], &[9, 1]), Some((false, 9)));
        assert_eq!(layout(&[4, 3], &[1, 4]), Some((true, 4)));
        assert_eq!(layout(&[1, 4], &[0, 1]), Some((false, 4)));
        assert_eq!(layout(&[1, 4], &[1, 7]), Some((true, 7)));
        assert_eq!(layout(&[4, 1], &[3, 9]), Some((false, 3)));
        assert_eq!(layout(&[3, 4], &[8, 2]), None, "every second column");
        assert_eq!(layout(&[3, 4], &[0, 1]), None, "a repeated row");
    }
}
