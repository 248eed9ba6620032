//! A sample made ready: its point, a fixed random cotangent, and its value and gradient in any of the numeric worlds.

use super::Settings;
use super::sample::{Sample, Worlds};
use crate::backend::Backend;
use crate::random::Generator;
use crate::shape::count;
use crate::tensor::Tensor;
use crate::{Cpu, Device, Dual, Reference};

/// A backend that samples can be run on.
pub(super) trait World: Backend + Default {
    fn call(function: &dyn Worlds, inputs: &[Tensor<Self>]) -> Tensor<Self>;
}

macro_rules! worlds {
    ($($backend:ty => $method:ident),*) => {$(
        impl World for $backend {
            fn call(function: &dyn Worlds, inputs: &[Tensor<Self>]) -> Tensor<Self> {
                function.$method(inputs)
            }
        }
    )*};
}
worlds! { Cpu<f64> => in_f64, Device => on_device, Cpu<Dual<f64>> => in_dual, Reference<f64> => in_reference }

/// Where a compared number belongs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// An element of the output, by its position in row-major order.
    Output(usize),
    /// An element of the inputs, by its position in all of them.
    Element(usize),
    /// A number about one input.
    Input(usize),
    /// A number about all of them.
    Everything,
}

/// A function of n numbers (the elements of all inputs, one after another) with K values, and the cotangent v that makes it a scalar
/// ⟨v, f(x)⟩.
pub(super) struct Problem<'a> {
    pub name: &'a str,
    pub seed: Option<u64>,
    pub function: &'a dyn Worlds,
    pub twin: Option<&'a dyn Worlds>,
    pub shapes: Vec<Vec<usize>>,
    /// The point x.
    pub x: Vec<f64>,
    /// f(x) on `Cpu<f64>`.
    pub value: Vec<f64>,
    /// The gradient of ⟨v, f(x)⟩ by the reverse pass on `Cpu<f64>`.
    pub gradient: Vec<f64>,
    /// v: standard normal, but 1 for a function with one value. Representable in f32.
    pub cotangent: Vec<f64>,
    /// r + 4√N, see [`Settings::roundings`].
    pub roundings: f64,
    /// True if it is small enough to be checked element by element.
    pub by_element: bool,
    /// What cancels inside the function, see [`Sample::with_inner_magnitude`].
    pub inner_magnitude: f64,
    /// True if every comparison is to be kept.
    pub comparisons: bool,
    output_shape: Vec<usize>,
}

impl<'a> Problem<'a> {
    pub fn new(name: &'a str, seed: Option<u64>, sample: &'a Sample, settings: &Settings) -> Self {
        let shapes: Vec<Vec<usize>> = sample.inputs.iter().map(|input| input.shape.clone()).collect();
        let x: Vec<f64> = sample.inputs.iter().flat_map(|input| input.data.iter().copied()).collect();
        let output = Cpu::<f64>::call(&*sample.function, &tensors(&Cpu::new(), &x, &shapes, false));
        let mut problem = Self {
            name,
            seed,
            function: &*sample.function,
            twin: sample.twin.as_deref(),
            shapes,
            cotangent: fixed_cotangent(output.len()),
            roundings: settings.roundings + 4.0 * ((x.len() + output.len()) as f64).sqrt(),
            by_element: x.len() <= settings.element_limit,
            x,
            value: output.to_f64(),
            gradient: Vec::new(),
            inner_magnitude: sample.inner_magnitude,
            comparisons: settings.comparisons,
            output_shape: output.shape().to_vec(),
        };
        problem.gradient = problem.differentiate::<Cpu<f64>>(problem.function, &problem.x).1;
        problem
    }

    /// f at another point, nothing recorded.
    pub fn evaluate(&self, x: &[f64]) -> Vec<f64> {
        Cpu::<f64>::call(self.function, &tensors(&Cpu::new(), x, &self.shapes, false)).to_f64()
    }

    /// The value and the gradient of ⟨v, f(x)⟩ in a world.
    pub fn differentiate<B: World>(&self, function: &dyn Worlds, x: &[B::Scalar]) -> (Vec<B::Scalar>, Vec<B::Scalar>) {
        self.differentiate_on(&B::default(), function, x)
    }

    /// As [`Problem::differentiate`], on one of a world's backends.
    pub fn differentiate_on<B: World>(&self, backend: &B, function: &dyn Worlds, x: &[B::Scalar]) -> (Vec<B::Scalar>, Vec<B::Scalar>) {
        let inputs = tensors(backend, x, &self.shapes, true);
        let output = B::call(function, &inputs);
        let value = output.to_vec();
        let cotangent = Tensor::constant(backend, &self.cotangent, output.shape());
        let gradients = output.backward_with(&cotangent);
        (value, inputs.iter().flat_map(|x| gradients.of(x).to_vec()).collect())
    }

    /// (J·u, the gradient, H·u) with H the Hessian of ⟨v, f(x)⟩: the reverse pass run on numbers with tangent u.
    pub fn differentiate_along(&self, u: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let x: Vec<Dual<f64>> = self.x.iter().zip(u).map(|(&x, &u)| Dual::new(x, u)).collect();
        let (value, gradient) = self.differentiate::<Cpu<Dual<f64>>>(self.function, &x);
        let tangents = |x: &[Dual<f64>]| x.iter().map(|x| x.tangent).collect();
        (tangents(&value), gradient.iter().map(|g| g.real).collect(), tangents(&gradient))
    }

    /// x + t·u.
    pub fn moved(&self, u: &[f64], t: f64) -> Vec<f64> {
        self.x.iter().zip(u).map(|(x, u)| x + t * u).collect()
    }

    /// The elements of each input, as ranges of x.
    pub fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        self.shapes.iter().scan(0, |start, shape| {
            let range = *start..*start + count(shape);
            *start = range.end;
            Some(range)
        })
    }

    /// The input and the indices of a place.
    pub fn locate(&self, place: Place) -> (Option<usize>, Vec<usize>) {
        match place {
            Place::Output(k) => (None, unravel(k, &self.output_shape)),
            Place::Element(j) => {
                let (input, range) = self.ranges().enumerate().find(|(_, range)| range.contains(&j)).expect("an element of x");
                (Some(input), unravel(j - range.start, &self.shapes[input]))
            }
            Place::Input(input) => (Some(input), Vec::new()),
            Place::Everything => (None, Vec::new()),
        }
    }
}

fn tensors<B: World>(backend: &B, x: &[B::Scalar], shapes: &[Vec<usize>], parameters: bool) -> Vec<Tensor<B>> {
    let mut rest = x;
    let mut tensors = Vec::with_capacity(shapes.len());
    for shape in shapes {
        let (own, others) = rest.split_at(count(shape));
        let tensor = Tensor::from_vec(backend, own.to_vec(), shape);
        tensors.push(if parameters { tensor.to_parameter() } else { tensor });
        rest = others;
    }
    tensors
}

/// The cotangent v of a function with this many values: standard normal, but 1 for one value. Representable in f32.
pub fn fixed_cotangent(values: usize) -> Vec<f64> {
    let mut generator = Generator::new(0x636F_7461_6E67);
    (0..values).map(|_| if values == 1 { 1.0 } else { generator.normal() as f32 as f64 }).collect()
}

/// The indices of a position in row-major order.
pub(super) fn unravel(mut position: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (i, &extent) in index.iter_mut().zip(shape).rev() {
        *i = position % extent;
        position /= extent;
    }
    index
}

/// |a|·|b| summed.
pub(super) fn absolute_product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a * b).abs()).sum()
}

/// ⟨a, b⟩.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
