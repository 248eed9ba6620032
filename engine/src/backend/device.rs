//! A device chosen at run time: the processor with elements of f32, or a GPU. A program is compiled for this type once, and trains on
//! either.
//!
//! Every method delegates to the backend behind the device. `Hand` unwraps the arguments for that backend, and `Wrap` wraps its result.
//! The few that can read weights as files store them look for those first.

use super::attention::Attention;
use super::core::{Core, Indices};
use super::cpu::Cpu;
use super::cpu::array::CpuArray;
use super::cpu::stored::StoredArray;
use super::cuda::{Cuda, CudaArray};
use super::precision::Precision;
use super::products::{Products, gated_mlp_by_products, linear_by_product, linears_one_by_one};
use super::rows::Rows;
use super::step::{AdamwPart, SgdStep, StepDecision};
use super::update::Update;
use super::vocabulary::Vocabulary;
use crate::formula::Formula;
use crate::gemm::matrix::STREAMED_ROWS;
use crate::rotary::Pairing;
use crate::sampling::SamplingRule;
use crate::segments::Segments;
use std::ops::Range;

/// The processor or a GPU.
#[derive(Clone, Debug)]
pub enum Device {
    /// The processor.
    Cpu(Cpu<f32>),
    /// An NVIDIA GPU.
    Cuda(Cuda),
}

impl Default for Device {
    /// Returns the processor.
    fn default() -> Self {
        Self::Cpu(Cpu::new())
    }
}

impl Device {
    /// Returns the name for reports: `cpu` or `cuda`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cpu(_) => "cpu",
            Self::Cuda(_) => "cuda",
        }
    }

    /// Waits until the device has computed everything that was launched.
    pub fn wait(&self) {
        if let Self::Cuda(cuda) = self {
            cuda.wait();
        }
    }
}

/// An array on a [`Device`].
#[derive(Clone)]
pub enum DeviceArray {
    /// In the processor's memory.
    Cpu(CpuArray<f32>),
    /// In the processor's memory, as a file stores it.
    Stored(StoredArray),
    /// In a GPU's memory.
    Cuda(CudaArray),
}

impl From<CpuArray<f32>> for DeviceArray {
    fn from(x: CpuArray<f32>) -> Self {
        Self::Cpu(x)
    }
}
impl DeviceArray {
    /// The matrix, if it is as a file stores it.
    fn stored(&self) -> Option<&StoredArray> {
        match self {
            Self::Stored(x) => Some(x),
            Self::Cpu(_) | Self::Cuda(_) => None,
        }
    }
    /// The array with its numbers in f32, for one use.
    fn for_one_use(&self) -> Self {
        self.stored().map_or_else(|| self.clone(), |stored| stored.for_one_use().into())
    }
    /// Widens what is as a file stores it.
    fn widen(&mut self) {
        if let Self::Stored(x) = self {
            *self = Self::Cpu(x.in_f32().clone());
        }
    }
}

impl From<CudaArray> for DeviceArray {
    fn from(x: CudaArray) -> Self {
        Self::Cuda(x)
    }
}

/// How layers read their weights.
enum Way {
    /// Product by product, as they are stored.
    AsStored,
    /// All at once, widened for this use.
    InF32,
    /// All are in f32.
    Plain,
}

impl Device {
    /// How to multiply the rows of x by these weights: few rows read what is stored, for many it is worth widening.
    fn way_to_read(&self, x: &DeviceArray, weights: &[&DeviceArray]) -> Way {
        if weights.iter().all(|weight| weight.stored().is_none()) {
            Way::Plain
        } else if self.precision() == Precision::F32 && self.shape(x)[0] <= STREAMED_ROWS {
            Way::AsStored
        } else {
            Way::InF32
        }
    }
}

/// Arguments that contain [`DeviceArray`]s. Unwraps them to the arrays of one backend.
trait Hand {
    type Cpu;
    type Cuda;
    /// # Panics
    /// If an array is in a GPU's memory.
    fn to_cpu(self) -> Self::Cpu;
    /// # Panics
    /// If an array is in the processor's memory.
    fn to_cuda(self) -> Self::Cuda;
}

