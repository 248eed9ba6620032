//! The witnesses of an answer: central differences, dual numbers, and the engine's own reverse pass.

use super::problems::Problem;
use super::yours::Answer;
use engine::{Cpu, Dual, Tensor};

/// The step of a difference, and what its error may be for functions and numbers of order 1: the curve costs h² = 1e-10, rounding 1e-16/h.
const STEP: f64 = 1e-5;
const OF_DIFFERENCES: f64 = 1e-7;
/// What rounding may cost: some hundred operations of 1e-16 on numbers up to 10.
const OF_ROUNDING: f64 = 1e-13;

/// What the witnesses say of an answer.
pub enum Verdict {
    Unsolved,
    WrongShape(String),
    /// A line for each witness that disagrees.
    Wrong(Vec<String>),
    Right,
}

/// Compares an answer with every witness.
pub fn mark(problem: &Problem, answer: Answer) -> Verdict {
    let Some(answer) = answer else { return Verdict::Unsolved };
    let wanted: Vec<usize> = problem.inputs.iter().map(|(data, _)| data.len()).collect();
    let given: Vec<usize> = answer.iter().map(Vec::len).collect();
    if given != wanted {
        return Verdict::WrongShape(format!("the inputs have {wanted:?} numbers, the gradients {given:?}"));
    }
    let witnesses = [
        ("central differences", differences(problem), OF_DIFFERENCES),
        ("dual numbers", duals(problem), OF_ROUNDING),
        ("the engine", reverse(problem), OF_ROUNDING),
    ];
    let disagreeing: Vec<String> =
        witnesses.iter().filter_map(|(name, expected, allowed)| disagreement(name, expected, &answer, *allowed)).collect();
    if disagreeing.is_empty() { Verdict::Right } else { Verdict::Wrong(disagreeing) }
}

/// The element that disagrees most, in words.
fn disagreement(witness: &str, expected: &[Vec<f64>], got: &[Vec<f64>], allowed: f64) -> Option<String> {
    let mut worst: Option<(f64, String)> = None;
    for (input, (expected, got)) in expected.iter().zip(got).enumerate() {
        for (place, (expected, got)) in expected.iter().zip(got).enumerate() {
            let error = (expected - got).abs() / (1.0 + expected.abs());
            let is_worse = error.is_nan() || worst.as_ref().is_none_or(|(largest, _)| error > *largest);
            if is_worse && (error > allowed || error.is_nan()) {
                worst = Some((error, format!("{witness}: input {input}, element {place}: expected {expected:.6}, got {got:.6}")));
            }
        }
    }
    worst.map(|(_, words)| words)
}

/// ⟨ȳ, f⟩ at inputs.
fn along(problem: &Problem, inputs: &[Vec<f64>]) -> f64 {
    problem.value(inputs).iter().zip(&problem.y_bar).map(|(y, y_bar)| y * y_bar).sum()
}

fn for_each_element(problem: &Problem, slope: impl Fn(usize, usize) -> f64) -> Vec<Vec<f64>> {
    problem.inputs.iter().enumerate().map(|(input, (data, _))| (0..data.len()).map(|place| slope(input, place)).collect()).collect()
}

fn differences(problem: &Problem) -> Vec<Vec<f64>> {
    for_each_element(problem, |input, place| {
        let moved = |by: f64| {
            let mut inputs: Vec<Vec<f64>> = problem.inputs.iter().map(|(data, _)| data.clone()).collect();
            inputs[input][place] += by;
            along(problem, &inputs)
        };
        (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
    })
}

fn duals(problem: &Problem) -> Vec<Vec<f64>> {
    let cpu = Cpu::<Dual<f64>>::new();
    for_each_element(problem, |input, place| {
        let seeded = |(number, (data, shape)): (usize, &(Vec<f64>, Vec<usize>))| {
            let tangent = |at: usize| if (number, at) == (input, place) { 1.0 } else { 0.0 };
            Tensor::from_vec(&cpu, data.iter().enumerate().map(|(at, &x)| Dual::new(x, tangent(at))).collect(), shape)
        };
        let tensors: Vec<Tensor<_>> = problem.inputs.iter().enumerate().map(seeded).collect();
        let y = (problem.functions.1)(&tensors).to_vec();
        y.iter().zip(&problem.y_bar).map(|(y, y_bar)| y.tangent * y_bar).sum()
    })
}

fn reverse(problem: &Problem) -> Vec<Vec<f64>> {
    let cpu = Cpu::<f64>::new();
    let tensors: Vec<Tensor<_>> = problem.inputs.iter().map(|(data, shape)| Tensor::parameter(&cpu, data, shape)).collect();
    let y = (problem.functions.0)(&tensors);
    let gradients = y.backward_with(&Tensor::constant(&cpu, &problem.y_bar, y.shape()));
    tensors.iter().map(|tensor| gradients.of(tensor).to_f64()).collect()
}
