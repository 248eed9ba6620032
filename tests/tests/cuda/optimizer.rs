//! The optimisers' rules, and what decides about a step.

use crate::devices;
use engine::backend::{Core, Update};
use engine::{AdamwPart, AdamwStep, Backend, Cpu, SgdStep, StepDecision, Tensor};
use slpo_tests::normal_parameter;

fn steps<B: Backend>(backend: &B) -> [Vec<f64>; 4] {
    let array = |seed| normal_parameter(backend, seed, &[7, 5]).into_array();
    let (mut theta, mut m, mut v) = (array(1), backend.full(0.0, &[7, 5]), backend.full(0.0, &[7, 5]));
    let kept = theta.clone();
    for step in 1..=3 {
        let rates = AdamwStep { learning_rate: 1e-2, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, step, gradient_scale: 0.5 };
        let part = AdamwPart { theta: &mut theta, m: &mut m, v: &mut v, gradient: &array(step + 10), step: rates };
        backend.adamw(vec![part], None);
    }
    [theta, m, v, kept].map(|x| Tensor::from_array(backend, x).to_f64())
}

fn near<const N: usize>(got: &[Vec<f64>; N], expected: &[Vec<f64>; N]) {
    for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
        assert!((got - expected).abs() <= 1e-6 * (1.0 + expected.abs()), "{got} for {expected}");
    }
}

#[test]
fn adamw_steps_and_leaves_shared_storage_alone() {
    let expected = steps(&Cpu::<f64>::new());
    devices().iter().for_each(|device| near(&steps(device), &expected));
}

/// θ, u and what θ was after three steps of gradient descent, the second of them with a control, the third with one that stops it.
fn descent<B: Backend>(backend: &B) -> [Vec<f64>; 3] {
    let array = |seed| normal_parameter(backend, seed, &[7, 5]).into_array();
    let (mut theta, mut u) = (array(1), backend.full(0.0, &[7, 5]));
    let kept = theta.clone();
    let rates = SgdStep { learning_rate: 1e-2, momentum: 0.5, gradient_scale: 0.25 };
    let loss = |value| Tensor::constant(backend, &[value], &[]).into_array();
    let control = |value| backend.step_control(&[&loss(value)], &[&array(12)], 8.0, 1e-2);
    let mut step = |seed, control: Option<&B::Array>| backend.sgd(&mut theta, &mut u, &array(seed), &rates, control);
    step(11, None);
    step(12, Some(&control(1.0)));
    step(13, Some(&control(f64::NAN)));
    [theta, u, kept].map(|x| Tensor::from_array(backend, x).to_f64())
}

#[test]
fn descent_steps_as_on_the_processor_and_leaves_shared_storage_alone() {
    let expected = descent(&Cpu::<f64>::new());
    devices().iter().for_each(|device| near(&descent(device), &expected));
}

#[test]
fn squares_are_summed_in_double_precision() {
    for device in devices() {
        let shapes: [&[usize]; 3] = [&[70_000], &[3], &[0]];
        let arrays: Vec<_> = shapes.iter().map(|shape| normal_parameter(device, 5, shape).into_array()).collect();
        let sums = device.sums_of_squares(&arrays.iter().collect::<Vec<_>>());
        for (array, sum) in arrays.iter().zip(sums) {
            let expected: f64 = device.to_vec(array).iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            assert!((sum - expected).abs() <= 1e-12 * expected, "{sum} for {expected}");
        }
    }
}

/// The decision is what the host forms from the same numbers. Every sum is of at most 70 000 terms in f64, in another order.
#[test]
fn a_step_is_decided_on_the_device_as_on_the_host() {
    for device in devices() {
        let shapes: [&[usize]; 4] = [&[70_000], &[3], &[0], &[40, 7]];
        let arrays: Vec<_> = shapes.iter().map(|shape| normal_parameter(device, 5, shape).into_array()).collect();
        let arrays: Vec<_> = arrays.iter().collect();
        let losses = [1.5, -0.25, 1e-3].map(|x| Tensor::constant(device, &[x], &[]).into_array());
        for (losses, weight, clip) in [(&losses[..1], 1.0, 1.0), (&losses[..], 640.0, 1e-3), (&losses[..2], 3.0, f64::INFINITY)] {
            let control = device.step_control(&losses.iter().collect::<Vec<_>>(), &arrays, weight, clip);
            let got = device.step_decision(&control);
            let loss = losses.iter().map(|loss| f64::from(device.to_vec(loss)[0])).sum();
            let expected = StepDecision::new(loss, device.sums_of_squares(&arrays), weight, clip);
            for (got, expected) in got.numbers().iter().zip(expected.numbers()) {
                assert!((got - expected).abs() <= 1e-12 * expected.abs(), "{got} for {expected}");
            }
        }
        let infinite = Tensor::constant(device, &[0.0, f64::INFINITY], &[2]).into_array();
        let control = device.step_control(&[&losses[0]], &[arrays[1], &infinite], 1.0, 1.0);
        let decision = device.step_decision(&control);
        assert!(!decision.finite && decision.loss == 1.5 && decision.squares[0].is_finite() && decision.squares[1].is_infinite());
        let before = [arrays[1], arrays[1], arrays[1]].map(|x| device.to_vec(x));
        let [mut theta, mut m, mut v] = [0; 3].map(|_| arrays[1].clone());
        let rates =
            AdamwStep { learning_rate: 1.0, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, step: 1, gradient_scale: 1.0 };
        let part = AdamwPart { theta: &mut theta, m: &mut m, v: &mut v, gradient: arrays[1], step: rates };
        device.adamw(vec![part], Some(&control));
        assert_eq!([&theta, &m, &v].map(|x| device.to_vec(x)), before, "a step that is not finite changes nothing");
    }
}