macro_rules! hand_arrays {
    ($($array:ty => $cpu:ty, $cuda:ty: |$stored:ident| $in_f32:expr;)*) => {$(
        impl<'a> Hand for $array {
            type Cpu = $cpu;
            type Cuda = $cuda;
            fn to_cpu(self) -> $cpu {
                match self {
                    DeviceArray::Cpu(x) => x,
                    DeviceArray::Stored($stored) => $in_f32,
                    DeviceArray::Cuda(_) => panic!("an array of the GPU is used on the processor"),
                }
            }
            fn to_cuda(self) -> $cuda {
                match self {
                    DeviceArray::Cuda(x) => x,
                    DeviceArray::Cpu(_) | DeviceArray::Stored(_) => panic!("an array of the processor is used on the GPU"),
                }
            }
        }
    )*};
}
hand_arrays! {
    DeviceArray => CpuArray<f32>, CudaArray: |x| x.in_f32().clone();
    &'a DeviceArray => &'a CpuArray<f32>, &'a CudaArray: |x| x.in_f32();
}

impl<'a> Hand for &'a mut DeviceArray {
    type Cpu = &'a mut CpuArray<f32>;
    type Cuda = &'a mut CudaArray;
    fn to_cpu(self) -> Self::Cpu {
        self.widen();
        match self {
            DeviceArray::Cpu(x) => x,
            DeviceArray::Stored(_) | DeviceArray::Cuda(_) => panic!("an array of the GPU is used on the processor"),
        }
    }
    fn to_cuda(self) -> Self::Cuda {
        match self {
            DeviceArray::Cuda(x) => x,
            DeviceArray::Cpu(_) | DeviceArray::Stored(_) => panic!("an array of the processor is used on the GPU"),
        }
    }
}

