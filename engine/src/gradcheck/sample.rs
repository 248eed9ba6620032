//! What a check runs on: a function of tensors written once for every backend, and inputs drawn at random.

use crate::backend::device::Device;
use crate::backend::{Backend, Indices};
use crate::dual::Dual;
use crate::random::Generator;
use crate::rewrite::Rewrite;
use crate::shape::count;
use crate::tensor::Tensor;
use crate::{Cpu, Reference};

/// One input: its elements in row-major order and its shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The elements.
    pub data: Vec<f64>,
    /// The extents of the axes.
    pub shape: Vec<usize>,
}

impl Input {
    /// An input from its elements in row-major order.
    ///
    /// # Panics
    /// If the number of elements is not the product of the shape.
    #[track_caller]
    pub fn new(data: Vec<f64>, shape: &[usize]) -> Self {
        assert_eq!(data.len(), count(shape), "input: {} elements do not fill the shape {shape:?}", data.len());
        Self { data, shape: shape.to_vec() }
    }
}

/// A function of tensors, written once for every backend. The macro [`function!`](crate::function) makes one from an expression.
pub trait Function: Send + Sync + 'static {
    /// The function's value.
    fn call<B: Backend>(&self, inputs: &[Tensor<B>]) -> Tensor<B>;
}

/// Makes a [`Function`](crate::gradcheck::Function) from an expression in the slice of inputs, with captured values after a semicolon
/// (they are references inside the expression).
///
/// ```
/// use engine::{function, gradcheck::{Input, Sample, check}};
/// let axis = 0;
/// let sample = Sample::new(function!(|x; axis: usize| x[0].mul(&x[1]).sum(*axis)), [
///     Input::new(vec![1.0, 2.0], &[2]),
///     Input::new(vec![3.0, -1.0], &[2]),
/// ]);
/// check("product", &sample).assert();
/// ```
#[macro_export]
macro_rules! function {
    (|$x:ident $(; $($name:ident : $type:ty),+)?| $body:expr) => {{
        struct Captured { $($($name: $type,)+)? }
        impl $crate::gradcheck::Function for Captured {
            fn call<B: $crate::Backend>(&self, $x: &[$crate::Tensor<B>]) -> $crate::Tensor<B> {
                let Self { $($($name,)+)? } = self;
                $body
            }
        }
        Captured { $($($name,)+)? }
    }};
}

/// A [`Function`] in every numeric world, behind one pointer.
pub(crate) trait Worlds: Send + Sync {
    fn in_f64(&self, inputs: &[Tensor<Cpu<f64>>]) -> Tensor<Cpu<f64>>;
    fn in_dual(&self, inputs: &[Tensor<Cpu<Dual<f64>>>]) -> Tensor<Cpu<Dual<f64>>>;
    fn in_reference(&self, inputs: &[Tensor<Reference<f64>>]) -> Tensor<Reference<f64>>;
    fn on_device(&self, inputs: &[Tensor<Device>]) -> Tensor<Device>;
}

impl<F: Function> Worlds for F {
    fn in_f64(&self, inputs: &[Tensor<Cpu<f64>>]) -> Tensor<Cpu<f64>> {
        self.call(inputs)
    }
    fn in_dual(&self, inputs: &[Tensor<Cpu<Dual<f64>>>]) -> Tensor<Cpu<Dual<f64>>> {
        self.call(inputs)
    }
    fn in_reference(&self, inputs: &[Tensor<Reference<f64>>]) -> Tensor<Reference<f64>> {
        self.call(inputs)
    }
    fn on_device(&self, inputs: &[Tensor<Device>]) -> Tensor<Device> {
        self.call(inputs)
    }
}

/// A function with inputs to check it at, and its unfused twin where it has one.
pub struct Sample {
    pub(crate) function: Box<dyn Worlds>,
    pub(crate) twin: Option<Box<dyn Worlds>>,
    pub(crate) inner_magnitude: f64,
    /// The inputs; gradients are checked with respect to every element of each.
    pub inputs: Vec<Input>,
}

impl Sample {
    /// A function at these inputs.
    pub fn new(function: impl Function, inputs: impl Into<Vec<Input>>) -> Self {
        Self { function: Box::new(function), twin: None, inner_magnitude: 0.0, inputs: inputs.into() }
    }

    /// The same function written another way (fused against composed): values and gradients must agree.
    pub fn with_twin(mut self, twin: impl Function) -> Self {
        self.twin = Some(Box::new(twin));
        self
    }

    /// Says that terms of this size cancel inside the function, so that its values and gradients err by that much times the unit
    /// round-off even where they are smaller: 1 for log-probabilities, which near 0 are differences of numbers of order 1, and for
    /// attention, whose gradient vanishes by cancellation where only one key is seen.
    pub fn with_inner_magnitude(mut self, magnitude: f64) -> Self {
        self.inner_magnitude = magnitude;
        self
    }

    /// The same sample with every operation that the function records rewritten, its vector-Jacobian product say; its values and its
    /// twin stay as they are. A [`Rewrite`] that plants a mistake shows whether the checks see it.
    pub fn rewritten(mut self, rewrite: impl Rewrite) -> Self {
        self.function = Box::new(Rewritten { function: self.function, rewrite });
        self
    }
}

/// A function whose operations are replaced once they are recorded.
struct Rewritten<R> {
    function: Box<dyn Worlds>,
    rewrite: R,
}

