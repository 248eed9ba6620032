//! Every op whose kernel reads or writes through pointers, on small arrays that are views of others: values and gradients are those of the plain
//! loops. Small enough for Miri, which holds the same code to the rules of memory:
//! `MIRIFLAGS="-Zmiri-tree-borrows -Zmiri-ignore-leaks" cargo +nightly miri test -p slpo-engine --test unsafe_paths`.

use engine::backend::Indices;
use engine::{Backend, Cpu, Dual, Generator, Pairing, Reference, RotaryTable, Segments, Tensor};

/// Numbers near 1 in size, with no two alike.
fn numbers(seed: u64, count: usize) -> Vec<f64> {
    let mut generator = Generator::new(seed);
    (0..count).map(|_| generator.normal()).collect()
}

/// The values of `f` and its gradients with respect to inputs of these shapes.
fn results<B: Backend>(backend: &B, shapes: &[&[usize]], f: impl Fn(&[Tensor<B>]) -> Tensor<B>) -> Vec<f64> {
    let input = |(seed, shape): (usize, &&[usize])| Tensor::parameter(backend, &numbers(seed as u64, shape.iter().product()), shape);
    let inputs: Vec<Tensor<B>> = shapes.iter().enumerate().map(input).collect();
    let value = f(&inputs);
    let cotangent = Tensor::constant(backend, &numbers(99, value.len()), value.shape());
    let mut results = value.to_f64();
    let gradients = value.backward_with(&cotangent);
    results.extend(inputs.iter().flat_map(|input| gradients.of(input).to_f64()));
    results
}

#[track_caller]
fn close(what: &str, ours: &[f64], plain: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), plain.len(), "{what}");
    for (place, (a, b)) in ours.iter().zip(plain).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs().max(10.0), "{what}, number {place}: {a} against {b}");
    }
}

/// A test of an expression on f32, f64 and dual numbers against plain loops in f64.
macro_rules! agrees {
    ($name:ident, $shapes:expr, |$backend:ident, $x:ident| $body:expr) => {
        #[test]
        fn $name() {
            fn apply<B: Backend>($backend: &B, $x: &[Tensor<B>]) -> Tensor<B> {
                let _ = $backend;
                $body
            }
            let shapes: &[&[usize]] = $shapes;
            let plain = {
                let backend = Reference::<f64>::new();
                results(&backend, shapes, |x| apply(&backend, x))
            };
            let (single, double, dual) = (Cpu::<f32>::new(), Cpu::<f64>::new(), Cpu::<Dual<f64>>::new());
            close("f64", &results(&double, shapes, |x| apply(&double, x)), &plain, 1e-12);
            close("dual", &results(&dual, shapes, |x| apply(&dual, x)), &plain, 1e-12);
            close("f32", &results(&single, shapes, |x| apply(&single, x)), &plain, 1e-5);
        }
    };
}

