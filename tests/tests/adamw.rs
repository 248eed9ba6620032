//! AdamW of all parameters at once: the formula (Loshchilov and Hutter 2019, algorithm 2) for each, and nothing else changes.

use engine::backend::{Core, Update};
use engine::{AdamwPart, AdamwStep, Cpu, Device, Tensor};
use slpo_tests::normal_parameter;

const STEP: AdamwStep =
    AdamwStep { learning_rate: 0.01, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.1, step: 3, gradient_scale: 0.5 };

/// θ, m, v and g of a parameter.
type State = [Tensor<Cpu<f64>>; 4];

fn states(backend: &Cpu<f64>) -> Vec<State> {
    let shapes: [&[usize]; 4] = [&[5], &[300, 40], &[1], &[0, 3]];
    let state = |(i, shape): (usize, &&[usize])| {
        let [theta, m, v, g] = [0, 1, 2, 3].map(|part| normal_parameter(backend, (4 * i + part) as u64, shape));
        [theta, m, v.mul(&v), g]
    };
    shapes.iter().enumerate().map(state).collect()
}

fn by_formula(theta: f64, m: f64, v: f64, g: f64, step: &AdamwStep) -> [f64; 3] {
    let g = g * step.gradient_scale;
    let m = step.beta1 * m + (1.0 - step.beta1) * g;
    let v = step.beta2 * v + (1.0 - step.beta2) * g * g;
    let [m_hat, v_hat] = [(m, step.beta1), (v, step.beta2)].map(|(x, beta)| x / (1.0 - beta.powi(step.step as i32)));
    [(1.0 - step.learning_rate * step.weight_decay) * theta - step.learning_rate * m_hat / (v_hat.sqrt() + step.epsilon), m, v]
}

#[test]
fn every_parameter_moves_by_its_own_constants_and_what_shares_its_storage_stays() {
    let backend = Cpu::<f64>::new();
    let states = states(&backend);
    let before: Vec<[Vec<f64>; 4]> = states.iter().map(|state| state.each_ref().map(Tensor::to_vec)).collect();
    let step_of = |i: usize| AdamwStep { weight_decay: 0.1 * i as f64, ..STEP };
    // The tensors still hold the arrays, so that the step must leave their storage alone.
    let mut arrays: Vec<_> = states.iter().map(|state| state.each_ref().map(|x| x.array().clone())).collect();
    let mut parts = Vec::new();
    for (i, [theta, m, v, gradient]) in arrays.iter_mut().enumerate() {
        parts.push(AdamwPart { theta, m, v, gradient, step: step_of(i) });
    }
    backend.adamw(parts, None);
    for (i, (arrays, before)) in arrays.iter().zip(&before).enumerate() {
        let after = [0, 1, 2].map(|k| backend.to_vec(&arrays[k]));
        for n in 0..before[0].len() {
            let expected = by_formula(before[0][n], before[1][n], before[2][n], before[3][n], &step_of(i));
            for (after, expected) in after.iter().zip(expected) {
                // Fewer than 16 roundings, none of a difference that is small beside its terms by more than the numbers drawn are.
                assert!((after[n] - expected).abs() <= 1e-13 * (1.0 + expected.abs()), "parameter {i}, number {n}");
            }
        }
    }
    let held: Vec<[Vec<f64>; 4]> = states.iter().map(|state| state.each_ref().map(Tensor::to_vec)).collect();
    assert_eq!(held, before);
}

#[test]
#[should_panic(expected = "a gradient of shape [2] for a parameter of shape [3]")]
fn a_gradient_of_another_shape_is_refused() {
    let backend = Device::default();
    let [mut theta, mut m, mut v] = [0.0; 3].map(|x| backend.full(x, &[3]));
    let gradient = backend.full(1.0, &[2]);
    backend.adamw(vec![AdamwPart { theta: &mut theta, m: &mut m, v: &mut v, gradient: &gradient, step: STEP }], None);
}
