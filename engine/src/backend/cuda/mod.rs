//! NVIDIA GPUs, through libraries that are loaded at run time: nothing of CUDA is needed to build, and a machine without it only lacks the device.
//!
//! The kernels are the `.cu` files in `kernels/`, compiled by NVRTC at their first use for the GPU that is there and kept on disk; elementwise
//! functions become kernels from their formulas. Everything is launched into one stream, in order, through a queue that turns what repeats into graphs;
//! the host waits only where it reads.
//! Reductions run in a fixed order without atomics, so a run gives the same bits each time on the same GPU.
//!
//! A method that fails on the device (no memory left, say) panics with a [`CudaError`] as its payload: the kernels of a [`Backend`] give no `Result`.

mod allocator;
mod array;
mod attention;
mod blas;
pub mod compile;
mod driver;
mod elementwise;
mod emulator;
mod error;
pub mod expression;
mod flash;
mod indexing;
mod launch;
mod matmul;
mod nccl;
mod optimizer;
mod queue;
mod reduce;
mod rows;
pub mod runtime;
mod sampling;
mod views;
mod vocabulary;

pub use array::CudaArray;
pub use driver::{DeviceReport, devices, usable};
pub use elementwise::elementwise_source;
pub use error::CudaError;
pub use nccl::{Nccl, UniqueId};
pub use queue::GraphReport;
pub use runtime::Storage;

use super::precision::Precision;
use super::{AdamwStep, Backend, Formula, Indices, SgdStep, StepDecision};
use crate::ops::attention::Segments;
use crate::ops::rope::Pairing;
use crate::sampling::SamplingRule;
use allocator::Cache;
use array::Buffer;
use launch::{arguments, int};
use optimizer::Rates;
use queue::Queue;
use runtime::Runtime;
use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// An NVIDIA GPU. Cloning shares it.
#[derive(Clone)]
pub struct Cuda(Arc<Inner>);

/// Integers on the device.
struct Table {
    numbers: Box<[u32]>,
    buffer: Arc<Buffer>,
    /// How often the host had waited when they were last used.
    waits: usize,
}

/// A device, its memory's books, and what was uploaded lately: integers, and the numbers of optimizer steps.
struct Inner {
    runtime: Queue,
    precision: Precision,
    cache: Mutex<Cache>,
    tables: Mutex<VecDeque<Table>>,
    rates: Mutex<Vec<Rates>>,
    waits: AtomicUsize,
    bytes_read: AtomicUsize,
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

    /// A block of a size class: a free one, or a new one; where there is no memory for that, a new one once all free ones are given back.
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
    /// Opens GPU number `ordinal`; its matrix products round their operands as `precision` says.
    ///
    /// # Errors
    /// Why it cannot be used: one sentence that says what is missing.
    pub fn open(ordinal: usize, precision: Precision) -> Result<Self, CudaError> {
        Ok(Self::on(Box::new(driver::Driver::open(ordinal, precision)?), precision))
    }

