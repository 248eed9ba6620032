//! Weights that stay as a file holds them, in bfloat16, f16 or ggml's Q8_0, for a model that is read and not trained. They take a half or a
//! quarter of the bytes in memory, and of the time where memory sets it.
//!
//! Products of few rows and rows of a table read them as they are. Anything else has them in f32, with the same numbers: products of many
//! rows for the time of the product, other uses from then on. The results have the bits of the same weights in f32.

use super::array::CpuArray;
use super::element::Element;
use super::matmul::matmul;
use crate::backend::precision::Precision;
#[cfg(target_arch = "x86_64")]
use crate::gemm::few_rows::{self, Unit};
#[cfg(target_arch = "x86_64")]
use crate::gemm::matrix::{Extents, Matrix};
use crate::threads::parallel_loop::InTasks;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use std::sync::{Arc, OnceLock};

pub use crate::gemm::stored::Q8Block;

/// Numbers that a task widens; whole blocks.
const WIDENED: usize = 1 << 15;

/// The numbers of a matrix in row-major order, as they are stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// In bfloat16.
    Bf16(Vec<bf16>),
    /// In f16.
    F16(Vec<f16>),
    /// In blocks of Q8_0; a row is a whole number of blocks.
    Q8(Vec<Q8Block>),
}

impl Numbers {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Bf16(numbers) => numbers.len(),
            Self::F16(numbers) => numbers.len(),
            Self::Q8(blocks) => Q8Block::NUMBERS * blocks.len(),
        }
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers from `start` to `end` in f32, exactly. For blocks both are multiples of 32.
    pub fn widened(&self, start: usize, end: usize) -> Vec<f32> {
        let mut out = f32::allocate(end - start);
        self.widen(start, &mut out);
        out
    }

    /// Writes the numbers from `start` on to `out`.
    fn widen(&self, start: usize, out: &mut [f32]) {
        let end = start + out.len();
        match self {
            Self::Bf16(numbers) => numbers[start..end].convert_to_f32_slice(out),
            Self::F16(numbers) => numbers[start..end].convert_to_f32_slice(out),
            Self::Q8(blocks) => {
                let blocks = &blocks[start / Q8Block::NUMBERS..end / Q8Block::NUMBERS];
                out.as_chunks_mut().0.iter_mut().zip(blocks).for_each(|(out, block)| *out = block.widened());
            }
        }
    }
}

/// A matrix that stays as it is stored, or its transpose; cloning it shares the storage.
#[derive(Clone)]
pub struct StoredArray {
    stored: Arc<Stored>,
    /// The extents of the view.
    shape: [usize; 2],
    is_transposed: bool,
    /// The view in f32, once something has asked for it.
    in_f32: OnceLock<CpuArray<f32>>,
}

/// A matrix without a notion of which way it is viewed.
struct Stored {
    numbers: Numbers,
    /// All of them in f32, once something has asked for them.
    in_f32: OnceLock<CpuArray<f32>>,
}

impl StoredArray {
    /// A matrix from its numbers.
    ///
    /// # Panics
    /// If there are more or fewer than the extents say, or a row is no whole number of blocks.
    pub fn new(numbers: Numbers, shape: [usize; 2]) -> Self {
        assert_eq!(numbers.len(), shape[0] * shape[1], "a matrix of extents {shape:?} from another number of elements");
        let is_whole = !matches!(numbers, Numbers::Q8(_)) || shape[1].is_multiple_of(Q8Block::NUMBERS);
        assert!(is_whole, "rows of {} numbers in blocks", shape[1]);
        Self { stored: Arc::new(Stored { numbers, in_f32: OnceLock::new() }), shape, is_transposed: false, in_f32: OnceLock::new() }
    }

    /// The extents of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The extents of the matrix that is stored.
    fn stored_shape(&self) -> [usize; 2] {
        let [rows, columns] = self.shape;
        if self.is_transposed { [columns, rows] } else { [rows, columns] }
    }