/// Implements [`Hand`] for tuples, lists and structs of arrays, part by part.
macro_rules! hand_parts {
    ($(($($generics:tt)*) $parts:ty => $cpu:ty, $cuda:ty: |$x:ident, $hand:ident| $handed:expr;)*) => {$(
        impl<$($generics)*> Hand for $parts {
            type Cpu = $cpu;
            type Cuda = $cuda;
            fn to_cpu(self) -> $cpu {
                use self::to_cpu as $hand;
                let $x = self;
                $handed
            }
            fn to_cuda(self) -> $cuda {
                use self::to_cuda as $hand;
                let $x = self;
                $handed
            }
        }
    )*};
}
hand_parts! {
    (X: Hand, Y: Hand) (X, Y) => (X::Cpu, Y::Cpu), (X::Cuda, Y::Cuda): |x, hand| (hand(x.0), hand(x.1));
    (X: Hand, const N: usize) [X; N] => [X::Cpu; N], [X::Cuda; N]: |x, hand| x.map(hand);
    (X: Hand) Option<X> => Option<X::Cpu>, Option<X::Cuda>: |x, hand| x.map(hand);
    (X: Hand) Vec<X> => Vec<X::Cpu>, Vec<X::Cuda>: |x, hand| x.into_iter().map(hand).collect();
    ('a) AdamwPart<'a, DeviceArray> => AdamwPart<'a, CpuArray<f32>>, AdamwPart<'a, CudaArray>: |x, hand| {
        AdamwPart { theta: hand(x.theta), m: hand(x.m), v: hand(x.v), gradient: hand(x.gradient), step: x.step }
    };
}

/// The result of one backend. Wraps its arrays as [`DeviceArray`]s.
trait Wrap {
    type Wrapped;
    fn wrap(self) -> Self::Wrapped;
}
impl Wrap for CpuArray<f32> {
    type Wrapped = DeviceArray;
    fn wrap(self) -> DeviceArray {
        self.into()
    }
}
impl Wrap for CudaArray {
    type Wrapped = DeviceArray;
    fn wrap(self) -> DeviceArray {
        self.into()
    }
}
impl<X: Wrap, Y: Wrap> Wrap for (X, Y) {
    type Wrapped = (X::Wrapped, Y::Wrapped);
    fn wrap(self) -> Self::Wrapped {
        (self.0.wrap(), self.1.wrap())
    }
}
impl<X: Wrap, Y: Wrap, Z: Wrap> Wrap for (X, Y, Z) {
    type Wrapped = (X::Wrapped, Y::Wrapped, Z::Wrapped);
    fn wrap(self) -> Self::Wrapped {
        (self.0.wrap(), self.1.wrap(), self.2.wrap())
    }
}
impl<X: Wrap, const N: usize> Wrap for [X; N] {
    type Wrapped = [X::Wrapped; N];
    fn wrap(self) -> Self::Wrapped {
        self.map(X::wrap)
    }
}
impl<X: Wrap> Wrap for Option<X> {
    type Wrapped = Option<X::Wrapped>;
    fn wrap(self) -> Self::Wrapped {
        self.map(X::wrap)
    }
}
impl<X: Wrap> Wrap for Vec<X> {
    type Wrapped = Vec<X::Wrapped>;
    fn wrap(self) -> Self::Wrapped {
        self.into_iter().map(X::wrap).collect()
    }
}

fn to_cpu<X: Hand>(x: X) -> X::Cpu {
    x.to_cpu()
}
fn to_cuda<X: Hand>(x: X) -> X::Cuda {
    x.to_cuda()
}

/// Evaluates a call on the device's backend. `$hand` names the function that unwraps an argument for that backend.
macro_rules! on {
    ($device:ident, $backend:ident, $hand:ident => $call:expr) => {
        match $device {
            Device::Cpu($backend) => {
                #[allow(unused_imports)]
                use self::to_cpu as $hand;
                $call
            }
            Device::Cuda($backend) => {
                #[allow(unused_imports)]
                use self::to_cuda as $hand;
                $call
            }
        }
    };
}

/// Defines methods `name(arrays; other arguments) -> arrays` that delegate to the backend.
macro_rules! delegate {
    ($(fn $name:ident($($array:ident: $arrays:ty),*; $($other:ident: $plain:ty),*) -> $result:ty;)*) => {$(
        fn $name(&self $(, $array: $arrays)* $(, $other: $plain)*) -> $result {
            on!(self, backend, hand => backend.$name($(hand($array),)* $($other),*).wrap())
        }
    )*};
}

impl Core for Device {
    type Scalar = f32;
    type Array = DeviceArray;

    delegate! {
        fn from_vec(; data: Vec<f32>, shape: &[usize]) -> DeviceArray;
        fn full(; value: f64, shape: &[usize]) -> DeviceArray;
        fn reshape(x: &DeviceArray; shape: &[usize]) -> DeviceArray;
        fn slice(x: &DeviceArray; axis: usize, start: usize, end: usize) -> DeviceArray;
        fn broadcast_to(x: &DeviceArray; shape: &[usize]) -> DeviceArray;
        fn sum(x: &DeviceArray; axis: usize) -> DeviceArray;
        fn max(x: &DeviceArray; axis: usize) -> DeviceArray;
        fn scatter_add_rows(x: &DeviceArray; rows: &Indices, row_count: usize) -> DeviceArray;
        fn gather_last(x: &DeviceArray; index: &Indices, k: usize) -> DeviceArray;
        fn scatter_add_last(x: &DeviceArray; index: &Indices, n: usize) -> DeviceArray;
        fn scale(x: &DeviceArray; c: f64) -> DeviceArray;
        fn scale_by(x: &DeviceArray, c: &DeviceArray;) -> DeviceArray;
        fn accumulate(x: DeviceArray, y: &DeviceArray;) -> DeviceArray;
        fn sum_to(x: &DeviceArray; shape: &[usize]) -> DeviceArray;
        fn write_rows(x: DeviceArray, y: &DeviceArray; rows: &[Range<usize>]) -> DeviceArray;
        fn scatter_add_rows_to(sum: DeviceArray, x: &DeviceArray; rows: &Indices) -> DeviceArray;
    }

    fn to_vec(&self, x: &DeviceArray) -> Vec<f32> {
        on!(self, backend, hand => backend.to_vec(hand(x)))
    }
    fn permute(&self, x: &DeviceArray, axes: &[usize]) -> DeviceArray {
        match x.stored() {
            Some(stored) if axes == [1, 0] => DeviceArray::Stored(stored.transposed()),
            _ => on!(self, backend, hand => backend.permute(hand(x), axes).wrap()),
        }
    }
    fn matmul(&self, a: &DeviceArray, b: &DeviceArray) -> DeviceArray {
        match b.stored() {
            Some(stored) if self.precision() == Precision::F32 => stored.product(to_cpu(a)).into(),
            Some(_) => self.matmul(a, &b.for_one_use()),
            None => on!(self, backend, hand => backend.matmul(hand(a), hand(b)).wrap()),
        }
    }
    fn gather_rows(&self, table: &DeviceArray, rows: &Indices) -> DeviceArray {
        match table.stored() {
            Some(stored) => stored.rows(rows).into(),
            None => on!(self, backend, hand => backend.gather_rows(hand(table), rows).wrap()),
        }
    }
    fn shape<'a>(&self, x: &'a DeviceArray) -> &'a [usize] {
        if let Some(stored) = x.stored() {
            return stored.shape();
        }
        on!(self, backend, hand => backend.shape(hand(x)))
    }
    fn concat(&self, parts: &[&DeviceArray], axis: usize) -> DeviceArray {
        on!(self, backend, hand => backend.concat(&hand(parts.to_vec()), axis).wrap())
    }
    fn elementwise<const N: usize, F: Formula<N>>(&self, f: F, x: [&DeviceArray; N]) -> DeviceArray {
        on!(self, backend, hand => backend.elementwise(f, hand(x)).wrap())
    }
    fn precision(&self) -> Precision {
        match self {
            Self::Cpu(backend) => backend.precision(),
            Self::Cuda(backend) => backend.precision(),
        }
    }
    fn is_queued(&self) -> bool {
        matches!(self, Self::Cuda(_))
    }
    fn keep_awake<R>(&self, work: impl FnOnce() -> R) -> R {
        match self {
            Self::Cpu(cpu) => cpu.keep_awake(work),
            Self::Cuda(_) => work(),
        }
    }
}

