//! The tape: no_grad, detach, accumulation, and checkpoints that give the very bits of a run that saved everything.

use engine::backend::Core;
use engine::tape::Operation;
use engine::{Backend, Cpu, Device, Segments, Tensor, checkpoint, no_grad};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use slpo_tests::{bits, everyday, normal_parameter};

/// A residual block of attention and a gated layer; `recompute` forms its inside again in the backward pass.
fn block<B: Backend>(x: &Tensor<B>, weights: &[Tensor<B>], segments: &Segments, recompute: bool) -> Tensor<B> {
    let (own, segments) = (weights.to_vec(), segments.clone());
    let inside = move |x: &Tensor<B>| {
        let [n, d] = x.shape().try_into().expect("rows and features");
        let heads = |w: &Tensor<B>| x.rms_norm(&own[5], 1e-5).matmul(w).reshape(&[n, 2, d / 2]);
        let mixed = heads(&own[0]).attention(&heads(&own[1]), &heads(&own[2]), &segments, 0.5).reshape(&[n, d]);
        let h = x.add(&mixed);
        h.add(&h.matmul(&own[3]).swiglu(&h.matmul(&own[4])))
    };
    if recompute { checkpoint(x, inside) } else { inside(x) }
}

/// The bits of a two-block network's loss and of all gradients.
fn network_bits<B: Backend>(backend: &B, rows: usize, pairs: usize, recompute: bool) -> Vec<Vec<u64>> {
    let d = 2 * pairs;
    let matrices = |first: u64| (first..first + 5).map(move |seed| (seed, vec![d, d]));
    let shapes = matrices(10).chain([(15, vec![d])]).chain(matrices(20)).chain([(25, vec![d])]);
    let parameters: Vec<Tensor<B>> = shapes.map(|(seed, shape)| normal_parameter(backend, seed, &shape)).collect();
    let x = normal_parameter(backend, 1, &[rows, d]);
    let segments = Segments::of_lengths(&[rows / 2, rows - rows / 2]);
    let h = block(&x, &parameters[..6], &segments, recompute);
    let h = block(&h, &parameters[6..], &segments, recompute);
    let loss = h.mul(&h).mean_all();
    let mut all = vec![bits(&loss)];
    let gradients = loss.backward();
    all.extend(parameters.iter().chain([&x]).map(|p| bits(&gradients.get(p).expect("every parameter takes part"))));
    all
}

