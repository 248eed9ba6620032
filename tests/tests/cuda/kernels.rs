//! Every op on every shape that a kernel treats in its own way.

use crate::{agrees, devices, in_bf16};
use engine::backend::{Core, Formula};
use engine::gradcheck::check_entry_on;
use engine::{Backend, Cpu, Scalar, Segments, Tensor, formulas, function};
use slpo_tests::{bits, normal_parameter};
use std::sync::Arc;

#[test]
fn every_op_on_random_shapes() {
    for entry in engine::ops::registry() {
        for device in devices() {
            // Every precision runs the same formulas; bfloat16 adds conversions and tensor cores, which need fewer shapes (and longer).
            let (small, large) = if in_bf16(device) { (0..4, 20..21) } else { (0..12, 20..23) };
            check_entry_on(device, &entry, small, 5).assert();
            check_entry_on(device, &entry, large, 14).assert();
        }
    }
}

#[test]
fn attention_over_segments_longer_than_a_tile() {
    for (lengths, window) in [
        (vec![150, 5], None),
        (vec![64, 65, 63, 1], None),
        (vec![129], None),
        (vec![150, 40], Some(70)),
        (vec![130], Some(64)),
        (vec![70], Some(1)),
    ] {
        let n = lengths.iter().sum();
        let segments = Segments::of_lengths(&lengths).with_window(window);
        let attention = function!(|x; segments: Segments| x[0].attention(&x[1], &x[2], segments, 0.4));
        agrees(&format!("attention over {lengths:?}, window {window:?}"), attention, &[&[n, 4, 6], &[n, 2, 6], &[n, 2, 6]]);
    }
}

/// One head width for each of the kernels' variants, and one that only the definition takes.
#[test]
fn attention_with_heads_of_every_width() {
    for width in [64, 65, 128, 160, 256, 257] {
        let segments = Segments::of_lengths(&[35, 3]);
        let attention = function!(|x; segments: Segments| x[0].attention(&x[1], &x[2], segments, 0.1));
        agrees(&format!("attention with heads of {width}"), attention, &[&[38, 2, width], &[38, 1, width], &[38, 1, width]]);
    }
}

#[test]
fn attention_of_few_queries_over_a_long_cache() {
    for window in [None, Some(40)] {
        let segments = Segments::of_queries_and_keys(&[1, 70, 3], &[130, 100, 3]).with_window(window);
        let attention = function!(|x; segments: Segments| x[0].attention(&x[1], &x[2], segments, 0.4));
        agrees(&format!("cached attention, window {window:?}"), attention, &[&[74, 3, 5], &[233, 1, 5], &[233, 1, 5]]);
    }
}

#[test]
fn products_of_views() {
    agrees("tall", function!(|x| x[0].matmul(&x[1])), &[&[101, 37], &[37, 29]]);
    agrees("transposed views", function!(|x| x[0].t().matmul(&x[1].t())), &[&[61, 53], &[45, 61]]);
    agrees("broadcast batches", function!(|x| x[0].matmul(&x[1])), &[&[3, 1, 13, 20], &[4, 20, 15]]);
    agrees("permuted batches", function!(|x| x[0].permute(&[1, 0, 2]).matmul(&x[1].permute(&[2, 1, 0]))), &[&[20, 5, 10], &[15, 10, 5]]);
    agrees("one column", function!(|x| x[0].matmul(&x[1])), &[&[30, 30], &[30, 1]]);
    agrees("one row", function!(|x| x[0].matmul(&x[1].t())), &[&[1, 30], &[7, 30]]);
    agrees("a slice", function!(|x| x[0].slice(1, 3, 9).matmul(&x[1].slice(0, 1, 7))), &[&[5, 12], &[8, 4]]);
}

#[test]
fn reductions_in_several_chunks() {
    for axis in 0..3 {
        agrees("sum", function!(|x; axis: usize| x[0].mul(&x[0]).sum(*axis)), &[&[31, 17, 41]]);
        agrees("max", function!(|x; axis: usize| x[0].max(*axis)), &[&[31, 17, 41]]);
        agrees("sum of a view", function!(|x; axis: usize| x[0].permute(&[2, 0, 1]).sum(*axis)), &[&[31, 17, 41]]);
    }
    agrees("long rows", function!(|x| x[0].sum(1)), &[&[3, 20_000]]);
    agrees("long columns", function!(|x| x[0].sum(0)), &[&[20_000, 3]]);
    agrees("long maxima", function!(|x| x[0].max(1)), &[&[3, 5000]]);
    agrees("broadcast over rows", function!(|x| x[0].mul(&x[1])), &[&[200, 13], &[13]]);
    agrees("broadcast over columns", function!(|x| x[0].mul(&x[1])), &[&[20, 130], &[20, 1]]);
    agrees("broadcast of both", function!(|x| x[0].div(&x[1].exp())), &[&[7, 1, 5], &[1, 6, 5]]);
}

#[test]
fn rows_longer_than_a_block() {
    agrees("softmax", function!(|x| x[0].softmax()), &[&[5, 1001]]);
    agrees("log_softmax", function!(|x| x[0].log_softmax()), &[&[5, 1001]]);
    agrees("logsumexp", function!(|x| x[0].logsumexp()), &[&[5, 1001]]);
    agrees("layer_norm", function!(|x| x[0].layer_norm(&x[1], &x[2], 1e-5)), &[&[40, 301], &[301], &[301]]);
    agrees("rms_norm", function!(|x| x[0].rms_norm(&x[1], 1e-5)), &[&[140, 301], &[301]]);
    agrees("swiglu", function!(|x| x[0].swiglu(&x[1])), &[&[40, 301], &[40, 301]]);
}

