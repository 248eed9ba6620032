//! Arrays larger than a block, a tile or a task: the fast kernels against the reference defaults, and their gradients by the other methods
//! that scale.

use engine::backend::{Add, Core};
use engine::gradcheck::{Function, Method, Settings, check_with};
use engine::{Backend, Cpu, Device, Dual, Reference, Scalar, Segments, Tensor, formulas, function};
use slpo_tests::{normal, normal_parameter, normal_sample};
use std::sync::Arc;

fn agrees(name: &str, f: impl Function, shapes: &[&[usize]]) {
    let methods = vec![Method::Reference, Method::ForwardMode, Method::Adjoint, Method::Precision];
    check_with(name, &normal_sample(f, shapes), &Settings { methods, ..Settings::default() }).assert();
}

/// Blocks are 32 queries by 256 keys: segments that are longer, one short of, equal to and one past a block.
#[test]
fn attention_over_segments_longer_than_a_block() {
    for (lengths, window) in [
        (vec![300, 5], None),
        (vec![64, 65, 63, 31, 32, 33, 1], None),
        (vec![257], None),
        (vec![300, 40], Some(70)),
        (vec![290], Some(257)),
        (vec![130], Some(1)),
    ] {
        let n = lengths.iter().sum();
        let segments = Segments::of_lengths(&lengths).with_window(window);
        let attention = function!(|x; segments: Segments| x[0].attention(&x[1], &x[2], segments, 0.4));
        agrees(&format!("attention over {lengths:?}, window {window:?}"), attention, &[&[n, 4, 6], &[n, 2, 6], &[n, 2, 6]]);
    }
}

#[test]
fn attention_of_few_queries_over_a_long_cache() {
    for window in [None, Some(100)] {
        let segments = Segments::of_queries_and_keys(&[1, 70, 3], &[300, 270, 3]).with_window(window);
        let attention = function!(|x; segments: Segments| x[0].attention(&x[1], &x[2], segments, 0.4));
        agrees(&format!("cached attention, window {window:?}"), attention, &[&[74, 3, 5], &[573, 1, 5], &[573, 1, 5]]);
    }
}

/// What is not finite in a query reaches its own output, in every block of keys, and no other.
#[test]
fn attention_of_queries_that_are_not_finite() {
    let (n, width) = (300, 8);
    for (row, bad) in [(0, f64::NAN), (40, f64::NAN), (290, f64::NAN), (290, f64::INFINITY)] {
        let [mut q, k, v] = [1, 2, 3].map(|seed| normal(seed, n * width));
        let outputs = |q: &[f64]| {
            let [q, k, v] = [q, &k, &v].map(|x| Tensor::constant(&Device::default(), x, &[n, 1, width]));
            q.attention(&k, &v, &Segments::of_lengths(&[n]), 0.4).to_f64()
        };
        let all_finite = outputs(&q);
        q[row * width + 3] = bad;
        for (position, (x, finite)) in outputs(&q).into_iter().zip(all_finite).enumerate() {
            assert!(if position / width == row { x.is_nan() } else { x == finite }, "{bad} in {row}: {x} at {position}");
        }
    }
}

#[test]
fn products_larger_than_a_tile() {
    agrees("tall", function!(|x| x[0].matmul(&x[1])), &[&[401, 37], &[37, 29]]);
    agrees("wide", function!(|x| x[0].matmul(&x[1])), &[&[29, 37], &[37, 401]]);
    agrees("transposed views", function!(|x| x[0].t().matmul(&x[1].t())), &[&[61, 203], &[195, 61]]);
    agrees("broadcast batches", function!(|x| x[0].matmul(&x[1])), &[&[3, 1, 33, 20], &[4, 20, 35]]);
    agrees("permuted batches", function!(|x| x[0].permute(&[1, 0, 2]).matmul(&x[1].permute(&[2, 1, 0]))), &[&[40, 5, 30], &[45, 30, 5]]);
    agrees("one column", function!(|x| x[0].matmul(&x[1])), &[&[300, 300], &[300, 1]]);
}

/// 16384 elements are one task; axes before the last are summed in bands.
#[test]
fn reductions_larger_than_a_task() {
    for axis in 0..3 {
        agrees("sum", function!(|x; axis: usize| x[0].mul(&x[0]).sum(*axis)), &[&[31, 67, 41]]);
        agrees("max", function!(|x; axis: usize| x[0].max(*axis)), &[&[31, 67, 41]]);
        agrees("sum of a view", function!(|x; axis: usize| x[0].permute(&[2, 0, 1]).sum(*axis)), &[&[31, 67, 41]]);
    }
    agrees("long rows", function!(|x| x[0].sum(1)), &[&[3, 20_000]]);
    agrees("long columns", function!(|x| x[0].sum(0)), &[&[20_000, 3]]);
    agrees("broadcast over rows", function!(|x| x[0].mul(&x[1])), &[&[200, 130], &[130]]);
    agrees("broadcast over columns", function!(|x| x[0].mul(&x[1])), &[&[200, 130], &[200, 1]]);
}