impl Products for Device {
    delegate! {
        fn matmul_wide(a: &DeviceArray, b: &DeviceArray;) -> DeviceArray;
        fn swiglu(gate: &DeviceArray, up: &DeviceArray;) -> DeviceArray;
        fn swiglu_vjp(gate: &DeviceArray, up: &DeviceArray, cotangent: &DeviceArray;) -> (DeviceArray, DeviceArray);
    }

    fn linear(&self, x: &DeviceArray, weight: &DeviceArray, bias: &DeviceArray) -> DeviceArray {
        match self.way_to_read(x, &[weight]) {
            Way::AsStored => linear_by_product(self, x, weight, bias),
            Way::InF32 => self.linear(x, &weight.for_one_use(), bias),
            Way::Plain => on!(self, backend, hand => backend.linear(hand(x), hand(weight), hand(bias)).wrap()),
        }
    }
    fn gated_mlp(&self, x: &DeviceArray, weights: [&DeviceArray; 3], keep: bool) -> (DeviceArray, Option<[DeviceArray; 2]>) {
        match self.way_to_read(x, &weights) {
            Way::AsStored => gated_mlp_by_products(self, x, weights, keep),
            Way::InF32 => self.gated_mlp(x, weights.map(DeviceArray::for_one_use).each_ref(), keep),
            Way::Plain => on!(self, backend, hand => backend.gated_mlp(hand(x), hand(weights), keep).wrap()),
        }
    }
    fn linears(&self, x: &DeviceArray, weights: &[&DeviceArray], biases: &[Option<&DeviceArray>]) -> Vec<DeviceArray> {
        match self.way_to_read(x, weights) {
            Way::AsStored => return linears_one_by_one(self, x, weights, biases),
            Way::InF32 => {
                let weights: Vec<DeviceArray> = weights.iter().map(|weight| weight.for_one_use()).collect();
                return self.linears(x, &weights.iter().collect::<Vec<_>>(), biases);
            }
            Way::Plain => {}
        }
        on!(self, backend, hand => backend.linears(hand(x), &hand(weights.to_vec()), &hand(biases.to_vec())).wrap())
    }
    fn sum_of_products(&self, products: &[(&DeviceArray, &DeviceArray)]) -> DeviceArray {
        on!(self, backend, hand => backend.sum_of_products(&hand(products.to_vec())).wrap())
    }
    fn products_of_transposed(&self, a: &[&DeviceArray], b: &DeviceArray) -> Vec<DeviceArray> {
        on!(self, backend, hand => backend.products_of_transposed(&hand(a.to_vec()), hand(b)).wrap())
    }
    fn gated_mlp_vjp(
        &self,
        x: &DeviceArray,
        weights: [&DeviceArray; 3],
        saved: &[DeviceArray; 2],
        cotangent: &DeviceArray,
        needed: [bool; 4],
    ) -> [Option<DeviceArray>; 4] {
        on!(self, backend, hand => {
            backend.gated_mlp_vjp(hand(x), hand(weights), &hand(saved.clone()), hand(cotangent), needed).wrap()
        })
    }
}

