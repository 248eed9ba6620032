//! Recording an op of several values: [`linears`](crate::ops::linears), several layers of the same rows in one pass, needs it.

use super::{Node, Operation, Role};
use crate::backend::Backend;
use crate::profile::{self, Pass};
use crate::shape::count;
use crate::tensor::Tensor;
use crate::watch;
use std::sync::Arc;

impl<B: Backend> Tensor<B> {
    /// As [`Tensor::record`] for an op of several values, whose [`Operation::vjp_of_many`] is then asked.
    ///
    /// # Panics
    /// If there are no values.
    pub fn record_many<O: Operation<B>>(
        backend: &B,
        values: Vec<B::Array>,
        parents: &[&Tensor<B>],
        operation: impl FnOnce() -> O,
    ) -> Vec<Self> {
        assert!(!values.is_empty(), "record_many: an op without values");
        let wanted = Self::records(parents);
        let watched = watch::is_watching();
        let operation = (wanted || watched).then(operation);
        if let Some(operation) = operation.as_ref().filter(|_| watched) {
            for (index, value) in values.iter().enumerate() {
                let own = Operation::<B>::parents_of_value(operation, index, parents.len());
                let own = own.into_iter().filter_map(|parent| parents[parent].node.as_ref());
                watch::forward(backend, value, own, Operation::<B>::name(operation));
            }
        }
        let nodes = operation.filter(|_| wanted).map(|operation| {
            let parents = parents.iter().map(|p| p.node.clone()).collect();
            nodes_of_values(backend, &values, Arc::new(operation), parents)
        });
        let bytes = || values.iter().map(|value| (size_of::<B::Scalar>() * count(backend.shape(value))) as u64).sum();
        profile::mark(Pass::Forward, nodes.as_ref().map_or("unrecorded", |nodes| nodes[0].name()), bytes);
        let mut nodes = nodes.into_iter().flatten();
        values.into_iter().map(|value| Self { backend: backend.clone(), value, node: nodes.next() }).collect()
    }
}

/// The nodes of an op's values. Their parent is a node for the op itself, which has no value and holds the op's own parents.
fn nodes_of_values<B: Backend>(
    backend: &B,
    values: &[B::Array],
    operation: Arc<dyn Operation<B>>,
    parents: Vec<Option<Arc<Node<B>>>>,
) -> Vec<Arc<Node<B>>> {
    let (id, role) = (Node::<B>::take_id(), Role::OpOfMany(values.len()));
    let op = Arc::new(Node { id, shape: [].into(), kept: None, operation: Some(operation.clone()), parents, role });
    let of = |(index, value)| Node::make(backend, value, Some(operation.clone()), vec![Some(op.clone())], Role::ValueOfMany(index));
    values.iter().enumerate().map(of).collect()
}