formulas! {
    /// e^x where x is below y, else z; plus w.
    Chosen(w, x, y, z) = w + T::select(x.is_below(y), x.exp(), z);
}

/// The values of a formula of four arrays that broadcast to [3, 7, 5], one of them a view whose axes are swapped.
fn formula_of_four<B: Backend>(backend: &B) -> Vec<f64> {
    let array = |seed, shape: &[usize]| normal_parameter(backend, seed, shape).into_array();
    let (w, x, y, z) = (array(1, &[3, 7, 5]), array(2, &[7, 1]), array(3, &[5, 7]), array(4, &[]));
    let value = backend.elementwise(Chosen, [&w, &x, &backend.permute(&y, &[1, 0]), &z]);
    assert_eq!(backend.shape(&value), [3, 7, 5]);
    backend.to_vec(&value).iter().map(|x| x.to_f64()).collect()
}

#[test]
fn a_formula_of_four_arrays() {
    let values = formula_of_four(&Reference::<f64>::new());
    let array = |seed, count| normal(seed, count);
    let (w, x, y, z) = (array(1, 105), array(2, 7), array(3, 35), array(4, 1));
    for (i, value) in values.iter().enumerate() {
        let (row, column) = (i / 5 % 7, i % 5);
        let chosen = if x[row] < y[column * 7 + row] { x[row].exp() } else { z[0] };
        assert_eq!(*value, w[i] + chosen, "element {i}");
    }
    assert_eq!(formula_of_four(&Cpu::<f64>::new()), values);
    assert_eq!(formula_of_four(&Cpu::<Dual<f64>>::new()), values);
    let near = |world: Vec<f64>| world.iter().zip(&values).all(|(x, y)| (x - y).abs() <= 8.0 * f64::from(f32::EPSILON) * (1.0 + y.abs()));
    assert!(near(formula_of_four(&Cpu::<f32>::new())) && near(formula_of_four(&Device::default())));
}

#[test]
#[should_panic(expected = "elementwise: [[2, 3], [2]] do not broadcast")]
fn a_formula_of_shapes_that_do_not_fit() {
    let cpu = Cpu::<f64>::new();
    cpu.zip(Add, &cpu.full(1.0, &[2, 3]), &cpu.full(1.0, &[2]));
}

#[test]
fn rows_longer_than_a_block() {
    agrees("softmax", function!(|x| x[0].softmax()), &[&[5, 3001]]);
    agrees("log_softmax", function!(|x| x[0].log_softmax()), &[&[5, 3001]]);
    agrees("logsumexp", function!(|x| x[0].logsumexp()), &[&[5, 3001]]);
    agrees("layer_norm", function!(|x| x[0].layer_norm(&x[1], &x[2], 1e-5)), &[&[40, 701], &[701], &[701]]);
    agrees("rms_norm", function!(|x| x[0].rms_norm(&x[1], 1e-5)), &[&[40, 701], &[701]]);
    agrees("swiglu", function!(|x| x[0].swiglu(&x[1])), &[&[40, 701], &[40, 701]]);
}

/// Layers whose values are all used, and one that is not; the rows go on elsewhere, so that their gradient is added to.
#[test]
fn linear_layers_of_the_same_rows() {
    let shapes: &[&[usize]] = &[&[70, 64], &[96, 64], &[33, 64], &[33]];
    let all = function!(|x| {
        let y = x[0].linears(&[(&x[1], None), (&x[2], Some(&x[3])), (&x[1], None)]);
        Tensor::concat(&[&y[0], &y[1], &y[2], &x[0]], 1)
    });
    agrees("linears", all, shapes);
    agrees("linears, one of two", function!(|x| x[0].linears(&[(&x[1], None), (&x[2], Some(&x[3]))])[1].clone()), shapes);
}

/// [N, D], [F, D], [F, D] and [E, F]: rows and weights of a gated feed-forward part.
fn gated_mlp_shapes([n, d, f, e]: [usize; 4]) -> [Vec<usize>; 4] {
    [vec![n, d], vec![f, d], vec![f, d], vec![e, f]]
}

