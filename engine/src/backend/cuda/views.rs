//! Storage: copies to and from the device, fills, contiguous copies, concatenation.

use super::array::CudaArray;
use super::context::{Buffer, Cuda, Table};
use super::launch::{Argument, arguments, strided, typed};
use super::runtime::Storage;
use crate::backend::precision::Precision;
use crate::shape::{around, count, with_axis};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A number type that can be copied to a device byte by byte.
pub(super) trait Plain: Copy {}
impl Plain for f32 {}
impl Plain for f64 {}
impl Plain for u32 {}

/// The bytes of a slice of plain numbers.
pub(super) fn bytes_of<T: Plain>(numbers: &[T]) -> &[u8] {
    // SAFETY: plain numbers have no padding, and bytes no alignment.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

/// The bytes of a slice of plain numbers, for writing.
pub(super) fn bytes_of_mut<T: Plain>(numbers: &mut [T]) -> &mut [u8] {
    // SAFETY: as above, and every pattern of bits is a number.
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), size_of_val(numbers)) }
}

/// The most tables that are kept after their upload. Many kernels of one step share tables, such as token ids and segments.
const KEPT_TABLES: usize = 24;

impl Cuda {
    /// Allocates a row-major array of f32 with unspecified contents.
    pub(super) fn empty(&self, shape: &[usize]) -> CudaArray {
        self.empty_as(shape, Storage::F32)
    }

    /// Allocates a row-major array with unspecified contents.
    pub(super) fn empty_as(&self, shape: &[usize], storage: Storage) -> CudaArray {
        CudaArray::new(&self.0, shape, storage)
    }

    /// How activations are stored.
    pub(super) fn activation(&self) -> Storage {
        if self.0.precision == Precision::Bf16 { Storage::Bf16 } else { Storage::F32 }
    }

    /// Returns the same view in bfloat16.
    pub(super) fn rounded(&self, x: &CudaArray) -> CudaArray {
        x.rounded(&self.0, |from, to, count| {
            let (from, to) = (Argument::Address(from), Argument::Address(to.address()));
            self.launch_elements("arrays", "to_bf16", count, arguments![to, from, count]);
        })
    }

    /// Returns the same elements in f32: the view itself, or a copy in row-major order.
    pub(super) fn widened(&self, x: &CudaArray) -> CudaArray {
        if x.storage() == Storage::F32 { x.clone() } else { self.contiguous(x) }
    }

    pub(super) fn filled(&self, value: f32, shape: &[usize]) -> CudaArray {
        let y = self.empty(shape);
        self.launch_elements("arrays", "fill", y.len(), arguments![&y, value, y.len()]);
        y
    }

    pub(super) fn upload(&self, data: &[f32], shape: &[usize]) -> CudaArray {
        let y = self.empty(shape);
        assert_eq!(data.len(), y.len(), "an array of shape {shape:?} from another number of elements");
        self.write(y.address(), bytes_of(data));
        y
    }

    pub(super) fn download(&self, x: &CudaArray) -> Vec<f32> {
        let x = self.contiguous(x);
        let mut data = vec![0.0; x.len()];
        self.read(x.address(), bytes_of_mut(&mut data));
        data
    }

    /// Waits for everything that was launched, and copies from the device.
    pub(super) fn read(&self, address: u64, bytes: &mut [u8]) {
        if !bytes.is_empty() {
            self.0.waits.fetch_add(1, Ordering::Relaxed);
            self.0.bytes_read.fetch_add(bytes.len(), Ordering::Relaxed);
            self.0.runtime.settled().and_then(|device| device.download(address, bytes)).unwrap_or_else(|error| error.raise());
        }
    }