agrees!(elementwise_on_views, &[&[3, 1, 5], &[5, 2, 3]], |_b, x| {
    let y = x[1].permute(&[2, 1, 0]);
    x[0].mul(&y).exp().add(&x[0].slice(2, 1, 2)).silu()
});
agrees!(rows, &[&[4, 7], &[7], &[7]], |_b, x| {
    x[0].layer_norm(&x[1], &x[2], 1e-5).softmax().add(&x[0].rms_norm(&x[1], 1e-5).log_softmax())
});
agrees!(reductions_of_views, &[&[3, 4, 5]], |_b, x| x[0].permute(&[2, 0, 1]).sum(1).mul(&x[0].permute(&[2, 0, 1]).max(1)).logsumexp());
agrees!(products_of_transposed_views, &[&[5, 7], &[6, 5]], |_b, x| x[0].t().matmul(&x[1].t()));
agrees!(products_of_broadcast_batches, &[&[2, 1, 3, 4], &[3, 4, 5]], |_b, x| x[0].matmul(&x[1].permute(&[0, 1, 2])));
agrees!(a_product_without_inner_extent, &[&[3, 0], &[0, 2]], |_b, x| x[0].matmul(&x[1]));
agrees!(a_linear_map, &[&[5, 6], &[3, 6], &[3]], |_b, x| x[0].linear(&x[1], Some(&x[2])).swiglu(&x[0].slice(1, 0, 3)));
agrees!(linear_maps_of_the_same_rows, &[&[6, 5], &[3, 6], &[6, 4], &[4]], |_b, x| {
    let y = x[0].t().linears(&[(&x[1], None), (&x[2].t(), Some(&x[3]))]);
    y[0].mul(&y[1].slice(1, 0, 3)).add(&x[0].t().slice(1, 0, 3))
});
agrees!(linear_maps_without_inner_extent, &[&[3, 0], &[2, 0], &[2, 0]], |_b, x| {
    let y = x[0].linears(&[(&x[1], None), (&x[2], None)]);
    y[0].add(&y[1])
});
agrees!(a_gated_mlp_of_views, &[&[6, 5], &[6, 4], &[4, 6], &[4, 3]], |_b, x| x[0].t().gated_mlp(&x[1].t(), &x[2], &x[3].t()));
agrees!(a_gated_mlp_of_slices, &[&[9, 8], &[5, 8], &[3, 4]], |_b, x| {
    let w = x[1].slice(1, 1, 5);
    x[0].slice(0, 2, 7).slice(1, 3, 7).gated_mlp(&w.slice(0, 0, 4), &w.slice(0, 1, 5), &x[2])
});
agrees!(a_gated_mlp_of_rows_of_nothing, &[&[3, 0], &[2, 0], &[2, 0], &[4, 2]], |_b, x| x[0].gated_mlp(&x[1], &x[2], &x[3]));
agrees!(a_gated_mlp_without_inner_extent, &[&[3, 2], &[0, 2], &[0, 2], &[4, 0]], |_b, x| x[0].gated_mlp(&x[1], &x[2], &x[3]));
agrees!(a_gated_mlp_of_no_rows, &[&[0, 3], &[2, 3], &[2, 3], &[4, 2]], |_b, x| x[0].gated_mlp(&x[1], &x[2], &x[3]));
agrees!(a_gated_mlp_of_many_rows, &[&[3, 7], &[3, 2], &[2, 3], &[4, 2]], |_b, x| x[0].t().gated_mlp(&x[1].t(), &x[2], &x[3]));
agrees!(linear_maps_of_many_rows, &[&[7, 3], &[2, 3], &[2, 3]], |_b, x| {
    let y = x[0].linears(&[(&x[1], None), (&x[2], None)]);
    y[0].mul(&y[1])
});
agrees!(sums_that_are_added_to, &[&[5, 4], &[4]], |_b, x| {
    let rows: Indices = vec![0, 4, 4, 1].into();
    x[0].rms_norm(&x[1], 1e-5).add(&x[0]).slice(0, 0, 4).add(&x[0].embedding(&rows))
});
agrees!(attention_over_segments, &[&[7, 4, 3], &[7, 2, 3], &[7, 2, 3]], |_b, x| {
    x[0].attention(&x[1], &x[2], &Segments::of_lengths(&[4, 1, 2]), 0.5)
});
agrees!(attention_with_a_window_over_a_cache, &[&[3, 2, 3], &[8, 1, 3], &[8, 1, 3]], |_b, x| {
    x[0].attention(&x[1], &x[2], &Segments::of_queries_and_keys(&[2, 1], &[5, 3]).with_window(Some(2)), 0.5)
});
agrees!(rotation, &[&[3, 2, 6]], |b, x| {
    let halves = x[0].rope(&RotaryTable::new(b, &[0, 3, 9], &[1.0, 0.1], Pairing::RotateHalf));
    halves.rope(&RotaryTable::new(b, &[1, 2, 5], &[1.0, 0.1, 0.01], Pairing::Adjacent))
});
agrees!(vocabulary, &[&[5, 4], &[9, 4]], |_b, x| {
    let targets: Indices = vec![0, 8, 3, 3, 1].into();
    x[0].linear_log_prob(&x[1], &targets).add(&x[0].linear_cross_entropy(&x[1], &targets))
});
/// A product past the size at which it is cut into tiles for several threads.
#[test]
fn a_product_in_tiles_equals_plain_loops() {
    let (m, k, n) = if cfg!(miri) { (18, 5, 17) } else { (150, 40, 180) };
    let (a, b) = (numbers(1, m * k), numbers(2, k * n));
    let cpu = Cpu::<f64>::new();
    let ours = Tensor::constant(&cpu, &a, &[m, k]).matmul(&Tensor::constant(&cpu, &b, &[k, n])).to_f64();
    let sum = |i: usize, j: usize| (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum::<f64>();
    let plain: Vec<f64> = (0..m * n).map(|place| sum(place / n, place % n)).collect();
    close("tiles", &ours, &plain, 1e-13);
}