impl<R: Rewrite> Worlds for Rewritten<R> {
    fn in_f64(&self, inputs: &[Tensor<Cpu<f64>>]) -> Tensor<Cpu<f64>> {
        self.function.in_f64(inputs).rewritten(&self.rewrite)
    }
    fn in_dual(&self, inputs: &[Tensor<Cpu<Dual<f64>>>]) -> Tensor<Cpu<Dual<f64>>> {
        self.function.in_dual(inputs).rewritten(&self.rewrite)
    }
    fn in_reference(&self, inputs: &[Tensor<Reference<f64>>]) -> Tensor<Reference<f64>> {
        self.function.in_reference(inputs).rewritten(&self.rewrite)
    }
    fn on_device(&self, inputs: &[Tensor<Device>]) -> Tensor<Device> {
        self.function.on_device(inputs).rewritten(&self.rewrite)
    }
}

/// A named source of samples: an op of the registry, a loss, a model.
pub struct Entry {
    /// The name that reports and the command line use.
    pub name: &'static str,
    draw: Box<dyn Fn(&mut Draw) -> Sample + Send + Sync>,
}

impl Entry {
    /// A name and a function that draws a sample.
    pub fn new(name: &'static str, draw: impl Fn(&mut Draw) -> Sample + Send + Sync + 'static) -> Self {
        Self { name, draw: Box::new(draw) }
    }

    /// The same samples with every recorded operation rewritten: to see whether the checks notice.
    pub fn rewritten(self, rewrite: impl Rewrite + Clone) -> Self {
        Self::new(self.name, move |draw| (self.draw)(draw).rewritten(rewrite.clone()))
    }

    /// The sample of a seed, with extents of at most `size`.
    pub fn sample(&self, seed: u64, size: usize) -> Sample {
        (self.draw)(&mut Draw::new(seed, size))
    }
}

/// Draws shapes and values: every draw is a function of the seed and the size.
pub struct Draw {
    generator: Generator,
    size: usize,
}

impl Draw {
    /// A source with extents in 1..=`size`.
    pub fn new(seed: u64, size: usize) -> Self {
        Self { generator: Generator::new(seed), size: size.max(1) }
    }

    /// Uniform in 0..n.
    pub fn below(&mut self, n: usize) -> usize {
        self.generator.below(n)
    }
    /// True half of the time.
    pub fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
    /// An extent in 1..=size; 1 is drawn more often than the others.
    pub fn extent(&mut self) -> usize {
        if self.below(6) == 0 { 1 } else { 1 + self.below(self.size) }
    }
    /// One to three axes.
    pub fn shape(&mut self) -> Vec<usize> {
        (0..1 + self.below(3)).map(|_| self.extent()).collect()
    }
    /// Two shapes that broadcast, with axes of extent 1 and missing leading axes on either side.
    pub fn broadcast_shapes(&mut self) -> (Vec<usize>, Vec<usize>) {
        let full = self.shape();
        let mut side = || {
            let skipped = if self.generator.below(3) == 0 { self.generator.below(full.len()) } else { 0 };
            full[skipped..].iter().map(|&n| if self.generator.below(4) == 0 { 1 } else { n }).collect()
        };
        (side(), side())
    }
    /// A random order of 0..n.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        self.generator.permutation(n)
    }
    /// `n` indices below `bound`, with repetitions.
    pub fn indices(&mut self, n: usize, bound: usize) -> Indices {
        (0..n).map(|_| self.below(bound) as u32).collect()
    }

    fn fill(&mut self, shape: &[usize], mut element: impl FnMut(&mut Generator) -> f64) -> Input {
        let data = (0..count(shape)).map(|_| element(&mut self.generator)).collect();
        Input::new(data, shape)
    }
    /// Standard normal.
    pub fn normal(&mut self, shape: &[usize]) -> Input {
        self.fill(shape, Generator::normal)
    }
    /// Uniform in [low, high).
    pub fn uniform(&mut self, shape: &[usize], low: f64, high: f64) -> Input {
        self.fill(shape, |g| low + (high - low) * g.uniform())
    }
    /// Positive, from 1e-2 to 1e3 on a logarithmic scale.
    pub fn positive(&mut self, shape: &[usize]) -> Input {
        self.fill(shape, |g| 10f64.powf(-2.0 + 5.0 * g.uniform()))
    }
    /// Logits: normal with scale 3; in one draw of four some are extreme, ±1e4 or ±50.
    pub fn logits(&mut self, shape: &[usize]) -> Input {
        let extreme = self.below(4) == 0;
        self.fill(shape, |g| match if extreme { g.below(6) } else { 5 } {
            0 => 1e4 * (1.0 + g.uniform()) * if g.below(2) == 0 { 1.0 } else { -1.0 },
            1 => 50.0 * g.normal(),
            _ => 3.0 * g.normal(),
        })
    }
    /// Log-probabilities below zero: from −1e-3 to −1e4, spread over the magnitudes.
    pub fn log_probabilities(&mut self, shape: &[usize]) -> Input {
        self.fill(shape, |g| -(10f64.powf(-3.0 + 7.0 * g.uniform())))
    }
    /// Normal, but at least 0.2 away from zero: for poles and kinks.
    pub fn away_from_zero(&mut self, shape: &[usize]) -> Input {
        self.fill(shape, |g| {
            let x = g.normal();
            x + 0.2f64.copysign(x)
        })
    }
    /// Values of which no two are closer than 0.1: for functions with kinks where two are equal.
    pub fn distinct(&mut self, shape: &[usize]) -> Input {
        let order = self.permutation(count(shape));
        let data = order.into_iter().map(|i| 0.3 * i as f64 + 0.2 * self.generator.uniform()).collect();
        Input::new(data, shape)
    }
}
