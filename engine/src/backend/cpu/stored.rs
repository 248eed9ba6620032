//! Weights that stay in bfloat16, as a file holds them, for a model that is read and not trained: half the bytes in memory, and half the
//! time where memory sets it.
//!
//! Products of few rows and rows of a table read them as they are. Anything else has them in f32, with the same numbers: products of many
//! rows for the time of the product, other uses from then on. The results have the bits of the same weights in f32.

use super::array::CpuArray;
use super::matmul::matmul;
use crate::backend::precision::Precision;
#[cfg(target_arch = "x86_64")]
use crate::gemm::few_rows::{self, Bf16};
#[cfg(target_arch = "x86_64")]
use crate::gemm::matrix::Matrix;
use std::sync::{Arc, OnceLock};

/// A matrix in bfloat16, or its transpose; cloning it shares the storage.
#[derive(Clone)]
pub struct StoredArray {
    stored: Arc<Stored>,
    /// The extents of the view.
    shape: [usize; 2],
    is_transposed: bool,
    /// The view in f32, once something has asked for it.
    in_f32: OnceLock<CpuArray<f32>>,
}

/// The numbers of a matrix in row-major order.
struct Stored {
    bits: Vec<u16>,
    /// All of them in f32, once something has asked for them.
    in_f32: OnceLock<CpuArray<f32>>,
}

fn widened(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

impl StoredArray {
    /// A matrix from the bits of its elements in bfloat16, in row-major order.
    ///
    /// # Panics
    /// If there is another number of elements than the extents say.
    pub fn from_bf16(bits: Vec<u16>, shape: [usize; 2]) -> Self {
        assert_eq!(bits.len(), shape[0] * shape[1], "a matrix of extents {shape:?} from another number of elements");
        Self { stored: Arc::new(Stored { bits, in_f32: OnceLock::new() }), shape, is_transposed: false, in_f32: OnceLock::new() }
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
        CpuArray::from_vec(self.stored.bits.iter().copied().map(widened).collect(), &self.stored_shape())
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
        if let &[m, k] = x.shape() {
            let n = self.shape[1];
            assert_eq!(k, self.shape[0], "matmul: inner extents differ");
            let elements = x.elements();
            let (a, stored) =
                (Matrix::row_major(&elements, k), Matrix { start: self.stored.bits.as_ptr().cast::<Bf16>(), strides: (k as isize, 1) });
            if self.is_transposed && few_rows::should_stream((m, k, n), a, stored.t()) {
                let mut out = vec![0.0; m * n];
                // SAFETY: both matrices are whole buffers of these extents, and Bf16 is its bits.
                unsafe { few_rows::parallel((m, k, n), a, stored.t(), 0.0, &mut out) };
                return CpuArray::from_vec(out, &[m, n]);
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
        let row = |&row: &u32| self.stored.bits[row as usize * width..][..width].iter().copied().map(widened);
        CpuArray::from_vec(rows.iter().flat_map(row).collect(), &[rows.len(), width])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::device::DeviceArray;
    use crate::backend::{Core, Products};
    use crate::random::Generator;
    use crate::{Device, Tensor, no_grad};

    /// A matrix in bfloat16, and the same numbers in f32.
    fn both(seed: u64, shape: [usize; 2]) -> (DeviceArray, DeviceArray) {
        let mut generator = Generator::new(seed);
        let bits: Vec<u16> = (0..shape[0] * shape[1]).map(|_| ((generator.normal() as f32).to_bits() >> 16) as u16).collect();
        let numbers = bits.iter().copied().map(widened).collect();
        (DeviceArray::Stored(StoredArray::from_bf16(bits, shape)), CpuArray::from_vec(numbers, &shape).into())
    }

    fn bits_of(device: &Device, x: &DeviceArray) -> Vec<u32> {
        device.to_vec(x).iter().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn every_use_has_the_bits_of_the_same_weights_in_f32() {
        let device = Device::default();
        let mut generator = Generator::new(1);
        let (out, inner) = (300, 260);
        let (stored, plain) = both(2, [out, inner]);
        let (down, plain_down) = both(3, [inner, out]);
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
        // What knows nothing of bfloat16.
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
        let (array, plain) = both(4, [300, 260]);
        let DeviceArray::Stored(stored) = &array else { unreachable!() };
        let x = Tensor::from_array(&device, device.from_vec(vec![1.0; 20 * 260], &[20, 260]));
        let weight = Tensor::from_array(&device, array.clone());
        no_grad(|| drop([x.linear(&weight, None), x.slice(0, 0, 1).linear(&weight, None)]));
        assert!(stored.stored.in_f32.get().is_none() && weight.shape() == [300, 260]);
        drop(weight.add(&Tensor::from_array(&device, plain)));
        assert!(stored.stored.in_f32.get().is_some());
    }
}
