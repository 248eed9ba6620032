//! A device chosen at run time: the processor with elements of f32, or a GPU. What trains on one trains on the other, and a program is compiled for this once.

use super::cpu::Cpu;
use super::cpu::array::CpuArray;
use super::cuda::{Cuda, CudaArray};
use super::precision::Precision;
use super::{AdamwPart, AdamwStep, Backend, Formula, Indices, SgdStep, StepDecision};
use crate::ops::attention::Segments;
use crate::ops::rope::Pairing;
use crate::sampling::SamplingRule;

/// The processor or a GPU.
#[derive(Clone, Debug)]
pub enum Device {
    /// The processor.
    Cpu(Cpu<f32>),
    /// An NVIDIA GPU.
    Cuda(Cuda),
}

impl Default for Device {
    /// The processor.
    fn default() -> Self {
        Self::Cpu(Cpu::new())
    }
}

impl Device {
    /// Its name in reports: `cpu` or `cuda`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cpu(_) => "cpu",
            Self::Cuda(_) => "cuda",
        }
    }

    /// Waits until everything that was started has been computed.
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
    /// In a GPU's memory.
    Cuda(CudaArray),
}

impl From<CpuArray<f32>> for DeviceArray {
    fn from(x: CpuArray<f32>) -> Self {
        Self::Cpu(x)
    }
}
impl From<CudaArray> for DeviceArray {
    fn from(x: CudaArray) -> Self {
        Self::Cuda(x)
    }
}

impl DeviceArray {
    fn cpu(&self) -> &CpuArray<f32> {
        match self {
            Self::Cpu(x) => x,
            Self::Cuda(_) => panic!("an array of the GPU is used on the processor"),
        }
    }
    fn cuda(&self) -> &CudaArray {
        match self {
            Self::Cuda(x) => x,
            Self::Cpu(_) => panic!("an array of the processor is used on the GPU"),
        }
    }
    fn cpu_mut(&mut self) -> &mut CpuArray<f32> {
        match self {
            Self::Cpu(x) => x,
            Self::Cuda(_) => panic!("an array of the GPU is used on the processor"),
        }
    }
    fn cuda_mut(&mut self) -> &mut CudaArray {
        match self {
            Self::Cuda(x) => x,
            Self::Cpu(_) => panic!("an array of the processor is used on the GPU"),
        }
    }
}

/// What each of some arrays is on a backend.
fn on_backend<'a, A>(arrays: &[&'a DeviceArray], on: fn(&'a DeviceArray) -> &'a A) -> Vec<&'a A> {
    arrays.iter().map(|array| on(array)).collect()
}

/// One backend's results as a device's.
trait Lift {
    type Lifted;
    fn lift(self) -> Self::Lifted;
}
impl Lift for CpuArray<f32> {
    type Lifted = DeviceArray;
    fn lift(self) -> DeviceArray {
        self.into()
    }
}
impl Lift for CudaArray {
    type Lifted = DeviceArray;
    fn lift(self) -> DeviceArray {
        self.into()
    }
}
impl<A: Lift, B: Lift> Lift for (A, B) {
    type Lifted = (A::Lifted, B::Lifted);
    fn lift(self) -> Self::Lifted {
        (self.0.lift(), self.1.lift())
    }
}
impl<A: Lift, B: Lift, C: Lift> Lift for (A, B, C) {
    type Lifted = (A::Lifted, B::Lifted, C::Lifted);
    fn lift(self) -> Self::Lifted {
        (self.0.lift(), self.1.lift(), self.2.lift())
    }
}
impl<A: Lift> Lift for Option<A> {
    type Lifted = Option<A::Lifted>;
    fn lift(self) -> Self::Lifted {
        self.map(A::lift)
    }
}
impl<A: Lift, const N: usize> Lift for [A; N] {
    type Lifted = [A::Lifted; N];
    fn lift(self) -> Self::Lifted {
        self.map(A::lift)
    }
}

/// A method with its arrays (in brackets) handed to the backend that is there.
macro_rules! on {
    ($self:ident . $method:ident ([$($array:ident),*] $(, $other:expr)* $(,)?)) => {
        match $self {
            Self::Cpu(backend) => backend.$method($($array.cpu(),)* $($other),*).lift(),
            Self::Cuda(backend) => backend.$method($($array.cuda(),)* $($other),*).lift(),
        }
    };
}

impl Backend for Device {
    type Scalar = f32;
    type Array = DeviceArray;

