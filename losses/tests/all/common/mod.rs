//! A small checker for functions of tensors: fused against composed, forward mode against the hand-derived gradient, central differences,
//! the Hessian's symmetry, and f32 against f64. Tolerances follow the condition: a result may err by its inputs' round-off times its slope.

#![allow(dead_code)]

use engine::gradcheck::{Function, Input};
use engine::{Backend, Cpu, Device, Dual, Scalar, Tensor};

/// A function's value and the gradient of ⟨v, value⟩, flattened over the inputs.
pub struct Evaluated<T> {
    pub value: Vec<T>,
    pub gradient: Vec<T>,
}

/// The cotangent v: numbers of both signs that differ from each other.
pub fn cotangent(n: usize) -> Vec<f64> {
    (0..n).map(|i| if i % 3 == 2 { -0.75 - 0.125 * i as f64 } else { 1.0 + 0.25 * i as f64 }).collect()
}

pub fn evaluate<B: Backend>(backend: &B, f: &impl Function, inputs: &[(Vec<B::Scalar>, Vec<usize>)]) -> Evaluated<B::Scalar> {
    let parameters: Vec<_> = inputs.iter().map(|(data, shape)| Tensor::from_vec(backend, data.clone(), shape).to_parameter()).collect();
    let y = f.call(&parameters);
    let value = y.to_vec();
    let v = Tensor::constant(backend, &cotangent(value.len()), y.shape());
    let gradients = y.backward_with(&v);
    Evaluated { value, gradient: parameters.iter().flat_map(|p| gradients.of(p).to_vec()).collect() }
}

pub fn in_f64(f: &impl Function, inputs: &[Input]) -> Evaluated<f64> {
    evaluate(&Cpu::<f64>::new(), f, &inputs.iter().map(|x| (x.data.clone(), x.shape.clone())).collect::<Vec<_>>())
}

pub fn in_f32(f: &impl Function, inputs: &[Input]) -> Evaluated<f32> {
    let narrow = |x: &Input| (x.data.iter().map(|&x| x as f32).collect(), x.shape.clone());
    evaluate(&Device::default(), f, &inputs.iter().map(narrow).collect::<Vec<_>>())
}

/// The Jacobian ∂y_i/∂x_j and the Hessian of ⟨v, y⟩, both by exact forward mode (the Hessian through the vjp): [j][i].
pub fn derivatives(f: &impl Function, inputs: &[Input]) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let count: usize = inputs.iter().map(|x| x.data.len()).sum();
    let column = |j: usize| {
        let mut position = 0;
        let lift = |x: &Input| {
            let mut dual = |&x: &f64| {
                position += 1;
                Dual::new(x, if position - 1 == j { 1.0 } else { 0.0 })
            };
            (x.data.iter().map(&mut dual).collect(), x.shape.clone())
        };
        let evaluated = evaluate(&Cpu::<Dual<f64>>::new(), f, &inputs.iter().map(lift).collect::<Vec<_>>());
        let tangents = |x: Vec<Dual<f64>>| x.into_iter().map(|x| x.tangent).collect::<Vec<_>>();
        (tangents(evaluated.value), tangents(evaluated.gradient))
    };
    (0..count).map(column).unzip()
}

#[track_caller]
fn close(what: &str, found: &[f64], expected: &[f64], tolerance: impl Fn(usize) -> f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f - e).abs() <= tolerance(i),
            "{what}[{i}]: {f:e} where {e:e} is expected, off by {:e} > {:e}",
            (f - e).abs(),
            tolerance(i)
        );
    }
}

/// All checks but finite differences; everything must be finite.
#[track_caller]
pub fn check(name: &str, fused: &impl Function, composed: &impl Function, inputs: &[Input]) {
    let x: Vec<f64> = inputs.iter().flat_map(|x| x.data.clone()).collect();
    let (f, c) = (in_f64(fused, inputs), in_f64(composed, inputs));
    assert!(f.value.iter().chain(&f.gradient).all(|x| x.is_finite()), "{name}: {:?} {:?} at {x:?}", f.value, f.gradient);
    let (jacobian, hessian) = derivatives(fused, inputs);
    let (_, composed_hessian) = derivatives(composed, inputs);
    let n = x.len();
    let value_scale = |i: usize| 1.0 + f.value[i].abs() + (0..n).map(|j| (jacobian[j][i] * x[j]).abs()).sum::<f64>();
    let gradient_scale = |j: usize| 4.0 * (1.0 + f.gradient[j].abs() + (0..n).map(|k| (hessian[k][j] * x[k]).abs()).sum::<f64>());
    let u = f64::UNIT_ROUNDOFF;
    close(&format!("{name}: fused value against composed"), &f.value, &c.value, |i| 64.0 * u * value_scale(i));
    close(&format!("{name}: fused gradient against composed"), &f.gradient, &c.gradient, |j| 64.0 * u * gradient_scale(j));
    let v = cotangent(f.value.len());
    let forward: Vec<f64> = jacobian.iter().map(|column| column.iter().zip(&v).map(|(d, v)| d * v).sum()).collect();
    close(&format!("{name}: forward mode against the vjp"), &forward, &f.gradient, |j| 64.0 * u * gradient_scale(j));
    for j in 0..n {
        let row: Vec<f64> = (0..n).map(|k| hessian[k][j]).collect();
        let scale = 1.0 + row.iter().map(|h| h.abs()).fold(0.0, f64::max);
        close(&format!("{name}: Hessian row {j} against column"), &row, &hessian[j], |_| 1e-9 * scale);
        close(&format!("{name}: Hessian column {j} fused against composed"), &hessian[j], &composed_hessian[j], |_| 1e-9 * scale);
    }
    let narrow = in_f32(fused, inputs);
    let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    let u = f32::UNIT_ROUNDOFF;
    close(&format!("{name}: f32 value against f64"), &wide(&narrow.value), &f.value, |i| 64.0 * u * value_scale(i));
    close(&format!("{name}: f32 gradient against f64"), &wide(&narrow.gradient), &f.gradient, |j| 64.0 * u * gradient_scale(j));
}

/// The gradient against central differences, for inputs of moderate size.
#[track_caller]
pub fn check_differences(name: &str, f: &impl Function, inputs: &[Input]) {
    let exact = in_f64(f, inputs);
    let v = cotangent(exact.value.len());
    let at = |shifted: &[Input]| in_f64(f, shifted).value.iter().zip(&v).map(|(y, v)| y * v).sum::<f64>();
    let (mut differences, h) = (Vec::new(), 1e-4);
    for i in 0..inputs.len() {
        for j in 0..inputs[i].data.len() {
            let moved = |by: f64| {
                let mut shifted = inputs.to_vec();
                shifted[i].data[j] += by;
                at(&shifted)
            };
            differences.push((8.0 * (moved(h) - moved(-h)) - (moved(2.0 * h) - moved(-2.0 * h))) / (12.0 * h));
        }
    }
    let size = in_f64(f, inputs).value.iter().map(|y| y.abs()).fold(1.0, f64::max);
    close(&format!("{name}: central differences"), &differences, &exact.gradient, |j| 1e-9 * (size + exact.gradient[j].abs()));
}