    /// The transpose, as a view.
    pub fn transposed(&self) -> Self {
        let [rows, columns] = self.shape;
        Self { stored: self.stored.clone(), shape: [columns, rows], is_transposed: !self.is_transposed, in_f32: OnceLock::new() }
    }

    /// All numbers that are stored, in f32.
    fn widened(&self) -> CpuArray<f32> {
        let numbers = &self.stored.numbers;
        let mut out = f32::allocate(numbers.len());
        out.chunks_mut(WIDENED).enumerate().for_each_task(|(part, out)| numbers.widen(part * WIDENED, out));
        CpuArray::from_vec(out, &self.stored_shape())
    }

    fn as_viewed(&self, stored: CpuArray<f32>) -> CpuArray<f32> {
        if self.is_transposed { stored.permute(&[1, 0]) } else { stored }
    }

    /// The numbers in f32, for one use.
    pub fn for_one_use(&self) -> CpuArray<f32> {
        self.as_viewed(self.stored.in_f32.get().cloned().unwrap_or_else(|| self.widened()))
    }

    /// The numbers in f32, which are in memory from then on.
    pub fn in_f32(&self) -> &CpuArray<f32> {
        self.in_f32.get_or_init(|| self.as_viewed(self.stored.in_f32.get_or_init(|| self.widened()).clone()))
    }

    /// x times this matrix, for x [m, k].
    ///
    /// # Panics
    /// If the extents do not fit.
    pub fn product(&self, x: &CpuArray<f32>) -> CpuArray<f32> {
        #[cfg(target_arch = "x86_64")]
        if let (&[m, k], true) = (x.shape(), self.is_transposed) {
            assert_eq!(k, self.shape[0], "matmul: inner extents differ");
            let extents = (m, k, self.shape[1]);
            let streamed = match &self.stored.numbers {
                Numbers::Bf16(numbers) => streamed(extents, &x.elements(), numbers),
                Numbers::F16(numbers) => streamed(extents, &x.elements(), numbers),
                Numbers::Q8(blocks) => streamed(extents, &x.elements(), blocks),
            };
            if let Some(product) = streamed {
                return product;
            }
        }
        matmul(Precision::F32, x, &self.for_one_use())
    }

    /// The rows at these indices, in f32.
    ///
    /// # Panics
    /// If an index is not below the number of rows.
    pub fn rows(&self, rows: &[u32]) -> CpuArray<f32> {
        if self.is_transposed {
            return super::indexing::gather_rows(self.in_f32(), rows);
        }
        let width = self.shape[1];
        let row = |&row: &u32| self.stored.numbers.widened(row as usize * width, (row as usize + 1) * width);
        CpuArray::from_vec(rows.iter().flat_map(row).collect(), &[rows.len(), width])
    }
}

