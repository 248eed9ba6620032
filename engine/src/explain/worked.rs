//! An example worked through: its value, its gradient by every method element by element, its graph, and the gradient suite's verdict.
//!
//! The function has several values, so a fixed cotangent v makes it a number: all gradients are of L = ⟨v, y⟩.

use super::example::Example;
use crate::backend::{Backend, Core};
use crate::dual::Dual;
use crate::gradcheck::{Input, Report, Sample, Worlds, check, ridders};
use crate::graph::GraphNode;
use crate::scalar::Scalar;
use crate::shape::count;
use crate::tensor::Tensor;
use crate::{Cpu, Device, Reference};

/// An example with everything that was computed for it.
pub struct Worked {
    /// The call as it stands in the source.
    pub call: String,
    /// What is fixed besides the inputs, in words.
    pub given: String,
    /// The inputs by name.
    pub inputs: Vec<(&'static str, Input)>,
    /// y.
    pub output: Input,
    /// v, in the shape of y; 1 where y is one number.
    pub cotangent: Vec<f64>,
    /// The gradient of ⟨v, y⟩ in every element of the inputs.
    pub elements: Vec<Element>,
    /// (⟨v, J·u⟩, ⟨Jᵀ·v, u⟩) for a direction u in all inputs at once: forward mode against the reverse pass.
    pub adjoint: (f64, f64),
    /// What was recorded; for a fused op with a composition as twin, that one's recording too.
    pub graphs: Vec<Graph>,
    /// The gradient suite on this example.
    pub report: Report,
}

/// One element of an input, and the derivative of ⟨v, y⟩ in it by every method.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// Which input.
    pub input: usize,
    /// The element's index on each axis.
    pub index: Vec<usize>,
    /// Its value.
    pub x: f64,
    /// By the reverse pass: the vjp that the op derives by hand.
    pub reverse: f64,
    /// By dual numbers.
    pub forward: f64,
    /// By central differences with Ridders' extrapolation.
    pub difference: f64,
    /// The error that the differences estimate of themselves.
    pub difference_error: f64,
    /// By the reverse pass on the readable kernels.
    pub reference: f64,
    /// By the reverse pass in f32.
    pub single: f64,
    /// By the reverse pass through the composition, where the sample has one.
    pub composed: Option<f64>,
}

/// A recorded computation.
#[derive(Clone, Debug)]
pub struct Graph {
    /// `as recorded`, or `as a composition of ops`.
    pub title: &'static str,
    /// Its values, parents before children.
    pub values: Vec<GraphValue>,
}

/// A recorded value with its name and gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphValue {
    /// Its place among the graph's values.
    pub id: usize,
    /// The op that made it, or the input's name.
    pub label: String,
    /// True for an input.
    pub is_input: bool,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The places of the values it was made from.
    pub parents: Vec<usize>,
    /// Its elements, where there are at most 64.
    pub value: Option<Vec<f64>>,
    /// The gradient of ⟨v, y⟩ in it; `None` where none flows.
    pub gradient: Option<Vec<f64>>,
}

/// Cotangents and directions of unlike size and sign, all exact in f32.
const PATTERN: [f64; 6] = [1.0, -0.5, 2.0, 0.25, -1.0, 0.75];

fn pattern(n: usize, from: usize) -> Vec<f64> {
    (0..n).map(|i| PATTERN[(i + from) % PATTERN.len()]).collect()
}

impl Worked {
    pub(super) fn new(name: &str, example: &Example) -> Self {
        let sample = &example.sample;
        let y = sample.function.in_f64(&tensors(&sample.inputs, |_, x| x, false));
        let run = WorkedSample { sample, v: if y.len() == 1 { vec![1.0] } else { pattern(y.len(), 0) } };
        let mut graphs = vec![run.graph("as recorded", &*sample.function, &example.names)];
        graphs.extend(sample.twin.as_ref().map(|twin| run.graph("as a composition of ops", &**twin, &example.names)));
        Self {
            call: example.call.clone(),
            given: example.given.clone(),
            inputs: example.names.iter().copied().zip(sample.inputs.iter().cloned()).collect(),
            output: Input { data: y.to_f64(), shape: y.shape().to_vec() },
            elements: run.elements(),
            adjoint: run.adjoint(),
            graphs,
            report: check(name, sample),
            cotangent: run.v,
        }
    }
}