    /// Copies to the device.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.0.runtime.settled().and_then(|device| device.upload(address, bytes)).unwrap_or_else(|error| error.raise());
        }
    }

    /// Returns a table of integers on the device. A table that is still kept is not uploaded again.
    ///
    /// A new table takes the block of an old one, if possible. The old one must have the same length and must not be in use. Its last use
    /// must be before the host last waited. For example, the tokens of a step replace those of the step before. The block's address then
    /// repeats, as CUDA graphs need.
    pub(super) fn table(&self, numbers: &[u32]) -> Arc<Buffer> {
        let mut tables = self.0.tables.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let waits = self.waits();
        let mut entry = match tables.iter().position(|table| *table.numbers == *numbers) {
            Some(at) => tables.remove(at).expect("an entry at its position"),
            None => {
                let replaces =
                    |table: &Table| table.numbers.len() == numbers.len() && table.waits < waits && Arc::strong_count(&table.buffer) == 1;
                let old = tables.iter().rposition(replaces).and_then(|at| tables.remove(at));
                let buffer = old.map_or_else(|| Arc::new(Buffer::new(&self.0, size_of_val(numbers))), |old| old.buffer);
                self.write(buffer.address(), bytes_of(numbers));
                Table { numbers: numbers.into(), buffer, waits }
            }
        };
        entry.waits = waits;
        let buffer = entry.buffer.clone();
        tables.push_front(entry);
        tables.truncate(KEPT_TABLES);
        buffer
    }

    /// Returns the same elements in f32, in row-major order without gaps. Copies only if needed.
    pub(super) fn contiguous(&self, x: &CudaArray) -> CudaArray {
        self.packed_as(x, Storage::F32)
    }

    /// Returns the same elements as stored, in row-major order without gaps. Copies only if needed.
    pub(super) fn packed(&self, x: &CudaArray) -> CudaArray {
        self.packed_as(x, x.storage())
    }

    fn packed_as(&self, x: &CudaArray, storage: Storage) -> CudaArray {
        if x.storage() == storage && x.is_contiguous() {
            return x.with_shape(x.shape());
        }
        let y = self.empty_as(x.shape(), storage);
        let view = strided(x.shape(), &[x.strides()])[0];
        let kernel = match (x.storage(), storage) {
            (Storage::F32, _) => "copy_strided",
            (Storage::Bf16, Storage::F32) => "copy_strided_widened",
            (Storage::Bf16, Storage::Bf16) => "copy_strided_bf16",
        };
        self.launch_elements("arrays", kernel, y.len(), arguments![&y, x, view, y.len()]);
        y
    }

    /// Prepares an elementwise kernel whose arrays share one shape: contiguous inputs, an output, and the number of elements.
    pub(super) fn same_shape<const N: usize>(&self, arrays: [&CudaArray; N]) -> ([CudaArray; N], CudaArray, usize) {
        let y = self.empty(arrays[0].shape());
        let n = y.len();
        (arrays.map(|x| self.contiguous(x)), y, n)
    }

    /// Computes x + y, in x's block if no other array shares it.
    pub(super) fn accumulated(&self, x: CudaArray, y: &CudaArray) -> CudaArray {
        let y = self.packed(&y.broadcast_to(x.shape()));
        let mut x = if x.storage() == Storage::Bf16 && y.storage() == Storage::F32 { self.contiguous(&x) } else { x };
        let out = if x.is_sole_owner() { x.clone() } else { self.empty_as(x.shape(), x.storage()) };
        out.forget_rounded();
        let (x, n) = (self.packed(&x), out.len());
        let kernel = typed("accumulate", &[x.storage(), y.storage()]);
        self.launch_elements("arrays", &kernel, n, arguments![&out, &x, &y, n]);
        out
    }

    pub(super) fn concatenated(&self, parts: &[&CudaArray], axis: usize) -> CudaArray {
        let extent = parts.iter().map(|part| part.shape()[axis]).sum();
        let y = self.empty(&with_axis(parts[0].shape(), axis, extent));
        let inner = around(y.shape(), axis).2;
        let mut first = 0;
        for part in parts {
            let width = part.shape()[axis] * inner;
            let part = self.contiguous(part);
            self.launch_elements("arrays", "copy_part", part.len(), arguments![&y, &part, width, extent * inner, first, part.len()]);
            first += width;
        }
        y
    }

    /// Writes the rows of y at these rows of x, in place where no other array shares its block.
    pub(super) fn rows_written(&self, x: CudaArray, y: &CudaArray, rows: &[Range<usize>]) -> CudaArray {
        let mut x = if x.storage() == Storage::Bf16 { self.contiguous(&x) } else { x };
        let out = if x.is_sole_owner() { x } else { self.concatenated(&[&x], 0) };
        out.forget_rounded();
        let width = count(&out.shape()[1..]);
        let mut written = 0;
        for place in rows.iter().filter(|place| !place.is_empty()) {
            let part = self.contiguous(&y.slice(0, written, written + place.len()));
            let n = part.len();
            self.launch_elements("arrays", "copy_part", n, arguments![&out, &part, n, out.len(), place.start * width, n]);
            written += place.len();
        }
        out
    }
}
