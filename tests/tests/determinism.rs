//! The same bits whatever the number of threads, and whether they stay awake: values and gradients of large arrays on rayon pools of 1, 2,
//! 3 and 7 threads.

use engine::backend::Core;
use engine::gradcheck::Function;
use engine::{Backend, Cpu, Device, Pairing, Precision, RotaryTable, Segments, Tensor, function};
use slpo_tests::{bits, normal_parameter};
use std::sync::Arc;

fn value_and_gradient_bits<B: Backend>(f: &impl Function, backend: &B, shapes: &[Vec<usize>]) -> Vec<Vec<u64>> {
    let inputs: Vec<Tensor<B>> = shapes.iter().enumerate().map(|(i, shape)| normal_parameter(backend, i as u64, shape)).collect();
    let y = f.call(&inputs);
    let cotangent = normal_parameter(backend, 99, y.shape());
    let value = bits(&y);
    let gradients = y.backward_with(&cotangent);
    std::iter::once(value).chain(inputs.iter().map(|x| bits(&gradients.of(x)))).collect()
}

fn same_bits_on_every_pool(name: &str, f: impl Function, shapes: &[&[usize]]) {
    let shapes: Vec<Vec<usize>> = shapes.iter().map(|shape| shape.to_vec()).collect();
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let single = value_and_gradient_bits(&f, &Device::default(), &shapes);
            let step = Device::default();
            let awake = step.keep_awake(|| value_and_gradient_bits(&f, &step, &shapes));
            assert!(awake == single, "{name}: {threads} threads that stay awake give other bits");
            let double = value_and_gradient_bits(&f, &Cpu::<f64>::new(), &shapes);
            let rounding = Cpu::with_precision(Precision::Bf16).map(|cpu| value_and_gradient_bits(&f, &cpu, &shapes));
            [single, double, rounding.unwrap_or_default()].concat()
        })
    };
    let alone = on(1);
    assert!(alone.iter().flatten().any(|&bits| bits != 0), "{name}: nothing but zeros");
    for threads in [2, 3, 7] {
        assert!(alone == on(threads), "{name}: {threads} threads give other bits than one");
    }
}

#[test]
fn matrix_products() {
    same_bits_on_every_pool("matmul", function!(|x| x[0].matmul(&x[1])), &[&[300, 257], &[257, 129]]);
    same_bits_on_every_pool("batched", function!(|x| x[0].matmul(&x[1].t())), &[&[7, 1, 65, 33], &[3, 70, 33]]);
}

#[test]
fn reductions() {
    for axis in 0..3 {
        same_bits_on_every_pool("sum", function!(|x; axis: usize| x[0].mul(&x[0]).sum(*axis)), &[&[67, 130, 41]]);
    }
    same_bits_on_every_pool("sum_all", function!(|x| x[0].exp().sum_all()), &[&[1000, 301]]);
    same_bits_on_every_pool("broadcast", function!(|x| x[0].mul(&x[1])), &[&[500, 301], &[301]]);
}

#[test]
fn rows() {
    same_bits_on_every_pool("softmax", function!(|x| x[0].softmax()), &[&[257, 1031]]);
    same_bits_on_every_pool("log_softmax", function!(|x| x[0].log_softmax()), &[&[257, 1031]]);
    same_bits_on_every_pool("rms_norm", function!(|x| x[0].rms_norm(&x[1], 1e-5)), &[&[257, 301], &[301]]);
    same_bits_on_every_pool("layer_norm", function!(|x| x[0].layer_norm(&x[1], &x[2], 1e-5)), &[&[257, 301], &[301], &[301]]);
    same_bits_on_every_pool("swiglu", function!(|x| x[0].swiglu(&x[1])), &[&[257, 301], &[257, 301]]);
}

#[test]
fn attention_and_rope() {
    let segments = Segments::of_lengths(&[300, 70, 1]);
    let attention = function!(|x; segments: Segments| {
        let positions: Vec<u32> = (0..371).collect();
        let table = RotaryTable::new(x[0].backend(), &positions, &[1.0, 0.1, 0.01], Pairing::RotateHalf);
        x[0].rope(&table).attention(&x[1].rope(&table), &x[2], segments, 0.3)
    });
    same_bits_on_every_pool("attention", attention, &[&[371, 4, 8], &[371, 2, 8], &[371, 2, 8]]);
}

/// More rows than 16 go product by product, many some rows at a time: the rows of both have the same bits, and so have they layer by
/// layer.
#[test]
fn a_row_of_gated_mlp_is_the_same_whatever_other_rows_there_are() {
    fn rows<B: Backend>(backend: &B, [d, f, e]: [usize; 3]) {
        let shapes: [[usize; 2]; 4] = [[321, d], [f, d], [f, d], [e, f]];
        let [x, gate, up, down] = [0, 1, 2, 3].map(|i| normal_parameter(backend, i as u64, &shapes[i]));
        let cotangent = normal_parameter(backend, 9, &[321, e]);
        let first_rows = |n: usize, f: &dyn Fn(&Tensor<B>) -> Tensor<B>| {
            let x = Tensor::parameter(backend, &x.to_f64()[..n * d], &[n, d]);
            let y = f(&x);
            let value = bits(&y)[..17 * e].to_vec();
            let x_bar = bits(&y.backward_with(&cotangent.slice(0, 0, n)).of(&x))[..17 * d].to_vec();
            (value, x_bar)
        };
        let fused = |x: &Tensor<B>| x.gated_mlp(&gate, &up, &down);
        let layers = |x: &Tensor<B>| {
            let y = x.linears(&[(&gate, None), (&up, None)]);
            y[0].swiglu(&y[1]).linear(&down, None)
        };
        let expected = first_rows(17, &fused);
        for n in [17, 255, 256, 257, 321] {
            assert!(first_rows(n, &fused) == expected, "{d}, {f}, {e}: of {n} rows");
            assert!(first_rows(n, &layers) == expected, "{d}, {f}, {e}: of {n} rows, layer by layer");
        }
    }
    for extents in [[128, 200, 128], [30, 257, 40], [48, 1030, 64]] {
        rows(&Device::default(), extents);
        Cpu::with_precision(Precision::Bf16).iter().for_each(|cpu| rows(cpu, extents));
    }
}

#[test]
fn linear_layers_of_the_same_rows() {
    let layers = function!(|x| Tensor::concat(&x[0].linears(&[(&x[1], None), (&x[2], None)]).iter().collect::<Vec<_>>(), 1));
    same_bits_on_every_pool("linears", layers, &[&[300, 128], &[96, 128], &[200, 128]]);
}

#[test]
fn gated_feed_forward_part() {
    for [n, d, f] in [[300, 128, 200], [70, 128, 800]] {
        let gated_mlp = function!(|x| x[0].gated_mlp(&x[1], &x[2], &x[3]));
        same_bits_on_every_pool("gated_mlp", gated_mlp, &[&[n, d], &[f, d], &[f, d], &[d, f]]);
    }
}

#[test]
fn tokens() {
    let targets: Arc<[u32]> = (0..300).map(|i| (i * 37 % 1031) as u32).collect();
    let fused = targets.clone();
    same_bits_on_every_pool(
        "linear_log_prob",
        function!(|x; fused: Arc<[u32]>| x[0].linear_log_prob(&x[1], fused)),
        &[&[300, 64], &[1031, 64]],
    );
    same_bits_on_every_pool("embedding", function!(|x; targets: Arc<[u32]>| x[0].embedding(targets)), &[&[1031, 64]]);
}