    /// The same kernels compiled for the processor, with the libraries in `folder`: for tests on machines without a GPU.
    ///
    /// # Errors
    /// A sentence where there is no C++ compiler, or the processor is not an x86-64.
    pub fn emulated(folder: &Path, precision: Precision) -> Result<Self, String> {
        Ok(Self::on(Box::new(emulator::Emulator::new(folder)?), precision))
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

    /// The names and texts of the sources that kernels were taken from, where they are emulated: for tests that compile them for GPUs too.
    pub fn units(&self) -> Vec<(String, String)> {
        self.0.runtime.device().units()
    }

    /// How often commands ran as graphs, and how often alone.
    pub fn graphs(&self) -> GraphReport {
        self.0.runtime.report()
    }

    /// The same device with every kernel launched alone, whether or not it comes again.
    pub fn without_graphs(self) -> Self {
        self.0.runtime.keep_nothing();
        self
    }

    /// How often the host has waited for the device: each time it read something there.
    pub fn waits(&self) -> usize {
        self.0.waits.load(Ordering::Relaxed)
    }

    /// How many bytes the host has read from the device.
    pub fn bytes_read(&self) -> usize {
        self.0.bytes_read.load(Ordering::Relaxed)
    }

    /// Waits until everything that was launched has run.
    pub fn wait(&self) {
        self.0.waits.fetch_add(1, Ordering::Relaxed);
        self.0.runtime.settled().and_then(|device| device.wait()).unwrap_or_else(|error| error.raise());
    }

    /// The most bytes of the device's memory that arrays took at once.
    pub fn peak_bytes(&self) -> usize {
        self.0.cache().peak()
    }

    /// The bytes of the device's memory that this program holds, in use or ready to be used again.
    pub fn held_bytes(&self) -> usize {
        self.0.cache().held()
    }

    /// Contiguous arrays, all in bfloat16 or all in f32, as the widest of them; and which.
    fn stored_alike<const N: usize>(&self, arrays: [&CudaArray; N]) -> ([CudaArray; N], Storage) {
        let storage = arrays.iter().fold(Storage::Bf16, |storage, x| storage.wider(x.storage()));
        let alike = |x: &CudaArray| if storage == Storage::Bf16 { self.packed(x) } else { self.contiguous(x) };
        (arrays.map(alike), storage)
    }

    /// Elementwise in row-major order with the kernel's arrays all of one shape: contiguous copies, a result, the element count.
    fn same_shape<const N: usize>(&self, arrays: [&CudaArray; N]) -> ([CudaArray; N], CudaArray, usize) {
        let y = self.empty(arrays[0].shape());
        let n = y.len();
        (arrays.map(|x| self.contiguous(x)), y, n)
    }
}

impl Backend for Cuda {
    type Scalar = f32;
    type Array = CudaArray;

