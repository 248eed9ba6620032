//! Recomputation instead of storage (Chen et al. 2016): the values inside are formed again when the walk back reaches them.
//!
//! forward  y = f(x), recording nothing inside
//! vjp      f is run again on the same values, and the walk continues through that recording
#![doc = include_str!("../explain/text/checkpoint.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::backward::{Keep, walk};
use crate::tape::{Node, with_recording};
use std::collections::BTreeMap;
use std::sync::Arc;

struct Checkpoint<B: Backend> {
    rerun: Box<dyn Fn() -> Tensor<B> + Send + Sync>,
    /// The numbers of the parents, in order.
    parents: Vec<u64>,
}

impl<B: Backend> Operation<B> for Checkpoint<B> {
    fn name(&self) -> &'static str {
        "checkpoint"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        let start = Node::<B>::next_id();
        let y = with_recording(true, || (self.rerun)());
        let root = y.node.clone().expect("a checkpoint that was recorded is differentiable");
        drop(y);
        let gradients = walk(backend, root, y_bar, start, Keep::Parameters);
        self.parents.iter().map(|&parent| gradients.by_id(parent).cloned()).collect()
    }
}

/// The nodes made before `start` that a recording reaches first: what the function inside a checkpoint was given or captured.
fn frontier<B: Backend>(root: &Arc<Node<B>>, start: u64) -> Vec<Arc<Node<B>>> {
    let (mut seen, mut pending) = (BTreeMap::new(), vec![root.clone()]);
    while let Some(node) = pending.pop() {
        if seen.insert(node.id, node.clone()).is_none() && node.id >= start {
            pending.extend(node.parents.iter().flatten().cloned());
        }
    }
    seen.into_values().filter(|node| node.id < start).collect()
}

/// f(x) with nothing inside kept for the backward pass: f is run again then. Gradients flow to x and to every tensor f captured.
///
/// f must be a pure function: run twice, it must give the same value. A parameter made inside f has no gradient outside.
pub fn checkpoint<B: Backend>(x: &Tensor<B>, f: impl Fn(&Tensor<B>) -> Tensor<B> + Send + Sync + 'static) -> Tensor<B> {
    let start = Node::<B>::next_id();
    let y = f(x);
    let Some(root) = y.node.as_ref().filter(|node| node.id >= start) else { return y };
    let parents = frontier(root, start);
    let node = {
        let x = x.clone();
        let operation = Checkpoint { rerun: Box::new(move || f(&x)), parents: parents.iter().map(|p| p.id).collect() };
        Node::new(&y.backend, &y.value, Arc::new(operation), parents.into_iter().map(Some).collect())
    };
    Tensor { backend: y.backend.clone(), value: y.value.clone(), node: Some(node) }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let [n, d] = [draw.extent(), draw.extent()];
    let inputs = [draw.normal(&[n, d]), draw.normal(&[d, d])];
    Sample::new(
        function!(|x| {
            let weight = x[1].clone();
            checkpoint(&x[0].tanh(), move |x| x.matmul(&weight).silu().mul(x))
        }),
        inputs,
    )
    .with_twin(function!(|x| {
        let h = x[0].tanh();
        h.matmul(&x[1]).silu().mul(&h)
    }))
}