#[test]
fn a_checkpoint_gives_the_same_bits_as_saving_everything() {
    let outcome = TestRunner::new(everyday(24)).run(&(2usize..40, 1usize..9), |(rows, pairs)| {
        let single = Device::default();
        prop_assert!(network_bits(&single, rows, pairs, true) == network_bits(&single, rows, pairs, false), "f32");
        let double = Cpu::<f64>::new();
        prop_assert!(network_bits(&double, rows, pairs, true) == network_bits(&double, rows, pairs, false), "f64");
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Two values of the first weight, one of the second that nobody uses, and one of the second with a bias.
fn layers<B: Backend>(x: &Tensor<B>, w: [&Tensor<B>; 2], bias: &Tensor<B>) -> Tensor<B> {
    let y = x.linears(&[(w[0], None), (w[1], None), (w[0], None), (w[1], Some(bias))]);
    y[0].mul(&y[2]).add(&y[3])
}

#[test]
fn an_op_of_several_values_is_walked_like_ops_of_one() {
    let cpu = Cpu::<f64>::new();
    let shapes: [&[usize]; 4] = [&[5, 4], &[3, 4], &[3, 4], &[3]];
    let leaves: Vec<_> = (0..).zip(shapes).map(|(seed, shape)| normal_parameter(&cpu, seed, shape)).collect();
    let [x, v, w, b] = [0, 1, 2, 3].map(|i| leaves[i].clone());
    let several = || layers(&x, [&v, &w], &b).sum_all();
    let expected = {
        let y = x.linear(&v, None);
        y.mul(&y).add(&x.linear(&w, Some(&b))).sum_all().backward()
    };
    let close = |leaf: &Tensor<_>, got: &[f64], how: &str| {
        let pairs = got.iter().zip(expected.of(leaf).to_f64());
        assert!(pairs.into_iter().all(|(got, expected)| (got - expected).abs() < 1e-12), "{how}");
    };
    let all = several().backward_keeping_all();
    leaves.iter().for_each(|leaf| close(leaf, &all.of(leaf).to_f64(), "keeping all"));
    let mut taken = Vec::new();
    several().backward_into(|id, gradient| taken.push((id, gradient)));
    assert_eq!(taken.len(), 4, "each leaf is handed over once");
    for (id, gradient) in taken {
        let leaf = leaves.iter().find(|leaf| leaf.id() == Some(id)).expect("a leaf");
        close(leaf, &cpu.to_vec(&gradient), "handed over");
    }
    let inside = (v.clone(), w.clone(), b.clone());
    let again = checkpoint(&x, move |x| layers(x, [&inside.0, &inside.1], &inside.2)).sum_all().backward();
    leaves.iter().for_each(|leaf| close(leaf, &again.of(leaf).to_f64(), "in a checkpoint"));
    let value = v.clone();
    let one = checkpoint(&x, move |x| x.linears(&[(&value, None), (&value, None)])[1].clone()).sum_all().backward();
    let alone = x.linear(&v, None).sum_all().backward();
    assert_eq!(one.of(&v).to_f64(), alone.of(&v).to_f64(), "a checkpoint of one of the values");
}

/// The gated feed-forward part of four leaves: x, gate, up and down.
fn gated_mlp<B: Backend>(leaves: &[Tensor<B>]) -> Tensor<B> {
    leaves[0].gated_mlp(&leaves[1], &leaves[2], &leaves[3])
}

fn gated_mlp_leaves() -> [Tensor<Cpu<f64>>; 4] {
    let shapes: [&[usize]; 4] = [&[5, 4], &[3, 4], &[3, 4], &[2, 3]];
    [0, 1, 2, 3].map(|i| normal_parameter(&Cpu::new(), i as u64, shapes[i]))
}

#[test]
fn what_is_frozen_in_a_gated_mlp_gets_no_gradient_and_the_rest_keeps_its_own() {
    let leaves = gated_mlp_leaves();
    let whole = gated_mlp(&leaves).sum_all().backward();
    for mask in 1..16u32 {
        let is_trained = |i: usize| mask >> i & 1 == 1;
        let own: Vec<_> = leaves.iter().enumerate().map(|(i, leaf)| if is_trained(i) { leaf.clone() } else { leaf.detach() }).collect();
        let y = gated_mlp(&own);
        assert_eq!(y.graph().last().map(|value| value.parents.len()), Some(mask.count_ones() as usize));
        let gradients = y.sum_all().backward();
        for (i, leaf) in leaves.iter().enumerate() {
            let expected = is_trained(i).then(|| bits(&whole.of(leaf)));
            assert_eq!(gradients.get(leaf).map(|gradient| bits(&gradient)), expected, "leaf {i} of {mask:b}");
        }
    }
    assert!(!gated_mlp(&leaves.map(|leaf| leaf.detach())).is_differentiable());
}

#[test]
fn a_gated_mlp_in_a_checkpoint_has_its_bits_and_a_weight_given_twice_the_sum() {
    let leaves = gated_mlp_leaves();
    let [x, gate, _, down] = &leaves;
    let whole = gated_mlp(&leaves).sum_all().backward();
    let inside = leaves.clone();
    let again = checkpoint(x, move |x| x.gated_mlp(&inside[1], &inside[2], &inside[3])).sum_all().backward();
    leaves.iter().for_each(|leaf| assert_eq!(bits(&again.of(leaf)), bits(&whole.of(leaf))));
    let twice = x.gated_mlp(gate, gate, down).sum_all().backward();
    let (first, second) = (gate.detach().to_parameter(), gate.detach().to_parameter());
    let apart = x.gated_mlp(&first, &second, down).sum_all().backward();
    assert_eq!(bits(&twice.of(gate)), bits(&apart.of(&first).add(&apart.of(&second))));
}

#[test]
fn a_graph_says_which_layer_a_value_is_of() {
    let cpu = Cpu::<f64>::new();
    let [x, v, w] = [5, 3, 2].map(|rows| normal_parameter(&cpu, rows, &[rows as usize, 4]));
    let y = x.linears(&[(&v, None), (&w, None)]);
    for (y, weight) in y.iter().zip([&v, &w]) {
        let graph = y.graph();
        let value = graph.last().expect("the value itself");
        assert_eq!((value.op, &value.parents), ("linears", &vec![x.id().unwrap(), weight.id().unwrap()]));
        assert_eq!(graph.len(), 3);
    }
}

/// An op whose gradients have a wrong count or shape.
struct Misshapen(Vec<Option<Vec<usize>>>);
impl<B: Backend> Operation<B> for Misshapen {
    fn name(&self) -> &'static str {
        "misshapen"
    }
    fn vjp(&self, backend: &B, _: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        self.0.iter().map(|shape| shape.as_ref().map(|shape| backend.full(1.0, shape))).collect()
    }
}

/// The parent has a gradient already when the op is asked.
#[test]
fn gradients_of_a_wrong_count_or_shape_are_reported_in_the_name_of_their_op() {
    for (shapes, complaint) in [(vec![Some(vec![3])], "another shape"), (vec![Some(vec![4]), None], "one cotangent for each parent")] {
        let x = normal_parameter(&Cpu::<f64>::new(), 1, &[4]);
        let y = Tensor::record(x.backend(), x.array().clone(), &[&x], || Misshapen(shapes.clone()));
        let loss = y.add(&x.exp()).sum_all();
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| loss.backward())).err().expect("a panic");
        let message = panic.downcast_ref::<String>().expect("a message");
        assert!(message.contains("misshapen") && message.contains(complaint), "{message}");
    }
}