    fn precision(&self) -> Precision {
        self.0.precision
    }
    fn from_vec(&self, data: Vec<f32>, shape: &[usize]) -> CudaArray {
        self.upload(&data, shape)
    }
    fn to_vec(&self, x: &CudaArray) -> Vec<f32> {
        self.download(x)
    }
    fn shape<'a>(&self, x: &'a CudaArray) -> &'a [usize] {
        x.shape()
    }
    fn full(&self, value: f64, shape: &[usize]) -> CudaArray {
        self.filled(value as f32, shape)
    }
    fn reshape(&self, x: &CudaArray, shape: &[usize]) -> CudaArray {
        self.packed(x).with_shape(shape)
    }
    fn permute(&self, x: &CudaArray, axes: &[usize]) -> CudaArray {
        x.permute(axes)
    }
    fn slice(&self, x: &CudaArray, axis: usize, start: usize, end: usize) -> CudaArray {
        x.slice(axis, start, end)
    }
    fn broadcast_to(&self, x: &CudaArray, shape: &[usize]) -> CudaArray {
        x.broadcast_to(shape)
    }
    fn concat(&self, parts: &[&CudaArray], axis: usize) -> CudaArray {
        self.concatenated(parts, axis)
    }
    fn elementwise<const N: usize, F: Formula<N>>(&self, f: F, x: [&CudaArray; N]) -> CudaArray {
        self.apply(f, x)
    }
    fn sum(&self, x: &CudaArray, axis: usize) -> CudaArray {
        self.summed(x, axis)
    }
    fn max(&self, x: &CudaArray, axis: usize) -> CudaArray {
        self.largest(x, axis)
    }
    fn matmul(&self, a: &CudaArray, b: &CudaArray) -> CudaArray {
        self.matrix_product(a, b, self.activation())
    }
    fn matmul_wide(&self, a: &CudaArray, b: &CudaArray) -> CudaArray {
        self.matrix_product(a, b, Storage::F32)
    }
    fn linear(&self, x: &CudaArray, weight: &CudaArray, bias: &CudaArray) -> CudaArray {
        self.linear_product(x, weight, bias)
    }
    fn gather_rows(&self, table: &CudaArray, rows: &Indices) -> CudaArray {
        self.rows_of(table, rows)
    }
    fn scatter_add_rows(&self, x: &CudaArray, rows: &Indices, row_count: usize) -> CudaArray {
        self.rows_added(x, rows, row_count)
    }
    fn gather_last(&self, x: &CudaArray, index: &Indices, k: usize) -> CudaArray {
        self.entries_of(x, index, k)
    }
    fn scatter_add_last(&self, x: &CudaArray, index: &Indices, n: usize) -> CudaArray {
        self.entries_added(x, index, n)
    }

    fn accumulate(&self, x: CudaArray, y: &CudaArray) -> CudaArray {
        self.accumulated(x, y)
    }
    fn scale_by(&self, x: &CudaArray, c: &CudaArray) -> CudaArray {
        let ([x], y, n) = self.same_shape([x]);
        self.launch_elements("arrays", "scale_by", n, arguments![&y, &x, c, n]);
        y
    }
    fn scale(&self, x: &CudaArray, c: f64) -> CudaArray {
        let ([x], y, n) = self.same_shape([x]);
        self.launch_elements("arrays", "scale", n, arguments![&y, &x, c as f32, n]);
        y
    }
    fn softmax(&self, x: &CudaArray) -> CudaArray {
        self.row_map("softmax", x)
    }
    fn softmax_vjp(&self, y: &CudaArray, cotangent: &CudaArray) -> CudaArray {
        self.row_vjp("softmax_vjp", y, cotangent)
    }
    fn log_softmax(&self, x: &CudaArray) -> CudaArray {
        self.row_map("log_softmax", x)
    }
    fn log_softmax_vjp(&self, y: &CudaArray, cotangent: &CudaArray) -> CudaArray {
        self.row_vjp("log_softmax_vjp", y, cotangent)
    }
    fn logsumexp(&self, x: &CudaArray) -> CudaArray {
        self.row_logsumexp(x)
    }
    fn layer_norm(&self, x: &CudaArray, epsilon: f64) -> (CudaArray, CudaArray) {
        self.normalised(x, epsilon, true)
    }
    fn layer_norm_vjp(&self, y: &CudaArray, s: &CudaArray, cotangent: &CudaArray) -> CudaArray {
        self.normalised_vjp(y, s, cotangent, true)
    }
    fn rms_norm(&self, x: &CudaArray, epsilon: f64) -> (CudaArray, CudaArray) {
        self.normalised(x, epsilon, false)
    }
    fn rms_norm_vjp(&self, y: &CudaArray, s: &CudaArray, cotangent: &CudaArray) -> CudaArray {
        self.normalised_vjp(y, s, cotangent, false)
    }
    fn scaled_rms_norm(&self, x: &CudaArray, gain: &CudaArray, epsilon: f64) -> (CudaArray, CudaArray) {
        self.scaled_normalised(x, gain, epsilon)
    }
    fn scaled_rms_norm_vjp(&self, x: &CudaArray, gain: &CudaArray, s: &CudaArray, cotangent: &CudaArray) -> (CudaArray, CudaArray) {
        self.scaled_normalised_vjp(x, gain, s, cotangent)
    }
    fn rope(&self, x: CudaArray, cos: &CudaArray, sin: &CudaArray, pairing: Pairing) -> CudaArray {
        let x = self.packed(&x);
        let y = self.empty_as(x.shape(), x.storage());
        let (cos, sin) = (self.contiguous(cos), self.contiguous(sin));
        let [heads, width, pairs] = [x.shape()[1], x.shape()[2], cos.shape()[1]].map(int);
        let adjacent = i32::from(pairing == Pairing::Adjacent);
        let (kernel, per_token) = (launch::typed("rope", &[x.storage()]), x.shape()[1] * x.shape()[2]);
        self.launch_rows("arrays", &kernel, (x.shape()[0], per_token), arguments![&y, &x, &cos, &sin, heads, width, pairs, adjacent]);
        y
    }
    fn attention(&self, q: &CudaArray, k: &CudaArray, v: &CudaArray, segments: &Segments, scale: f64) -> (CudaArray, CudaArray) {
        if self.is_flash(q.shape()[2]) {
            return self.flash([q, k, v], segments, scale);
        }
        if q.shape()[2] > attention::WIDEST {
            return crate::ops::attention::reference_forward(self, q, k, v, segments, scale);
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
        if self.is_flash(q.shape()[2]) {
            return self.flash_vjp([q, k, v], [output, logsumexp, cotangent], segments, scale);
        }
        if q.shape()[2] > attention::WIDEST {
            return crate::ops::attention::reference_vjp(self, q, k, v, output, logsumexp, cotangent, segments, scale);
        }
        self.attended_vjp([q, k, v], [output, logsumexp, cotangent], segments, scale)
    }
    fn swiglu(&self, gate: &CudaArray, up: &CudaArray) -> CudaArray {
        let ([gate, up], storage) = self.stored_alike([gate, up]);
        let (y, n) = (self.empty_as(gate.shape(), storage), gate.len());
        self.launch_elements("arrays", &launch::typed("swiglu", &[storage]), n, arguments![&y, &gate, &up, n]);
        y
    }
    fn swiglu_vjp(&self, gate: &CudaArray, up: &CudaArray, cotangent: &CudaArray) -> (CudaArray, CudaArray) {
        let ([gate, up, g], storage) = self.stored_alike([gate, up, cotangent]);
        let [gate_bar, up_bar] = [gate.shape(); 2].map(|shape| self.empty_as(shape, storage));
        let (kernel, n) = (launch::typed("swiglu_vjp", &[storage]), gate.len());
        self.launch_elements("arrays", &kernel, n, arguments![&gate_bar, &up_bar, &gate, &up, &g, n]);
        (gate_bar, up_bar)
    }
    fn linear_log_prob(&self, hidden: &CudaArray, weight: &CudaArray, targets: &Indices, _vjp: bool) -> (CudaArray, CudaArray) {
        self.target_log_probs(hidden, weight, targets)
    }
    fn linear_log_prob_vjp(
        &self,
        hidden: &CudaArray,
        weight: &CudaArray,
        targets: &Indices,
        saved: &CudaArray,
        cotangent: &CudaArray,
    ) -> (CudaArray, CudaArray) {
        self.target_log_probs_vjp([hidden, weight], targets, saved, cotangent)
    }
    fn linear_cross_entropy(&self, hidden: &CudaArray, weight: &CudaArray, targets: &Indices) -> (CudaArray, [CudaArray; 2]) {
        self.summed_cross_entropy(hidden, weight, targets)
    }
    fn sample_rows(&self, logits: &CudaArray, rule: &SamplingRule, uniforms: &[f64]) -> Vec<u32> {
        self.sampled(logits, rule, uniforms)
    }
    fn sum_of_squares(&self, x: &CudaArray) -> f64 {
        self.squares(&[x])[0]
    }
    fn sums_of_squares(&self, arrays: &[&CudaArray]) -> Vec<f64> {
        self.squares(arrays)
    }
    fn adamw(
        &self,
        theta: &mut CudaArray,
        m: &mut CudaArray,
        v: &mut CudaArray,
        gradient: &CudaArray,
        step: &AdamwStep,
        control: Option<&CudaArray>,
    ) {
        self.adamw_step([theta, m, v], gradient, step, control);
    }
    fn sgd(&self, theta: &mut CudaArray, velocity: &mut CudaArray, gradient: &CudaArray, step: &SgdStep, control: Option<&CudaArray>) {
        self.sgd_step([theta, velocity], gradient, step, control);
    }
    fn is_queued(&self) -> bool {
        true
    }
    fn step_control(&self, losses: &[&CudaArray], gradients: &[&CudaArray], weight: f64, clip: f64) -> CudaArray {
        self.control(losses, gradients, weight, clip)
    }
    fn step_decision(&self, control: &CudaArray) -> StepDecision {
        self.decision(control)
    }
}
