//! Each exercise: its inputs, its function made of the engine's ops, and how an answer is asked for.

use super::yours::Answer;
use super::{solutions, yours};
use engine::{Backend, Cpu, Dual, Generator, Tensor};

/// Rows and columns of the larger exercises.
const SIZES: [usize; 3] = [3, 4, 2];
const ATTENTION: [usize; 2] = [3, 2];
const N: usize = 5;
const TOKEN: usize = 2;
const EPSILON: f64 = 1e-5;

/// A function of tensors in one numeric world.
type In<T> = fn(&[Tensor<Cpu<T>>]) -> Tensor<Cpu<T>>;

/// An exercise.
pub struct Problem {
    pub name: &'static str,
    /// The inputs with their shapes, and the cotangent ȳ.
    pub inputs: Vec<(Vec<f64>, Vec<usize>)>,
    pub y_bar: Vec<f64>,
    /// The function on numbers, and on numbers with a derivative beside them.
    pub functions: (In<f64>, In<Dual<f64>>),
    is_solution: bool,
}

/// The names, in the order of the exercises.
pub const NAMES: [&str; 12] =
    ["exp", "tanh", "mul", "div", "sum", "broadcast_add", "matmul", "logsumexp", "softmax", "rms_norm", "cross_entropy", "attention"];

impl Problem {
    /// Draws the inputs of an exercise. `is_solution` asks the solutions in place of yours.
    pub fn new(name: &'static str, is_solution: bool) -> Self {
        let [m, k, n] = SIZES;
        let pair = ATTENTION.to_vec();
        let (shapes, outputs): (Vec<Vec<usize>>, usize) = match name {
            "mul" | "div" => (vec![vec![N], vec![N]], N),
            "sum" | "logsumexp" | "cross_entropy" => (vec![vec![N]], 1),
            "broadcast_add" => (vec![vec![N], vec![1]], N),
            "matmul" => (vec![vec![m, k], vec![k, n]], m * n),
            "attention" => (vec![pair.clone(), pair.clone(), pair.clone()], pair.iter().product()),
            _ => (vec![vec![N]], N),
        };
        let mut generator = Generator::new(7);
        let mut draw = |count: usize| (0..count).map(|_| generator.normal() + 0.1).collect::<Vec<f64>>();
        let inputs = shapes.into_iter().map(|shape| (draw(shape.iter().product()), shape)).collect();
        Self { name, inputs, y_bar: draw(outputs), functions: functions(name), is_solution }
    }

    /// The value of the function, as numbers.
    pub fn value(&self, inputs: &[Vec<f64>]) -> Vec<f64> {
        let cpu = Cpu::<f64>::new();
        let tensors: Vec<Tensor<_>> =
            inputs.iter().zip(&self.inputs).map(|(data, (_, shape))| Tensor::constant(&cpu, data, shape)).collect();
        (self.functions.0)(&tensors).to_f64()
    }

    /// Asks for the gradients.
    pub fn answer(&self) -> Answer {
        let x: Vec<&[f64]> = self.inputs.iter().map(|(data, _)| data.as_slice()).collect();
        let (y_bar, own) = (self.y_bar.as_slice(), !self.is_solution);
        let y = self.value(&self.inputs.iter().map(|(data, _)| data.clone()).collect::<Vec<_>>());
        macro_rules! ask {
            ($name:ident($($argument:expr),*)) => {
                if own { yours::$name($($argument),*) } else { solutions::$name($($argument),*) }
            };
        }
        match self.name {
            "exp" => ask!(exp(&y, y_bar)),
            "tanh" => ask!(tanh(&y, y_bar)),
            "mul" => ask!(mul(x[0], x[1], y_bar)),
            "div" => ask!(div(x[0], x[1], y_bar)),
            "sum" => ask!(sum(N, y_bar[0])),
            "broadcast_add" => ask!(broadcast_add(N, y_bar)),
            "matmul" => ask!(matmul(x[0], x[1], y_bar, SIZES)),
            "logsumexp" => ask!(logsumexp(x[0], y[0], y_bar[0])),
            "softmax" => ask!(softmax(&y, y_bar)),
            "rms_norm" => ask!(rms_norm(x[0], y[0] / x[0][0], y_bar)),
            "cross_entropy" => ask!(cross_entropy(&probabilities(x[0]), TOKEN, y_bar[0])),
            _ => ask!(attention(x[0], x[1], x[2], &weights(x[0], x[1]), y_bar, ATTENTION)),
        }
    }
}

fn probabilities(x: &[f64]) -> Vec<f64> {
    Tensor::constant(&Cpu::<f64>::new(), x, &[x.len()]).softmax().to_f64()
}

fn weights(q: &[f64], k: &[f64]) -> Vec<f64> {
    let [q, k] = [q, k].map(|x| Tensor::constant(&Cpu::<f64>::new(), x, &ATTENTION));
    (q.matmul(&k.t()) / (ATTENTION[1] as f64).sqrt()).softmax().to_f64()
}

macro_rules! functions {
    ($($name:literal: |$x:ident| $body:expr),* $(,)?) => {
        fn functions(name: &str) -> (In<f64>, In<Dual<f64>>) {
            $(if name == $name {
                fn call<B: Backend>($x: &[Tensor<B>]) -> Tensor<B> {
                    $body
                }
                return (call, call);
            })*
            panic!("there is no exercise {name}")
        }
    };
}
functions! {
    "exp": |x| x[0].exp(),
    "tanh": |x| x[0].tanh(),
    "mul": |x| &x[0] * &x[1],
    "div": |x| &x[0] / &x[1],
    "sum": |x| x[0].sum_all(),
    "broadcast_add": |x| &x[0] + &x[1],
    "matmul": |x| x[0].matmul(&x[1]),
    "logsumexp": |x| x[0].exp().sum_all().ln(),
    "softmax": |x| x[0].softmax(),
    "rms_norm": |x| &x[0] / ((&x[0] * &x[0]).mean_all() + EPSILON).sqrt(),
    "cross_entropy": |x| -x[0].log_softmax().slice(0, TOKEN, TOKEN + 1),
    "attention": |x| (x[0].matmul(&x[1].t()) / (ATTENTION[1] as f64).sqrt()).softmax().matmul(&x[2]),
}
