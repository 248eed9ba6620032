//! An open device: its queue of commands, its memory, and the small tables that were uploaded recently.

use super::allocator::{Cache, size_class};
use super::driver::Driver;
use super::emulator::Emulator;
use super::error::CudaError;
use super::queue::{GraphReport, Queue};
use super::runtime::{Runtime, Storage};
use crate::backend::precision::Precision;
use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// An NVIDIA GPU. Cloning shares it.
#[derive(Clone)]
pub struct Cuda(pub(super) Arc<Inner>);

/// A table of integers on the device.
pub(super) struct Table {
    pub numbers: Box<[u32]>,
    pub buffer: Arc<Buffer>,
    /// The value of [`Cuda::waits`] when the table was last used.
    pub waits: usize,
}

/// A device with its queue, its memory, and recent uploads: tables of integers, and the numbers of optimizer steps.
pub(super) struct Inner {
    pub runtime: Queue,
    pub precision: Precision,
    cache: Mutex<Cache>,
    pub tables: Mutex<VecDeque<Table>>,
    pub rates: Mutex<Vec<Rates>>,
    pub waits: AtomicUsize,
    pub bytes_read: AtomicUsize,
}

impl fmt::Debug for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cuda({})", self.name())
    }
}

impl Inner {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Allocates a block of a size class: a free one if there is one, else a new one. If the device has no memory left, frees all free
    /// blocks and tries again.
    fn allocate(&self, size: usize) -> u64 {
        if let Some(address) = self.cache().take(size) {
            self.runtime.reused(address, size);
            return address;
        }
        let address = self.runtime.device().allocate(size).or_else(|_| {
            let device = self.runtime.settled().unwrap_or_else(|error| error.raise());
            device.free(&self.cache().drain());
            device.allocate(size)
        });
        let address = address.unwrap_or_else(|_| self.out_of_memory(size).raise());
        self.cache().add(size);
        address
    }

    fn release(&self, size: usize, address: u64) {
        self.cache().give(size, address);
    }

    fn out_of_memory(&self, wanted: usize) -> CudaError {
        let mib = |bytes: usize| (bytes as u64).div_ceil(1 << 20);
        let (free, total) = self.runtime.device().memory();
        let used = self.cache().used();
        CudaError::OutOfMemory { wanted_mib: mib(wanted), used_mib: mib(used), free_mib: mib(free), total_mib: mib(total) }
    }
}

impl Cuda {
    /// Opens GPU number `ordinal`. Its matrix products round their operands to `precision`.
    ///
    /// # Errors
    /// The reason why it cannot be used, as one sentence.
    pub fn open(ordinal: usize, precision: Precision) -> Result<Self, CudaError> {
        Ok(Self::on(Box::new(Driver::open(ordinal, precision)?), precision))
    }

    /// Compiles the same kernels for the processor, and keeps the libraries in `folder`: for tests on machines without a GPU.
    ///
    /// # Errors
    /// A sentence if there is no C++ compiler, or if the machine is not x86-64 Linux.
    pub fn emulated(folder: &Path, precision: Precision) -> Result<Self, String> {
        Ok(Self::on(Box::new(Emulator::new(folder)?), precision))
    }

    fn on(runtime: Box<dyn Runtime>, precision: Precision) -> Self {
        Self(Arc::new(Inner {
            runtime: Queue::new(runtime),
            precision,
            cache: Mutex::default(),
            tables: Mutex::default(),
            rates: Mutex::default(),
            waits: AtomicUsize::new(0),
            bytes_read: AtomicUsize::new(0),
        }))
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        self.0.runtime.device().name()
    }

    /// Returns the names and texts of the sources whose kernels were used, if they are emulated. Tests compile them for GPUs too.
    pub fn units(&self) -> Vec<(String, String)> {
        self.0.runtime.device().units()
    }

    /// Returns how many commands ran in CUDA graphs, and how many alone.
    pub fn graphs(&self) -> GraphReport {
        self.0.runtime.report()
    }

    /// Turns CUDA graphs off for this device: every kernel is launched by itself.
    pub fn without_graphs(self) -> Self {
        self.0.runtime.keep_nothing();
        self
    }

    /// Returns how often the host has waited for the device: once for each read and each [`Cuda::wait`].
    pub fn waits(&self) -> usize {
        self.0.waits.load(Ordering::Relaxed)
    }

    /// Returns how many bytes the host has read from the device.
    pub fn bytes_read(&self) -> usize {
        self.0.bytes_read.load(Ordering::Relaxed)
    }

    /// Waits until everything that was launched has run.
    pub fn wait(&self) {
        self.0.waits.fetch_add(1, Ordering::Relaxed);
        self.0.runtime.settled().and_then(|device| device.wait()).unwrap_or_else(|error| error.raise());
    }

    /// Returns the largest number of bytes that arrays occupied at once.
    pub fn peak_bytes(&self) -> usize {
        self.0.cache().peak()
    }

    /// Returns the bytes of device memory that this program holds, in use or ready for reuse.
    pub fn held_bytes(&self) -> usize {
        self.0.cache().held()
    }
}

/// A block of a device's memory. It returns to the cache when its last owner drops it.
pub(super) struct Buffer {
    address: u64,
    bytes: usize,
    size: usize,
    owner: Weak<Inner>,
    /// The same numbers in bfloat16, kept once a product has needed them. A write to the block must drop them.
    rounded: Mutex<Option<Arc<Buffer>>>,
}

impl Buffer {
    /// Allocates a block of at least `bytes`, with unspecified contents.
    pub fn new(owner: &Arc<Inner>, bytes: usize) -> Self {
        let size = size_class(bytes);
        Self { address: owner.allocate(size), bytes, size, owner: Arc::downgrade(owner), rounded: Mutex::default() }
    }
    /// Returns a block with the same numbers in bfloat16. At the first call, `round` fills it: from this block's address, into the new
    /// block, for a count of numbers.
    pub fn rounded(&self, owner: &Arc<Inner>, round: impl FnOnce(u64, &Buffer, usize)) -> Arc<Buffer> {
        let mut rounded = self.rounded.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let make = || {
            let count = self.bytes / Storage::F32.bytes();
            let block = Buffer::new(owner, count * Storage::Bf16.bytes());
            round(self.address, &block, count);
            Arc::new(block)
        };
        rounded.get_or_insert_with(make).clone()
    }
    pub fn forget_rounded(&self) {
        self.rounded.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    }
    /// Its address on the device.
    pub fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(owner) = self.owner.upgrade() {
            owner.release(self.size, self.address);
        }
    }
}

/// The numbers of an optimizer step, on the device.
pub(super) struct Rates {
    /// The kernel, and the bits of the rule's constants. These stay the same from step to step.
    pub rule: (&'static str, Vec<u64>),
    /// The bits of the numbers. Empty before the first step.
    pub numbers: Vec<u32>,
    pub buffer: Buffer,
}