/// x·Wᵀ for W [n, k], if the product is one of few rows.
#[cfg(target_arch = "x86_64")]
fn streamed<W: Unit>((m, k, n): Extents, x: &[f32], weight: &[W]) -> Option<CpuArray<f32>> {
    let (a, b) = (Matrix::row_major(x, k), Matrix::row_major(weight, k / W::NUMBERS).t());
    few_rows::should_stream((m, k, n), a, b).then(|| {
        let mut out = vec![0.0; m * n];
        // SAFETY: both matrices are whole buffers of these extents.
        unsafe { few_rows::parallel((m, k, n), a, b, 0.0, &mut out) };
        CpuArray::from_vec(out, &[m, n])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::device::DeviceArray;
    use crate::backend::{Core, Products};
    use crate::random::Generator;
    use crate::{Device, Tensor, no_grad};

    /// A matrix that stays as it is stored, and the same numbers in f32.
    fn both(kind: &str, seed: u64, shape: [usize; 2]) -> (DeviceArray, DeviceArray) {
        let mut generator = Generator::new(seed);
        let mut bits = || (generator.normal() as f32).to_bits();
        let numbers = match kind {
            "bfloat16" => Numbers::Bf16((0..shape[0] * shape[1]).map(|_| bf16::from_f32(f32::from_bits(bits()))).collect()),
            "f16" => Numbers::F16((0..shape[0] * shape[1]).map(|_| f16::from_f32(f32::from_bits(bits()))).collect()),
            _ => {
                let mut block = || Q8Block { scale: f32::from_bits(bits() & 0xffff_e000), quants: std::array::from_fn(|_| bits() as i8) };
                Numbers::Q8((0..shape[0] * shape[1] / 32).map(|_| block()).collect())
            }
        };
        let widened = CpuArray::from_vec(numbers.widened(0, numbers.len()), &shape);
        (DeviceArray::Stored(StoredArray::new(numbers, shape)), widened.into())
    }

    fn bits_of(device: &Device, x: &DeviceArray) -> Vec<u32> {
        device.to_vec(x).iter().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn every_use_has_the_bits_of_the_same_weights_in_f32() {
        for kind in ["bfloat16", "f16", "blocks"] {
            hold_to_f32(kind);
        }
    }

    fn hold_to_f32(kind: &str) {
        let device = Device::default();
        let mut generator = Generator::new(1);
        let (out, inner) = (320, 256);
        let (stored, plain) = both(kind, 2, [out, inner]);
        let (down, plain_down) = both(kind, 3, [inner, out]);
        let bias = device.from_vec((0..out).map(|i| i as f32).collect(), &[out]);
        for rows in [1, 3, 16, 17, 90] {
            let x = device.from_vec((0..rows * inner).map(|_| generator.normal() as f32).collect(), &[rows, inner]);
            let same = |found: &DeviceArray, wanted: &DeviceArray, what: &str| {
                assert_eq!(device.shape(found), device.shape(wanted), "{what}");
                assert!(bits_of(&device, found) == bits_of(&device, wanted), "{what} of {rows} rows");
            };
            same(&device.matmul(&x, &device.transpose(&stored)), &device.matmul(&x, &device.transpose(&plain)), "a product");
            same(&device.linear(&x, &stored, &bias), &device.linear(&x, &plain, &bias), "a layer");
            let layers = |weight| device.linears(&x, &[weight, weight], &[None, Some(&bias)]);
            layers(&stored).iter().zip(&layers(&plain)).for_each(|(found, wanted)| same(found, wanted, "layers"));
            let gated = |weight, down| device.gated_mlp(&x, [weight, weight, down], false).0;
            same(&gated(&stored, &down), &gated(&plain, &plain_down), "the feed-forward part");
        }
        let rows = Arc::from([0, 299, 7, 7]);
        assert!(bits_of(&device, &device.gather_rows(&stored, &rows)) == bits_of(&device, &device.gather_rows(&plain, &rows)));
        // What knows nothing of how numbers are stored.
        assert!(bits_of(&device, &device.sum(&stored, 0)) == bits_of(&device, &device.sum(&plain, 0)));
        assert!(
            bits_of(&device, &device.scale(&device.transpose(&stored), 2.0))
                == bits_of(&device, &device.scale(&device.transpose(&plain), 2.0))
        );
        assert!(bits_of(&device, &device.slice(&stored, 0, 3, 9)) == bits_of(&device, &device.slice(&plain, 0, 3, 9)));
        assert!(bits_of(&device, &device.accumulate(stored.clone(), &plain)) == bits_of(&device, &device.scale(&plain, 2.0)));
    }

    #[test]
    fn only_what_asks_for_them_has_the_weights_in_f32() {
        let device = Device::default();
        let (array, plain) = both("bfloat16", 4, [300, 260]);
        let DeviceArray::Stored(stored) = &array else { unreachable!() };
        let x = Tensor::from_array(&device, device.from_vec(vec![1.0; 20 * 260], &[20, 260]));
        let weight = Tensor::from_array(&device, array.clone());
        no_grad(|| drop([x.linear(&weight, None), x.slice(0, 0, 1).linear(&weight, None)]));
        assert!(stored.stored.in_f32.get().is_none() && weight.shape() == [300, 260]);
        drop(weight.add(&Tensor::from_array(&device, plain)));
        assert!(stored.stored.in_f32.get().is_some());
    }
}