/// The inputs as tensors; element j of all of them is `lift(j, x)`.
fn tensors<B: Backend + Default>(inputs: &[Input], lift: impl Fn(usize, f64) -> B::Scalar, parameters: bool) -> Vec<Tensor<B>> {
    let mut next = 0..;
    let mut tensor = |input: &Input| {
        let data = input.data.iter().zip(&mut next).map(|(&x, j)| lift(j, x)).collect();
        let tensor = Tensor::from_vec(&B::default(), data, &input.shape);
        if parameters { tensor.to_parameter() } else { tensor }
    };
    inputs.iter().map(&mut tensor).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A sample with its cotangent.
struct WorkedSample<'a> {
    sample: &'a Sample,
    v: Vec<f64>,
}

impl WorkedSample<'_> {
    /// The gradient of ⟨v, y⟩ by the reverse pass in a world.
    fn reverse<B: Backend + Default>(&self, call: impl Fn(&[Tensor<B>]) -> Tensor<B>) -> Vec<f64> {
        let inputs = tensors(&self.sample.inputs, |_, x| B::Scalar::from_f64(x), true);
        let y = call(&inputs);
        let v = Tensor::constant(&B::default(), &self.v, y.shape());
        let gradients = y.backward_with(&v);
        inputs.iter().flat_map(|x| gradients.of(x).to_f64()).collect()
    }

    /// ⟨v, J·u⟩ by dual numbers.
    fn forward(&self, u: impl Fn(usize) -> f64) -> f64 {
        let y = self.sample.function.in_dual(&tensors(&self.sample.inputs, |j, x| Dual::new(x, u(j)), false));
        let tangents: Vec<f64> = y.to_vec().into_iter().map(|y| y.tangent).collect();
        dot(&self.v, &tangents)
    }

    /// The derivative in element j by differences, with the error they estimate.
    fn difference(&self, j: usize, x: f64) -> (f64, f64) {
        let largest_step = (0.1 * x.abs()).clamp(1e-4, 0.04);
        let moved = |t: f64| {
            let inputs = tensors(&self.sample.inputs, |i, x| if i == j { x + t } else { x }, false);
            self.sample.function.in_f64(&inputs).to_f64()
        };
        let estimates = ridders(moved, largest_step);
        let weighted = |of: fn(f64, f64) -> f64, part: fn(&crate::gradcheck::Estimate) -> f64| -> f64 {
            self.v.iter().zip(&estimates).map(|(&v, e)| of(v, part(e))).sum()
        };
        (weighted(|v, d| v * d, |e| e.derivative), weighted(|v, e| (v * e).abs(), |e| e.error))
    }

    fn elements(&self) -> Vec<Element> {
        let function = &self.sample.function;
        let reverse = self.reverse::<Cpu<f64>>(|x| function.in_f64(x));
        let reference = self.reverse::<Reference<f64>>(|x| function.in_reference(x));
        let single = self.reverse::<Device>(|x| function.on_device(x));
        let composed = self.sample.twin.as_ref().map(|twin| self.reverse::<Cpu<f64>>(|x| twin.in_f64(x)));
        let places = self.sample.inputs.iter().enumerate();
        let places = places.flat_map(|(i, input)| (0..input.data.len()).map(move |k| (i, unravel(k, &input.shape), input.data[k])));
        let element = |(j, (input, index, x)): (usize, (usize, Vec<usize>, f64))| {
            let (difference, difference_error) = self.difference(j, x);
            Element {
                input,
                index,
                x,
                reverse: reverse[j],
                forward: self.forward(|i| if i == j { 1.0 } else { 0.0 }),
                difference,
                difference_error,
                reference: reference[j],
                single: single[j],
                composed: composed.as_ref().map(|g| g[j]),
            }
        };
        places.enumerate().map(element).collect()
    }

    fn adjoint(&self) -> (f64, f64) {
        let u = pattern(self.sample.inputs.iter().map(|input| input.data.len()).sum(), 2);
        let gradient = self.reverse::<Cpu<f64>>(|x| self.sample.function.in_f64(x));
        (self.forward(|j| u[j]), dot(&gradient, &u))
    }

    fn graph(&self, title: &'static str, function: &dyn Worlds, names: &[&str]) -> Graph {
        let inputs = tensors::<Cpu<f64>>(&self.sample.inputs, |_, x| x, true);
        let y = function.in_f64(&inputs);
        let nodes = y.graph();
        let v = Tensor::constant(y.backend(), &self.v, y.shape());
        let loss = if y.len() == 1 { y.clone().reshape(&[]) } else { y.mul(&v).sum_all() };
        let gradients = loss.backward_keeping_all();
        let place = |id: u64| nodes.iter().position(|node| node.id == id);
        let value = |(id, node): (usize, &GraphNode)| {
            let input = inputs.iter().position(|input| input.node.as_ref().is_some_and(|own| own.id == node.id));
            GraphValue {
                id,
                label: input.map_or_else(|| node.op.to_owned(), |i| names[i].to_owned()),
                is_input: input.is_some(),
                shape: node.shape.clone(),
                parents: node.parents.iter().filter_map(|&parent| place(parent)).collect(),
                value: input.map(|i| self.sample.inputs[i].data.clone()).or_else(|| node.value.clone()),
                gradient: gradients.by_id(node.id).map(|gradient| y.backend().to_vec(gradient)),
            }
        };
        Graph { title, values: nodes.iter().enumerate().map(value).collect() }
    }
}