#[test]
fn linear_layers_of_the_same_rows() {
    let layers = function!(|x| {
        let y = x[0].linears(&[(&x[1], None), (&x[2], Some(&x[3]))]);
        Tensor::concat(&[&y[0], &y[1], &x[0]], 1)
    });
    agrees("linears", layers, &[&[70, 24], &[9, 24], &[33, 24], &[33]]);
}

#[test]
fn gated_feed_forward_part() {
    let gated_mlp = function!(|x| x[0].gated_mlp(&x[1], &x[2], &x[3]).add(&x[0]));
    agrees("gated_mlp", gated_mlp, &[&[70, 24], &[33, 24], &[33, 24], &[24, 33]]);
    agrees("gated_mlp, one row", function!(|x| x[0].gated_mlp(&x[1], &x[2], &x[3])), &[&[1, 24], &[33, 24], &[33, 24], &[9, 33]]);
}

formulas! {
    /// e^x where x is below y, else z; plus w.
    Chosen(w, x, y, z) = w + T::select(x.is_below(y), x.exp(), z);
    /// As [`Chosen`], by an `if`: both arms become statements.
    Branched(w, x, y, z) = w + if x < y { x.exp() } else { z };
}

/// The values of a formula of four arrays that broadcast to [3, 7, 5], one of them a view whose axes are swapped.
fn of_four<B: Backend>(backend: &B, f: impl Formula<4>) -> Vec<f64> {
    let array = |seed, shape: &[usize]| normal_parameter(backend, seed, shape).into_array();
    let (w, x, y, z) = (array(1, &[3, 7, 5]), array(2, &[7, 1]), array(3, &[5, 7]), array(4, &[]));
    let value = backend.elementwise(f, [&w, &x, &backend.permute(&y, &[1, 0]), &z]);
    backend.to_vec(&value).iter().map(|x| x.to_f64()).collect()
}

#[test]
fn formulas_of_four_arrays() {
    let expected = of_four(&Cpu::<f64>::new(), Chosen);
    for device in devices() {
        for values in [of_four(device, Chosen), of_four(device, Branched)] {
            assert!(values.iter().zip(&expected).all(|(x, y)| (x - y).abs() <= 1e-6 * (1.0 + y.abs())), "{values:?}, {expected:?}");
        }
    }
}

#[test]
fn token_indices() {
    let targets: Arc<[u32]> = (0..300).map(|i| (i * 7 % 23) as u32).collect();
    let ids = targets.clone();
    agrees("linear_log_prob", function!(|x; targets: Arc<[u32]>| x[0].linear_log_prob(&x[1], targets)), &[&[300, 6], &[23, 6]]);
    agrees("embedding", function!(|x; ids: Arc<[u32]>| x[0].embedding(ids)), &[&[23, 5]]);
}

/// Far logits, masked logits and a row of nothing but −∞ give what the processor gives.
#[test]
fn extreme_logits() {
    let infinite = f64::NEG_INFINITY;
    let x = [-1e4, 0.0, 1e4, infinite, infinite, infinite, 3.0, infinite, -2.0];
    for device in devices() {
        let (here, there) = (Tensor::constant(device, &x, &[3, 3]), Tensor::constant(&Cpu::<f32>::new(), &x, &[3, 3]));
        let close = |name: &str, a: Vec<f64>, b: Vec<f64>| {
            let same = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 * b.abs();
            assert!(a.iter().zip(&b).all(same), "{name}: {a:?}, {b:?}");
        };
        close("logsumexp", here.logsumexp().to_f64(), there.logsumexp().to_f64());
        close("softmax", here.softmax().to_f64(), there.softmax().to_f64());
        close("log_softmax", here.log_softmax().to_f64(), there.log_softmax().to_f64());
    }
}

#[test]
fn accumulating_leaves_shared_storage_alone() {
    for device in devices() {
        let x = Tensor::constant(device, &[1.0, 2.0], &[2]);
        let sum = device.accumulate(x.array().clone(), x.array());
        assert_eq!((device.to_vec(&sum), x.to_f64()), (vec![2.0, 4.0], vec![1.0, 2.0]));
        let again = device.accumulate(sum, x.array());
        assert_eq!(device.to_vec(&again), [3.0, 6.0]);
    }
}

#[test]
fn the_same_bits_at_every_run() {
    for device in devices() {
        let run = || {
            let ids: Arc<[u32]> = (0..200).map(|i| (i * i % 7) as u32).collect();
            let table = normal_parameter(device, 1, &[7, 30]);
            let loss = table.embedding(&ids).softmax().sum(0).linear_log_prob_sum(&table);
            bits(&loss.backward().of(&table))
        };
        assert_eq!(run(), run());
    }
}

/// A loss from a vector and the table, for [`the_same_bits_at_every_run`].
trait LinearLogProbSum<B: Backend> {
    fn linear_log_prob_sum(&self, table: &Tensor<B>) -> Tensor<B>;
}

impl<B: Backend> LinearLogProbSum<B> for Tensor<B> {
    fn linear_log_prob_sum(&self, table: &Tensor<B>) -> Tensor<B> {
        self.reshape(&[1, self.len()]).linear_log_prob(table, &Arc::from([3u32])).sum_all()
    }
}
