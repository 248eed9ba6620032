//! The recorded graph of a value, listed and drawn with Graphviz: `slpo explain` needs it.

use crate::backend::Backend;
use crate::backward::Gradients;
use crate::scalar::Scalar;
use crate::shape::count;
use crate::tape::Node;
use crate::tensor::Tensor;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// One recorded value.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphNode {
    /// Its number: larger than those of the values it was made from.
    pub id: u64,
    /// The op that made it, or `parameter`.
    pub op: &'static str,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The numbers of the values it was made from; constants are left out.
    pub parents: Vec<u64>,
    /// Its elements, where there are few and it is not a parameter.
    pub value: Option<Vec<f64>>,
}

/// Values and gradients of more elements than this are left out of a drawing.
const DRAWN_ELEMENTS: usize = 4;

impl<B: Backend> Tensor<B> {
    /// Every recorded value that this one depends on, itself last.
    pub fn graph(&self) -> Vec<GraphNode> {
        let mut found: BTreeMap<u64, GraphNode> = BTreeMap::new();
        let mut pending: Vec<&Arc<Node<B>>> = self.node.iter().collect();
        while let Some(node) = pending.pop() {
            if found.contains_key(&node.id) {
                continue;
            }
            let value = node.kept.as_ref().map(|kept| self.backend.to_vec(kept).into_iter().map(Scalar::to_f64).collect());
            let parents = node.sources().iter().map(|p| p.id).collect();
            found.insert(node.id, GraphNode { id: node.id, op: node.name(), shape: node.shape.to_vec(), parents, value });
            pending.extend(node.sources());
        }
        found.into_values().collect()
    }

    /// The graph in Graphviz's DOT language. With `gradients` (from [`Tensor::backward_keeping_all`]) the small values show theirs.
    pub fn to_dot(&self, gradients: Option<&Gradients<B>>) -> String {
        let mut dot = String::from("digraph {\n  rankdir=LR; node [shape=box, style=rounded, fontname=\"monospace\"];\n");
        for node in self.graph() {
            let mut label = format!("{} {:?}", node.op, node.shape);
            let small = |shape: &[usize]| count(shape) <= DRAWN_ELEMENTS;
            if let Some(value) = node.value.as_ref().filter(|_| small(&node.shape)) {
                let _ = write!(label, "\\n{}", numbers(value));
            }
            if let Some(gradient) = gradients.and_then(|g| g.by_id(node.id)).filter(|_| small(&node.shape)) {
                let gradient: Vec<f64> = self.backend.to_vec(gradient).into_iter().map(Scalar::to_f64).collect();
                let _ = write!(label, "\\n∂ {}", numbers(&gradient));
            }
            let _ = writeln!(dot, "  n{} [label=\"{label}\"];", node.id);
            for parent in &node.parents {
                let _ = writeln!(dot, "  n{parent} -> n{};", node.id);
            }
        }
        dot.push_str("}\n");
        dot
    }
}

fn numbers(values: &[f64]) -> String {
    values.iter().map(|v| format!("{v:.4}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use crate::{Cpu, Tensor};

    #[test]
    fn a_graph_lists_parents_before_children_and_draws_values_and_gradients() {
        let cpu = Cpu::<f64>::new();
        let x = Tensor::parameter(&cpu, &[3.0], &[]);
        let loss = x.mul(&x).add(&x);
        let graph = loss.graph();
        assert_eq!(graph.iter().map(|n| n.op).collect::<Vec<_>>(), ["parameter", "mul", "add"]);
        assert_eq!(graph[1].parents, vec![graph[0].id; 2]);
        let gradients = loss.clone().backward_keeping_all();
        let dot = loss.to_dot(Some(&gradients));
        assert!(dot.contains("mul []\\n9.0000\\n∂ 1.0000"), "{dot}");
        assert!(dot.contains("∂ 7.0000"), "{dot}");
    }

    #[test]
    fn a_chain_of_a_million_ops_is_walked_and_freed_without_recursion() {
        let cpu = Cpu::<f64>::new();
        let x = Tensor::parameter(&cpu, &[1.0], &[]);
        let mut y = x.clone();
        for _ in 0..1_000_000 {
            y = y.neg();
        }
        drop(y.clone());
        assert_eq!(y.backward().of(&x).item(), 1.0);
    }
}
