//! Examples of the ops that a decoder is made of.

use crate::example;
use crate::explain::Example;
use crate::ops::rope::RotaryTable;
use crate::rotary::Pairing;
use crate::segments::Segments;
use crate::tensor::Tensor;

pub(crate) fn matmul() -> Example {
    example!(|a: [1.0, 2.0, 3.0, 4.0] => [2, 2]; b: [0.5, -1.0, 2.0, 0.0] => [2, 2]| a.matmul(b))
}

pub(crate) fn linear() -> Example {
    example!(
        |x: [1.0, 2.0, 3.0, 4.0] => [2, 2]; w: [0.5, -1.0, 2.0, 0.0, 1.0, 1.0] => [3, 2]; b: [0.1, 0.2, 0.3] => [3]| x.linear(w, Some(b)),
        twin x.matmul(&w.t()).add(b)
    )
    .given("two tokens with two features each, three output features")
}

pub(crate) fn linears() -> Example {
    example!(
        |x: [1.0, 2.0, 3.0, 4.0] => [2, 2]; v: [0.5, -1.0] => [1, 2]; w: [2.0, 0.0, 1.0, 1.0] => [2, 2]; b: [0.1, 0.2] => [2]|
            Tensor::concat(&x.linears(&[(v, None), (w, Some(b))]).iter().collect::<Vec<_>>(), 1),
        twin Tensor::concat(&[&x.matmul(&v.t()), &x.matmul(&w.t()).add(b)], 1)
    )
    .given("two tokens with two features each, a layer of one output feature and a layer of two, their values side by side")
}

pub(crate) fn gated_mlp() -> Example {
    example!(
        |x: [1.0, 2.0, -1.0, 0.5] => [2, 2]; g: [0.5, -1.0, 2.0, 0.0] => [2, 2]; u: [1.0, 1.0, 0.0, -0.5] => [2, 2];
            d: [1.0, -2.0] => [1, 2]| x.gated_mlp(g, u, d),
        twin x.linear(g, None).swiglu(&x.linear(u, None)).linear(d, None)
    )
    .given("two tokens with two features each, two inner features, one output feature")
}

pub(crate) fn rope() -> Example {
    example!(|x: [1.0, 0.0, 2.0, 1.0, 1.0, 0.0, 2.0, 1.0] => [2, 1, 4]| {
        let table = RotaryTable::new(x.backend(), &[0, 2], &[1.0, 0.01], Pairing::Adjacent);
        x.rope(&table)
    })
    .given("two tokens at positions 0 and 2 with the same features, one head; pairs (0, 1) and (2, 3) with frequencies 1 and 0.01")
}

pub(crate) fn attention() -> Example {
    example!(
        |q: [1.0, 0.0, 0.5, 1.0] => [2, 1, 2]; k: [1.0, 0.0, 0.0, 2.0] => [2, 1, 2]; v: [1.0, 2.0, -1.0, 0.5] => [2, 1, 2]|
            q.attention(k, v, &Segments::of_lengths(&[2]), 0.7),
        twin {
            let [q, k, v] = [q, k, v].map(|x| x.reshape(&[2, 2]));
            let mask = Tensor::constant(q.backend(), &[0.0, f64::NEG_INFINITY, 0.0, 0.0], &[2, 2]);
            q.matmul(&k.t()).scale(0.7).add(&mask).softmax().matmul(&v).reshape(&[2, 1, 2])
        }
    )
    .given("one sequence of two tokens, one head of two features, c = 0.7; the first token sees itself only")
}

pub(crate) fn linear_log_prob() -> Example {
    example!(
        |h: [1.0, 0.5, -1.0, 2.0] => [2, 2]; w: [1.0, 0.0, 0.0, 1.0, 0.5, -0.5] => [3, 2]| h.linear_log_prob(w, &[0, 1].into()),
        twin h.matmul(&w.t()).cross_entropy(&[0, 1].into()).neg()
    )
    .given("two tokens, two features, a vocabulary of three; the targets are 0 and 1")
}

pub(crate) fn linear_cross_entropy() -> Example {
    example!(
        |h: [1.0, 0.5, -1.0, 2.0] => [2, 2]; w: [1.0, 0.0, 0.0, 1.0, 0.5, -0.5] => [3, 2]| h.linear_cross_entropy(w, &[0, 1].into()),
        twin h.matmul(&w.t()).cross_entropy(&[0, 1].into()).sum_all()
    )
    .given("two tokens, two features, a vocabulary of three; the targets are 0 and 1")
}

pub(crate) fn checkpoint() -> Example {
    example!(|x: [1.0, -0.5, 2.0] => [3]| crate::checkpoint(x, |x| x.tanh().mul(x)), twin x.tanh().mul(x))
}