    fn from_vec(&self, data: Vec<f32>, shape: &[usize]) -> DeviceArray {
        on!(self.from_vec([], data, shape))
    }
    fn to_vec(&self, x: &DeviceArray) -> Vec<f32> {
        match self {
            Self::Cpu(backend) => backend.to_vec(x.cpu()),
            Self::Cuda(backend) => backend.to_vec(x.cuda()),
        }
    }
    fn shape<'a>(&self, x: &'a DeviceArray) -> &'a [usize] {
        match x {
            DeviceArray::Cpu(x) => x.shape(),
            DeviceArray::Cuda(x) => x.shape(),
        }
    }
    fn full(&self, value: f64, shape: &[usize]) -> DeviceArray {
        on!(self.full([], value, shape))
    }
    fn reshape(&self, x: &DeviceArray, shape: &[usize]) -> DeviceArray {
        on!(self.reshape([x], shape))
    }
    fn permute(&self, x: &DeviceArray, axes: &[usize]) -> DeviceArray {
        on!(self.permute([x], axes))
    }
    fn slice(&self, x: &DeviceArray, axis: usize, start: usize, end: usize) -> DeviceArray {
        on!(self.slice([x], axis, start, end))
    }
    fn broadcast_to(&self, x: &DeviceArray, shape: &[usize]) -> DeviceArray {
        on!(self.broadcast_to([x], shape))
    }
    fn concat(&self, parts: &[&DeviceArray], axis: usize) -> DeviceArray {
        match self {
            Self::Cpu(backend) => backend.concat(&parts.iter().map(|x| x.cpu()).collect::<Vec<_>>(), axis).lift(),
            Self::Cuda(backend) => backend.concat(&parts.iter().map(|x| x.cuda()).collect::<Vec<_>>(), axis).lift(),
        }
    }
    fn elementwise<const N: usize, F: Formula<N>>(&self, f: F, x: [&DeviceArray; N]) -> DeviceArray {
        match self {
            Self::Cpu(backend) => backend.elementwise(f, x.map(DeviceArray::cpu)).lift(),
            Self::Cuda(backend) => backend.elementwise(f, x.map(DeviceArray::cuda)).lift(),
        }
    }
    fn sum(&self, x: &DeviceArray, axis: usize) -> DeviceArray {
        on!(self.sum([x], axis))
    }
    fn max(&self, x: &DeviceArray, axis: usize) -> DeviceArray {
        on!(self.max([x], axis))
    }
    fn matmul(&self, a: &DeviceArray, b: &DeviceArray) -> DeviceArray {
        on!(self.matmul([a, b]))
    }
    fn matmul_wide(&self, a: &DeviceArray, b: &DeviceArray) -> DeviceArray {
        on!(self.matmul_wide([a, b]))
    }
    fn linear(&self, x: &DeviceArray, weight: &DeviceArray, bias: &DeviceArray) -> DeviceArray {
        on!(self.linear([x, weight, bias]))
    }
    fn linears(&self, x: &DeviceArray, weights: &[&DeviceArray], biases: &[Option<&DeviceArray>]) -> Vec<DeviceArray> {
        match self {
            Self::Cpu(b) => {
                let (weights, biases) =
                    (on_backend(weights, DeviceArray::cpu), biases.iter().map(|bias| bias.map(DeviceArray::cpu)).collect::<Vec<_>>());
                b.linears(x.cpu(), &weights, &biases).into_iter().map(Lift::lift).collect()
            }
            Self::Cuda(b) => {
                let (weights, biases) =
                    (on_backend(weights, DeviceArray::cuda), biases.iter().map(|bias| bias.map(DeviceArray::cuda)).collect::<Vec<_>>());
                b.linears(x.cuda(), &weights, &biases).into_iter().map(Lift::lift).collect()
            }
        }
    }
    fn sum_of_products(&self, products: &[(&DeviceArray, &DeviceArray)]) -> DeviceArray {
        match self {
            Self::Cpu(b) => b.sum_of_products(&products.iter().map(|(x, y)| (x.cpu(), y.cpu())).collect::<Vec<_>>()).lift(),
            Self::Cuda(b) => b.sum_of_products(&products.iter().map(|(x, y)| (x.cuda(), y.cuda())).collect::<Vec<_>>()).lift(),
        }
    }
    fn products_of_transposed(&self, a: &[&DeviceArray], b: &DeviceArray) -> Vec<DeviceArray> {
        match self {
            Self::Cpu(backend) => {
                backend.products_of_transposed(&on_backend(a, DeviceArray::cpu), b.cpu()).into_iter().map(Lift::lift).collect()
            }
            Self::Cuda(backend) => {
                backend.products_of_transposed(&on_backend(a, DeviceArray::cuda), b.cuda()).into_iter().map(Lift::lift).collect()
            }
        }
    }
    fn keep_awake<R>(&self, work: impl FnOnce() -> R) -> R {
        match self {
            Self::Cpu(cpu) => cpu.keep_awake(work),
            Self::Cuda(_) => work(),
        }
    }
    fn gather_rows(&self, table: &DeviceArray, rows: &Indices) -> DeviceArray {
        on!(self.gather_rows([table], rows))
    }
    fn scatter_add_rows(&self, x: &DeviceArray, rows: &Indices, row_count: usize) -> DeviceArray {
        on!(self.scatter_add_rows([x], rows, row_count))
    }
    fn scatter_add_rows_to(&self, sum: DeviceArray, x: &DeviceArray, rows: &Indices) -> DeviceArray {
        match (self, sum) {
            (Self::Cpu(b), DeviceArray::Cpu(sum)) => b.scatter_add_rows_to(sum, x.cpu(), rows).lift(),
            (Self::Cuda(b), DeviceArray::Cuda(sum)) => b.scatter_add_rows_to(sum, x.cuda(), rows).lift(),
            _ => panic!("an array of another device"),
        }
    }
    fn gather_last(&self, x: &DeviceArray, index: &Indices, k: usize) -> DeviceArray {
        on!(self.gather_last([x], index, k))
    }
    fn scatter_add_last(&self, x: &DeviceArray, index: &Indices, n: usize) -> DeviceArray {
        on!(self.scatter_add_last([x], index, n))
    }

    fn accumulate(&self, x: DeviceArray, y: &DeviceArray) -> DeviceArray {
        match (self, x) {
            (Self::Cpu(backend), DeviceArray::Cpu(x)) => backend.accumulate(x, y.cpu()).lift(),
            (Self::Cuda(backend), DeviceArray::Cuda(x)) => backend.accumulate(x, y.cuda()).lift(),
            _ => panic!("an array of another device"),
        }
    }
    fn scale_by(&self, x: &DeviceArray, c: &DeviceArray) -> DeviceArray {
        on!(self.scale_by([x, c]))
    }
    fn scale(&self, x: &DeviceArray, c: f64) -> DeviceArray {
        on!(self.scale([x], c))
    }
    fn sum_to(&self, x: &DeviceArray, shape: &[usize]) -> DeviceArray {
        on!(self.sum_to([x], shape))
    }
    fn softmax(&self, x: &DeviceArray) -> DeviceArray {
        on!(self.softmax([x]))
    }
    fn softmax_vjp(&self, y: &DeviceArray, cotangent: &DeviceArray) -> DeviceArray {
        on!(self.softmax_vjp([y, cotangent]))
    }
    fn log_softmax(&self, x: &DeviceArray) -> DeviceArray {
        on!(self.log_softmax([x]))
    }
    fn log_softmax_vjp(&self, y: &DeviceArray, cotangent: &DeviceArray) -> DeviceArray {
        on!(self.log_softmax_vjp([y, cotangent]))
    }
    fn logsumexp(&self, x: &DeviceArray) -> DeviceArray {
        on!(self.logsumexp([x]))
    }
    fn layer_norm(&self, x: &DeviceArray, epsilon: f64) -> (DeviceArray, DeviceArray) {
        on!(self.layer_norm([x], epsilon))
    }
    fn layer_norm_vjp(&self, y: &DeviceArray, s: &DeviceArray, cotangent: &DeviceArray) -> DeviceArray {
        on!(self.layer_norm_vjp([y, s, cotangent]))
    }
    fn rms_norm(&self, x: &DeviceArray, epsilon: f64) -> (DeviceArray, DeviceArray) {
        on!(self.rms_norm([x], epsilon))
    }
    fn rms_norm_vjp(&self, y: &DeviceArray, s: &DeviceArray, cotangent: &DeviceArray) -> DeviceArray {
        on!(self.rms_norm_vjp([y, s, cotangent]))
    }
    fn scaled_rms_norm(&self, x: &DeviceArray, gain: &DeviceArray, epsilon: f64) -> (DeviceArray, DeviceArray) {
        on!(self.scaled_rms_norm([x, gain], epsilon))
    }
    fn scaled_rms_norm_vjp(
        &self,
        x: &DeviceArray,
        gain: &DeviceArray,
        s: &DeviceArray,
        cotangent: &DeviceArray,
    ) -> (DeviceArray, DeviceArray) {
        on!(self.scaled_rms_norm_vjp([x, gain, s, cotangent]))
    }
    fn scaled_rms_norm_vjp_to(
        &self,
        sum: DeviceArray,
        x: &DeviceArray,
        gain: &DeviceArray,
        s: &DeviceArray,
        cotangent: &DeviceArray,
    ) -> (DeviceArray, DeviceArray) {
        match (self, sum) {
            (Self::Cpu(b), DeviceArray::Cpu(sum)) => b.scaled_rms_norm_vjp_to(sum, x.cpu(), gain.cpu(), s.cpu(), cotangent.cpu()).lift(),
            (Self::Cuda(b), DeviceArray::Cuda(sum)) => {
                b.scaled_rms_norm_vjp_to(sum, x.cuda(), gain.cuda(), s.cuda(), cotangent.cuda()).lift()
            }
            _ => panic!("an array of another device"),
        }
    }
    fn rope(&self, x: DeviceArray, cos: &DeviceArray, sin: &DeviceArray, pairing: Pairing) -> DeviceArray {
        match (self, x) {
            (Self::Cpu(backend), DeviceArray::Cpu(x)) => backend.rope(x, cos.cpu(), sin.cpu(), pairing).lift(),
            (Self::Cuda(backend), DeviceArray::Cuda(x)) => backend.rope(x, cos.cuda(), sin.cuda(), pairing).lift(),
            _ => panic!("an array of another device"),
        }
    }
    fn attention(&self, q: &DeviceArray, k: &DeviceArray, v: &DeviceArray, segments: &Segments, scale: f64) -> (DeviceArray, DeviceArray) {
        on!(self.attention([q, k, v], segments, scale))
    }
    fn attention_vjp(
        &self,
        q: &DeviceArray,
        k: &DeviceArray,
        v: &DeviceArray,
        output: &DeviceArray,
        logsumexp: &DeviceArray,
        cotangent: &DeviceArray,
        segments: &Segments,
        scale: f64,
    ) -> (DeviceArray, DeviceArray, DeviceArray) {
        on!(self.attention_vjp([q, k, v, output, logsumexp, cotangent], segments, scale))
    }
    fn swiglu(&self, gate: &DeviceArray, up: &DeviceArray) -> DeviceArray {
        on!(self.swiglu([gate, up]))
    }
    fn swiglu_vjp(&self, gate: &DeviceArray, up: &DeviceArray, cotangent: &DeviceArray) -> (DeviceArray, DeviceArray) {
        on!(self.swiglu_vjp([gate, up, cotangent]))
    }
    fn gated_mlp(&self, x: &DeviceArray, weights: [&DeviceArray; 3], keep: bool) -> (DeviceArray, Option<[DeviceArray; 2]>) {
        match self {
            Self::Cpu(backend) => backend.gated_mlp(x.cpu(), weights.map(DeviceArray::cpu), keep).lift(),
            Self::Cuda(backend) => backend.gated_mlp(x.cuda(), weights.map(DeviceArray::cuda), keep).lift(),
        }
    }
    fn gated_mlp_vjp(
        &self,
        x: &DeviceArray,
        weights: [&DeviceArray; 3],
        saved: &[DeviceArray; 2],
        cotangent: &DeviceArray,
        needed: [bool; 4],
    ) -> [Option<DeviceArray>; 4] {
        match self {
            Self::Cpu(backend) => {
                let saved = saved.each_ref().map(|x| x.cpu().clone());
                backend.gated_mlp_vjp(x.cpu(), weights.map(DeviceArray::cpu), &saved, cotangent.cpu(), needed).lift()
            }
            Self::Cuda(backend) => {
                let saved = saved.each_ref().map(|x| x.cuda().clone());
                backend.gated_mlp_vjp(x.cuda(), weights.map(DeviceArray::cuda), &saved, cotangent.cuda(), needed).lift()
            }
        }
    }
    fn linear_log_prob(&self, hidden: &DeviceArray, weight: &DeviceArray, targets: &Indices, vjp: bool) -> (DeviceArray, DeviceArray) {
        on!(self.linear_log_prob([hidden, weight], targets, vjp))
    }
    fn linear_log_prob_vjp(
        &self,
        hidden: &DeviceArray,
        weight: &DeviceArray,
        targets: &Indices,
        saved: &DeviceArray,
        cotangent: &DeviceArray,
    ) -> (DeviceArray, DeviceArray) {
        match self {
            Self::Cpu(b) => b.linear_log_prob_vjp(hidden.cpu(), weight.cpu(), targets, saved.cpu(), cotangent.cpu()).lift(),
            Self::Cuda(b) => b.linear_log_prob_vjp(hidden.cuda(), weight.cuda(), targets, saved.cuda(), cotangent.cuda()).lift(),
        }
    }
    fn linear_cross_entropy(&self, hidden: &DeviceArray, weight: &DeviceArray, targets: &Indices) -> (DeviceArray, [DeviceArray; 2]) {
        on!(self.linear_cross_entropy([hidden, weight], targets))
    }
    fn sample_rows(&self, logits: &DeviceArray, rule: &SamplingRule, uniforms: &[f64]) -> Vec<u32> {
        match self {
            Self::Cpu(backend) => backend.sample_rows(logits.cpu(), rule, uniforms),
            Self::Cuda(backend) => backend.sample_rows(logits.cuda(), rule, uniforms),
        }
    }
    fn sum_of_squares(&self, x: &DeviceArray) -> f64 {
        match self {
            Self::Cpu(backend) => backend.sum_of_squares(x.cpu()),
            Self::Cuda(backend) => backend.sum_of_squares(x.cuda()),
        }
    }
    fn sums_of_squares(&self, arrays: &[&DeviceArray]) -> Vec<f64> {
        match self {
            Self::Cpu(backend) => backend.sums_of_squares(&arrays.iter().map(|x| x.cpu()).collect::<Vec<_>>()),
            Self::Cuda(backend) => backend.sums_of_squares(&arrays.iter().map(|x| x.cuda()).collect::<Vec<_>>()),
        }
    }
    fn adamw(
        &self,
        theta: &mut DeviceArray,
        m: &mut DeviceArray,
        v: &mut DeviceArray,
        gradient: &DeviceArray,
        step: &AdamwStep,
        control: Option<&DeviceArray>,
    ) {
        self.adamw_all(vec![AdamwPart { theta, m, v, gradient, step: *step }], control);
    }
    fn adamw_all(&self, parts: Vec<AdamwPart<'_, DeviceArray>>, control: Option<&DeviceArray>) {
        match self {
            Self::Cpu(backend) => {
                backend.adamw_all(each_part(parts, DeviceArray::cpu_mut, DeviceArray::cpu), control.map(DeviceArray::cpu))
            }
            Self::Cuda(backend) => {
                backend.adamw_all(each_part(parts, DeviceArray::cuda_mut, DeviceArray::cuda), control.map(DeviceArray::cuda))
            }
        }
    }
    fn sgd(
        &self,
        theta: &mut DeviceArray,
        velocity: &mut DeviceArray,
        gradient: &DeviceArray,
        step: &SgdStep,
        control: Option<&DeviceArray>,
    ) {
        match self {
            Self::Cpu(backend) => backend.sgd(theta.cpu_mut(), velocity.cpu_mut(), gradient.cpu(), step, control.map(DeviceArray::cpu)),
            Self::Cuda(backend) => {
                backend.sgd(theta.cuda_mut(), velocity.cuda_mut(), gradient.cuda(), step, control.map(DeviceArray::cuda))
            }
        }
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
    fn step_control(&self, losses: &[&DeviceArray], gradients: &[&DeviceArray], weight: f64, clip: f64) -> DeviceArray {
        match self {
            Self::Cpu(backend) => {
                let [losses, gradients] = [losses, gradients].map(|arrays| arrays.iter().map(|x| x.cpu()).collect::<Vec<_>>());
                DeviceArray::Cpu(backend.step_control(&losses, &gradients, weight, clip))
            }
            Self::Cuda(backend) => {
                let [losses, gradients] = [losses, gradients].map(|arrays| arrays.iter().map(|x| x.cuda()).collect::<Vec<_>>());
                DeviceArray::Cuda(backend.step_control(&losses, &gradients, weight, clip))
            }
        }
    }
    fn step_decision(&self, control: &DeviceArray) -> StepDecision {
        match self {
            Self::Cpu(backend) => backend.step_decision(control.cpu()),
            Self::Cuda(backend) => backend.step_decision(control.cuda()),
        }
    }
}

/// Parts of a step with the arrays of one device.
fn each_part<'a, A>(
    parts: Vec<AdamwPart<'a, DeviceArray>>,
    of_mut: impl Fn(&'a mut DeviceArray) -> &'a mut A,
    of: impl Fn(&'a DeviceArray) -> &'a A,
) -> Vec<AdamwPart<'a, A>> {
    let one = |AdamwPart { theta, m, v, gradient, step }: AdamwPart<'a, DeviceArray>| {
        let [theta, m, v] = [theta, m, v].map(&of_mut);
        AdamwPart { theta, m, v, gradient: of(gradient), step }
    };
    parts.into_iter().map(one).collect()
}