#[test]
fn gated_mlp_of_few_and_many_rows() {
    for extents in [[650, 128, 200, 128], [601, 30, 257, 40], [300, 48, 1030, 64], [70, 64, 96, 64], [33, 5, 7, 3], [1, 128, 200, 128]] {
        let shapes = gated_mlp_shapes(extents);
        let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        agrees(&format!("gated_mlp of {extents:?}"), function!(|x| x[0].gated_mlp(&x[1], &x[2], &x[3])), &shapes);
    }
    // The rows go on elsewhere, so that their gradient is added to.
    let residual = function!(|x| x[0].add(&x[0].gated_mlp(&x[1], &x[2], &x[3])));
    agrees("gated_mlp beside a residual", residual, &[&[130, 40], &[70, 40], &[70, 40], &[40, 70]]);
}

/// Only some of the rows and the weights have a gradient.
#[test]
fn gated_mlp_of_constants() {
    let shapes = gated_mlp_shapes([610, 24, 50, 20]);
    let constants: Vec<Vec<f64>> = (10..).zip(&shapes).map(|(seed, shape)| normal(seed, shape.iter().product())).collect();
    for needed in [[true, false, false, false], [false, true, true, true], [true, true, false, false], [false, false, true, true]] {
        let inputs: Vec<&[usize]> = shapes.iter().zip(needed).filter(|(_, needed)| *needed).map(|(shape, _)| shape.as_slice()).collect();
        let (shapes, constants) = (shapes.clone(), constants.clone());
        let some = function!(|x; needed: [bool; 4], shapes: [Vec<usize>; 4], constants: Vec<Vec<f64>>| {
            let mut inputs = x.iter();
            let operand = |i: usize| match needed[i] {
                true => inputs.next().expect("an input for each that is needed").clone(),
                false => Tensor::constant(x[0].backend(), &constants[i], &shapes[i]),
            };
            let [x, gate, up, down] = [0, 1, 2, 3].map(operand);
            x.gated_mlp(&gate, &up, &down)
        });
        agrees(&format!("gated_mlp where {needed:?} are needed"), some, &inputs);
    }
}

/// The cotangents that are not needed are left out, and the others do not change.
fn only_the_needed_cotangents<B: Backend>(backend: &B, n: usize) {
    let shapes = gated_mlp_shapes([n, 5, 7, 4]);
    let [x, gate, up, down] = [0, 1, 2, 3].map(|i| normal_parameter(backend, i as u64, &shapes[i]).into_array());
    let (weights, y_bar) = ([&gate, &up, &down], normal_parameter(backend, 9, &[n, 4]).into_array());
    assert!(backend.gated_mlp(&x, weights, false).1.is_none(), "nothing is kept unless it is asked for");
    let saved = backend.gated_mlp(&x, weights, true).1.expect("what was asked for");
    let cotangents = |needed| backend.gated_mlp_vjp(&x, weights, &saved, &y_bar, needed).map(|x| x.map(|x| backend.to_vec(&x)));
    let all = cotangents([true; 4]);
    for mask in 0..16 {
        let needed = [0, 1, 2, 3].map(|bit| mask >> bit & 1 == 1);
        for ((some, all), needed) in cotangents(needed).iter().zip(&all).zip(needed) {
            assert_eq!(some.as_ref(), all.as_ref().filter(|_| needed), "{mask:b}");
        }
    }
}

#[test]
fn gated_mlp_forms_the_needed_cotangents_only() {
    for n in [9, 300] {
        only_the_needed_cotangents(&Reference::<f64>::new(), n);
        only_the_needed_cotangents(&Cpu::<f64>::new(), n);
        only_the_needed_cotangents(&Device::default(), n);
    }
}

/// A table whose gradient comes from its rows and from a product, and a norm beside the rows that it is of.
#[test]
fn gradients_that_are_added_to_what_is_there() {
    let ids: Arc<[u32]> = (0..300).map(|i| (i * 7 % 40) as u32).collect();
    agrees("tied table", function!(|x; ids: Arc<[u32]>| x[0].embedding(ids).linear(&x[0], None)), &[&[40, 24]]);
    agrees("norm beside a residual", function!(|x| x[0].rms_norm(&x[1], 1e-5).add(&x[0])), &[&[300, 70], &[70]]);
    agrees(
        "norms of the same rows and gain",
        function!(|x| x[0].rms_norm(&x[1], 1e-5).mul(&x[0].rms_norm(&x[1], 1e-3))),
        &[&[90, 70], &[70]],
    );
}

/// More rows than a chunk of logits holds.
#[test]
fn vocabulary_in_several_chunks() {
    let targets: Arc<[u32]> = (0..1100).map(|i| (i * 7 % 23) as u32).collect();
    agrees("linear_log_prob", function!(|x; targets: Arc<[u32]>| x[0].linear_log_prob(&x[1], targets)), &[&[1100, 6], &[23, 6]]);
}