impl Rows for Device {
    delegate! {
        fn softmax(x: &DeviceArray;) -> DeviceArray;
        fn softmax_vjp(y: &DeviceArray, cotangent: &DeviceArray;) -> DeviceArray;
        fn log_softmax(x: &DeviceArray;) -> DeviceArray;
        fn log_softmax_vjp(y: &DeviceArray, cotangent: &DeviceArray;) -> DeviceArray;
        fn logsumexp(x: &DeviceArray;) -> DeviceArray;
        fn layer_norm(x: &DeviceArray; epsilon: f64) -> (DeviceArray, DeviceArray);
        fn layer_norm_vjp(y: &DeviceArray, s: &DeviceArray, cotangent: &DeviceArray;) -> DeviceArray;
        fn rms_norm(x: &DeviceArray; epsilon: f64) -> (DeviceArray, DeviceArray);
        fn rms_norm_vjp(y: &DeviceArray, s: &DeviceArray, cotangent: &DeviceArray;) -> DeviceArray;
        fn scaled_rms_norm(x: &DeviceArray, gain: &DeviceArray; epsilon: f64) -> (DeviceArray, DeviceArray);
        fn scaled_rms_norm_vjp(x: &DeviceArray, gain: &DeviceArray, s: &DeviceArray, cotangent: &DeviceArray;)
            -> (DeviceArray, DeviceArray);
        fn scaled_rms_norm_vjp_to(sum: DeviceArray, x: &DeviceArray, gain: &DeviceArray, s: &DeviceArray, cotangent: &DeviceArray;)
            -> (DeviceArray, DeviceArray);
    }
}

impl Attention for Device {
    delegate! {
        fn rope(x: DeviceArray, cos: &DeviceArray, sin: &DeviceArray; pairing: Pairing) -> DeviceArray;
        fn attention(q: &DeviceArray, k: &DeviceArray, v: &DeviceArray; segments: &Segments, scale: f64) -> (DeviceArray, DeviceArray);
        fn attention_vjp(
            q: &DeviceArray, k: &DeviceArray, v: &DeviceArray, output: &DeviceArray, logsumexp: &DeviceArray, cotangent: &DeviceArray;
            segments: &Segments, scale: f64
        ) -> (DeviceArray, DeviceArray, DeviceArray);
    }
}

impl Vocabulary for Device {
    delegate! {
        fn linear_log_prob(hidden: &DeviceArray, weight: &DeviceArray; targets: &Indices, vjp: bool) -> (DeviceArray, DeviceArray);
        fn linear_cross_entropy(hidden: &DeviceArray, weight: &DeviceArray; targets: &Indices) -> (DeviceArray, [DeviceArray; 2]);
    }

    fn linear_log_prob_vjp(
        &self,
        hidden: &DeviceArray,
        weight: &DeviceArray,
        targets: &Indices,
        saved: &DeviceArray,
        cotangent: &DeviceArray,
    ) -> (DeviceArray, DeviceArray) {
        on!(self, backend, hand => {
            backend.linear_log_prob_vjp(hand(hidden), hand(weight), targets, hand(saved), hand(cotangent)).wrap()
        })
    }
    fn sample_rows(&self, logits: &DeviceArray, rule: &SamplingRule, uniforms: &[f64]) -> Vec<u32> {
        on!(self, backend, hand => backend.sample_rows(hand(logits), rule, uniforms))
    }
}

impl Update for Device {
    fn sums_of_squares(&self, arrays: &[&DeviceArray]) -> Vec<f64> {
        on!(self, backend, hand => backend.sums_of_squares(&hand(arrays.to_vec())))
    }
    fn adamw(&self, parts: Vec<AdamwPart<'_, DeviceArray>>, control: Option<&DeviceArray>) {
        on!(self, backend, hand => backend.adamw(hand(parts), hand(control)));
    }
    fn sgd(
        &self,
        theta: &mut DeviceArray,
        velocity: &mut DeviceArray,
        gradient: &DeviceArray,
        step: &SgdStep,
        control: Option<&DeviceArray>,
    ) {
        on!(self, backend, hand => backend.sgd(hand(theta), hand(velocity), hand(gradient), step, hand(control)));
    }
    fn step_control(&self, losses: &[&DeviceArray], gradients: &[&DeviceArray], weight: f64, clip: f64) -> DeviceArray {
        on!(self, backend, hand => backend.step_control(&hand(losses.to_vec()), &hand(gradients.to_vec()), weight, clip).wrap())
    }
    fn step_decision(&self, control: &DeviceArray) -> StepDecision {
        on!(self, backend, hand => backend.step_decision(hand(control)))
    }
}
