//! Saturated inputs: logits of ±1e4 and log-probabilities of −1e4 give finite values and gradients, in f32 and in f64, and f32 agrees with
//! f64 wherever f32 can.

use engine::gradcheck::{Function, Input, Sample, check};
use engine::{Backend, Cpu, Device, Tensor, function};
use std::sync::Arc;

/// The logsumexp of [`LOGITS`]: where it is saved for the gradient, e^{x − logsumexp} errs by that many roundings.
const LOGSUMEXP: f64 = 1e4;
/// Logits with everything that goes wrong in an unstable form: ±1e4, ties of them, near ties, ordinary numbers.
const LOGITS: [f64; 20] = [
    1e4, -1e4, 1e4, 0.0, 3.0, //
    -1e4, -1e4, -1e4, -1e4, -1e4, //
    1e4, 9990.0, 9999.5, -0.25, 88.0, //
    -1e4, 0.5, -104.0, 89.0, -750.0,
];
const LOGITS_SHAPE: [usize; 2] = [4, 5];
const LOG_PROBABILITIES: [f64; 7] = [-1e4, -750.0, -104.0, -1.0, -std::f64::consts::LN_2, -1e-3, -1e-7];

/// (value, gradient of the sum of values), all finite.
fn finite<B: Backend>(name: &str, f: &impl Function, backend: &B, data: &[f64], shape: &[usize]) -> [Vec<f64>; 2] {
    let x = Tensor::parameter(backend, data, shape);
    let y = f.call(std::slice::from_ref(&x));
    let value = y.to_f64();
    let gradient = y.sum_all().backward().of(&x).to_f64();
    for (what, numbers) in [("value", &value), ("gradient", &gradient)] {
        assert!(numbers.iter().all(|x| x.is_finite()), "{name} on {backend:?}: {what} {numbers:?}");
    }
    [value, gradient]
}

/// A few roundings of f32.
const SINGLE: f64 = 16.0 / (1u64 << 24) as f64;

/// Finite in both precisions, with f32 within a few roundings of f64; the gradient is a function of numbers of size `saved` that were
/// rounded.
fn stable(name: &str, f: impl Function, data: &[f64], shape: &[usize], saved: f64) {
    let [single, double] = [finite(name, &f, &Device::default(), data, shape), finite(name, &f, &Cpu::<f64>::new(), data, shape)];
    for (i, (what, tolerance)) in [("value", SINGLE), ("gradient", SINGLE * saved)].into_iter().enumerate() {
        for (a, b) in single[i].iter().zip(&double[i]) {
            assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{name}: {what} {a} in f32, {b} in f64");
        }
    }
}

#[test]
fn functions_of_logits_are_finite_and_keep_their_precision() {
    stable("softmax", function!(|x| x[0].softmax()), &LOGITS, &LOGITS_SHAPE, 1.0);
    stable("log_softmax", function!(|x| x[0].log_softmax()), &LOGITS, &LOGITS_SHAPE, 1.0);
    stable("logsumexp", function!(|x| x[0].logsumexp()), &LOGITS, &LOGITS_SHAPE, LOGSUMEXP);
    stable("log_sigmoid", function!(|x| x[0].log_sigmoid()), &LOGITS, &LOGITS_SHAPE, 1.0);
    stable("softplus", function!(|x| x[0].softplus()), &LOGITS, &LOGITS_SHAPE, 1.0);
    stable("sigmoid", function!(|x| x[0].sigmoid()), &LOGITS, &LOGITS_SHAPE, 1.0);
    stable("silu", function!(|x| x[0].silu()), &LOGITS, &LOGITS_SHAPE, 1.0);
    stable("gelu_erf", function!(|x| x[0].gelu_erf()), &LOGITS, &LOGITS_SHAPE, 1.0);
    stable("gelu_tanh", function!(|x| x[0].gelu_tanh()), &LOGITS, &LOGITS_SHAPE, 1.0);
    stable("tanh", function!(|x| x[0].tanh()), &LOGITS, &LOGITS_SHAPE, 1.0);
    let keep: Vec<bool> = (0..20).map(|i| i % 5 != 0).collect();
    stable("masked_logsumexp", function!(|x; keep: Vec<bool>| x[0].masked_logsumexp(keep)), &LOGITS, &LOGITS_SHAPE, LOGSUMEXP);
    stable("logsumexp_without", function!(|x| x[0].logsumexp_without(&[0; 4].into())), &LOGITS, &LOGITS_SHAPE, LOGSUMEXP);
}

#[test]
fn log_probabilities_of_tokens_are_finite_and_keep_their_precision() {
    for targets in [[0, 1, 2, 3], [1, 0, 1, 0], [4, 4, 4, 4]] {
        let targets: Arc<[u32]> = targets.into();
        let fused = targets.clone();
        stable("cross_entropy", function!(|x; targets: Arc<[u32]>| x[0].cross_entropy(targets)), &LOGITS, &LOGITS_SHAPE, 1.0);
        let through_projection = function!(|x; fused: Arc<[u32]>| {
            let identity: Vec<f64> = (0..25).map(|i| if i % 6 == 0 { 1.0 } else { 0.0 }).collect();
            x[0].linear_log_prob(&Tensor::constant(x[0].backend(), &identity, &[5, 5]), fused)
        });
        stable("linear_log_prob", through_projection, &LOGITS, &LOGITS_SHAPE, LOGSUMEXP);
    }
}

#[test]
fn complements_of_log_probabilities_are_finite_and_keep_their_precision() {
    let shape = [LOG_PROBABILITIES.len()];
    stable("log1mexp", function!(|x| x[0].log1mexp()), &LOG_PROBABILITIES, &shape, 1.0);
    stable("exp", function!(|x| x[0].exp()), &LOG_PROBABILITIES, &shape, 1.0);
    let log_odds = function!(|x| x[0].sub(&x[0].log1mexp()));
    stable("log_odds", log_odds, &LOG_PROBABILITIES, &shape, 1.0);
}

/// Not only finite: the gradients there are the derivatives.
#[test]
fn every_method_agrees_at_the_extremes() {
    let logits = || [Input::new(LOGITS.to_vec(), &LOGITS_SHAPE)];
    let log_probabilities = [Input::new(LOG_PROBABILITIES[..6].to_vec(), &[6])];
    let targets: Arc<[u32]> = [1, 0, 1, 0].into();
    check("softmax", &Sample::new(function!(|x| x[0].softmax()), logits())).assert();
    check("log_softmax", &Sample::new(function!(|x| x[0].log_softmax()), logits()).with_inner_magnitude(1.0)).assert();
    check("logsumexp", &Sample::new(function!(|x| x[0].logsumexp()), logits())).assert();
    check("log_sigmoid", &Sample::new(function!(|x| x[0].log_sigmoid()), logits())).assert();
    check("sigmoid", &Sample::new(function!(|x| x[0].sigmoid()), logits())).assert();
    let cross_entropy = function!(|x; targets: Arc<[u32]>| x[0].cross_entropy(targets));
    check("cross_entropy", &Sample::new(cross_entropy, logits()).with_inner_magnitude(1.0)).assert();
    check("log1mexp", &Sample::new(function!(|x| x[0].log1mexp()), log_probabilities)).assert();
}