/// The indices of a position in row-major order.
fn unravel(position: usize, shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| position / count(&shape[axis + 1..]) % shape[axis]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    fn worked() -> Worked {
        Worked::new("softmax", &example!(|x: [1.0, 2.0, 0.5] => [3]| x.softmax(), twin x.log_softmax().exp()))
    }

    #[test]
    fn every_method_finds_the_gradient_of_the_weighted_sum() {
        let Worked { output, cotangent, elements, adjoint, report, .. } = worked();
        assert_eq!(cotangent, [1.0, -0.5, 2.0]);
        let mean = dot(&cotangent, &output.data);
        for (k, element) in elements.iter().enumerate() {
            let exact = output.data[k] * (cotangent[k] - mean);
            let close = |got: f64, allowed: f64| assert!((got - exact).abs() <= allowed, "{got} for {exact}");
            [element.reverse, element.forward, element.reference, element.composed.unwrap()].into_iter().for_each(|got| close(got, 1e-15));
            close(element.difference, 4.0 * element.difference_error + 1e-13);
            close(element.single, 1e-6);
            assert_eq!((element.input, &element.index[..]), (0, &[k][..]));
        }
        assert!((adjoint.0 - adjoint.1).abs() < 1e-15);
        assert!(report.passed());
    }

    #[test]
    fn the_graph_names_its_inputs_and_holds_values_and_gradients() {
        let graphs = worked().graphs;
        let labels = |graph: &Graph| graph.values.iter().map(|value| value.label.clone()).collect::<Vec<_>>();
        assert_eq!(graphs.iter().map(labels).collect::<Vec<_>>(), [vec!["x", "softmax"], vec!["x", "log_softmax", "exp"]]);
        let [x, y] = &graphs[0].values[..] else { panic!("two values") };
        assert_eq!((x.is_input, &y.parents[..], y.gradient.as_deref()), (true, &[0][..], Some(&[1.0, -0.5, 2.0][..])));
        assert_eq!(x.value.as_deref(), Some(&[1.0, 2.0, 0.5][..]));
    }
}
