//! Rewriting a recorded computation before the walk back: the tests that plant mistakes in vector-Jacobian products need it.
//!
//! Every operation may be replaced by another, or wrapped, to time it or to watch what flows through it. A wrapper passes on
//!
//! - [`Operation::vjp_of_many`] and [`Operation::parents_of_value`], without which ops of several values cannot be walked;
//! - [`Operation::vjp_added`], without which the gradient takes a longer way.

use crate::backend::Backend;
use crate::tape::{Node, Operation, Role};
use crate::tensor::Tensor;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// An operation as it was recorded.
pub struct Recorded<'a, B: Backend> {
    /// The operation: its name and its vector-Jacobian product.
    pub operation: &'a Arc<dyn Operation<B>>,
    /// Its value, where that has few elements (at most 64) and was kept.
    pub value: Option<&'a B::Array>,
    /// The shapes of the values it was made from; `None` for constants.
    pub parents: Vec<Option<Vec<usize>>>,
}

/// Replaces operations, on any backend.
pub trait Rewrite: Send + Sync + 'static {
    /// What stands in an operation's place; `None` leaves it as it is.
    fn operation<B: Backend>(&self, recorded: &Recorded<'_, B>) -> Option<Arc<dyn Operation<B>>>;
}

impl<B: Backend> Tensor<B> {
    /// The same value with the operations that made it replaced as `rewrite` says. Parameters stay the same, so gradients are found by
    /// them as before. What [`checkpoint`](crate::checkpoint()) records anew in the backward pass is not rewritten.
    pub fn rewritten(self, rewrite: &impl Rewrite) -> Self {
        let Self { backend, value, node } = self;
        let node = node.map(|root| {
            let mut copies: HashMap<u64, Arc<Node<B>>> = HashMap::new();
            for (id, node) in below(root.clone()) {
                let copy = copy(&node, &copies, rewrite);
                copies.insert(id, copy);
            }
            copies[&root.id].clone()
        });
        Self { backend, value, node }
    }
}

/// A node and everything it was made from; ancestors have the smaller numbers.
fn below<B: Backend>(root: Arc<Node<B>>) -> BTreeMap<u64, Arc<Node<B>>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root];
    while let Some(node) = pending.pop() {
        if let Entry::Vacant(place) = found.entry(node.id) {
            pending.extend(node.parents.iter().flatten().cloned());
            place.insert(node);
        }
    }
    found
}

/// A node with its operation rewritten and its parents' copies in their place; parameters are not copied.
fn copy<B: Backend>(node: &Arc<Node<B>>, copies: &HashMap<u64, Arc<Node<B>>>, rewrite: &impl Rewrite) -> Arc<Node<B>> {
    let Some(operation) = &node.operation else { return node.clone() };
    let parents: Vec<_> = node.parents.iter().map(|parent| parent.as_ref().map(|parent| copies[&parent.id].clone())).collect();
    let operation = match (node.role, &parents[..]) {
        (Role::ValueOfMany(_), [Some(op)]) => op.operation.clone(),
        _ => {
            let parents = node.parents.iter().map(|parent| parent.as_ref().map(|parent| parent.shape.to_vec())).collect();
            let recorded = Recorded { operation, value: node.kept.as_ref(), parents };
            Some(rewrite.operation(&recorded).unwrap_or_else(|| operation.clone()))
        }
    };
    Arc::new(Node { id: node.id, shape: node.shape.clone(), kept: node.kept.clone(), operation, parents, role: node.role })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;

    /// Counts as `neg` whatever was `exp`, backwards only.
    struct ExpBecomesNeg;
    struct Minus;
    impl<B: Backend> Operation<B> for Minus {
        fn name(&self) -> &'static str {
            "minus"
        }
        fn vjp(&self, backend: &B, cotangent: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
            vec![Some(backend.scale(&cotangent, -1.0))]
        }
    }
    impl Rewrite for ExpBecomesNeg {
        fn operation<B: Backend>(&self, recorded: &Recorded<'_, B>) -> Option<Arc<dyn Operation<B>>> {
            (recorded.operation.name() == "exp").then(|| Arc::new(Minus) as Arc<dyn Operation<B>>)
        }
    }

    #[test]
    fn a_rewritten_value_is_the_same_and_its_gradient_is_the_new_operations() {
        let x = Tensor::parameter(&Cpu::<f64>::new(), &[2.0], &[]);
        let y = x.exp().mul(&x.exp()).scale(3.0);
        let rewritten = y.clone().rewritten(&ExpBecomesNeg);
        assert_eq!(rewritten.item(), y.item());
        let e2 = 2f64.exp();
        assert_eq!(rewritten.clone().backward().of(&x).item(), -3.0 * e2 - 3.0 * e2);
        assert_eq!(rewritten.graph().iter().filter(|node| node.op == "minus").count(), 2);
        assert!((y.backward().of(&x).item() - 6.0 * e2 * e2).abs() < 1e-10, "the original is untouched");
    }
}