#[test]
fn checkpoints_nest() {
    let cpu = Cpu::<f64>::new();
    let (x, w) = (normal_parameter(&cpu, 1, &[5, 4]), normal_parameter(&cpu, 2, &[4, 4]));
    let plain = {
        let h = x.matmul(&w).tanh();
        h.matmul(&w).sum_all().backward()
    };
    let nested = {
        let w = w.clone();
        let outer = checkpoint(&x, move |x| {
            let (inner, w) = (w.clone(), w.clone());
            checkpoint(x, move |x| x.matmul(&inner).tanh()).matmul(&w)
        });
        outer.sum_all().backward()
    };
    for p in [&x, &w] {
        assert_eq!(bits(&plain.of(p)), bits(&nested.of(p)));
    }
}

#[test]
fn nothing_is_recorded_under_no_grad_and_recording_comes_back() {
    let cpu = Cpu::<f64>::new();
    let x = normal_parameter(&cpu, 1, &[3]);
    let fixed = no_grad(|| x.exp().sum_all());
    assert!(!fixed.is_differentiable() && fixed.graph().is_empty());
    assert!(fixed.backward().get(&x).is_none());
    let panicked = std::panic::catch_unwind(|| no_grad(|| panic!("inside no_grad")));
    assert!(panicked.is_err() && x.exp().is_differentiable(), "recording is back on after a panic");
}

#[test]
fn a_detached_value_is_a_constant_with_the_same_bits() {
    let cpu = Cpu::<f64>::new();
    let x = normal_parameter(&cpu, 1, &[3, 2]);
    let detached = x.exp().detach();
    assert_eq!(bits(&detached), bits(&x.exp()));
    let gradients = x.mul(&detached).sum_all().backward();
    assert_eq!(bits(&gradients.of(&x)), bits(&detached));
}

#[test]
fn a_value_used_twice_receives_the_sum_and_walks_accumulate() {
    let cpu = Cpu::<f64>::new();
    let x = normal_parameter(&cpu, 1, &[4]);
    let (twice, once) = (x.add(&x).sum_all().backward(), || x.sum_all().backward());
    assert_eq!(twice.of(&x).to_f64(), [2.0; 4]);
    let mut accumulated = once();
    accumulated.accumulate(once());
    assert_eq!(accumulated.of(&x).to_f64(), [2.0; 4]);
}

/// Two blocks and a value that every one of them uses; the first parameters of the walk are handed over before it has reached the others.
#[test]
fn gradients_are_handed_over_as_they_become_final_with_the_bits_of_the_whole_walk() {
    let cpu = Device::default();
    for recompute in [false, true] {
        let d = 6;
        let parameters: Vec<Tensor<_>> =
            (0..12).map(|i| if i % 6 == 5 { normal_parameter(&cpu, i, &[d]) } else { normal_parameter(&cpu, i, &[d, d]) }).collect();
        let (x, lonely) = (normal_parameter(&cpu, 20, &[9, d]), normal_parameter(&cpu, 21, &[2]));
        let segments = Segments::of_lengths(&[4, 5]);
        let loss = || {
            let h = block(&x, &parameters[..6], &segments, recompute);
            let h = block(&h, &parameters[6..], &segments, recompute);
            h.mul(&h).matmul(&parameters[0]).add(&x.add(&x)).mean_all()
        };
        let whole = loss().backward();
        let mut handed = Vec::new();
        loss().backward_into(|id, gradient| handed.push((id, Tensor::from_array(&cpu, gradient))));
        assert_eq!(handed.len(), parameters.len() + 1);
        let place = |tensor: &Tensor<_>| handed.iter().position(|(id, _)| Some(*id) == tensor.id()).unwrap();
        for parameter in parameters.iter().chain([&x]) {
            assert_eq!(bits(&handed[place(parameter)].1), bits(&whole.of(parameter)), "checkpoints: {recompute}");
        }
        assert!(whole.get(&lonely).is_none() && handed.iter().all(|(id, _)| Some(*id) != lonely.id()));
        let latest = |range: std::ops::Range<usize>| range.map(|i| place(&parameters[i])).max().unwrap();
        let earliest = |range: std::ops::Range<usize>| range.map(|i| place(&parameters[i])).min().unwrap();
        assert!(latest(6..12) < earliest(1..6), "the later block's gradients come first");
    }
    let root = normal_parameter(&cpu, 1, &[1]);
    let mut handed = 0;
    root.clone().backward_into(|id, _| handed += u32::from(Some(id) == root.id()));
    assert_eq!(handed, 1, "a parameter is its own loss");
}
