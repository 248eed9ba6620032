//! Tensors: an array on a backend together with its place in the recorded computation.
//!
//! The mathematical methods of [`Tensor`] live in `ops/`, one file an op.

use crate::backend::Backend;
use crate::profile::{self, Pass};
use crate::scalar::Scalar;
use crate::shape;
use crate::tape::{Node, Operation, is_recording};
use crate::watch;
use std::fmt;
use std::sync::Arc;

/// An immutable array of numbers on a backend. Cloning shares the storage.
#[derive(Clone)]
pub struct Tensor<B: Backend> {
    pub(crate) backend: B,
    pub(crate) value: B::Array,
    pub(crate) node: Option<Arc<Node<B>>>,
}

impl<B: Backend> Tensor<B> {
    /// A constant from its elements in row-major order.
    ///
    /// # Panics
    /// If the number of elements is not the product of the shape.
    #[track_caller]
    pub fn constant(backend: &B, data: &[f64], shape: &[usize]) -> Self {
        Self::from_vec(backend, data.iter().map(|&x| B::Scalar::from_f64(x)).collect(), shape)
    }

    /// A constant from elements of the backend's own type, in row-major order.
    ///
    /// # Panics
    /// If the number of elements is not the product of the shape.
    #[track_caller]
    pub fn from_vec(backend: &B, data: Vec<B::Scalar>, shape: &[usize]) -> Self {
        assert_eq!(data.len(), shape::count(shape), "tensor: {} elements do not fill the shape {shape:?}", data.len());
        Self::from_array(backend, backend.from_vec(data, shape))
    }

    /// A parameter: a value that gradients are taken with respect to.
    ///
    /// # Panics
    /// If the number of elements is not the product of the shape.
    #[track_caller]
    pub fn parameter(backend: &B, data: &[f64], shape: &[usize]) -> Self {
        Self::constant(backend, data, shape).to_parameter()
    }

    /// A constant with every element equal.
    pub fn full(backend: &B, value: f64, shape: &[usize]) -> Self {
        Self::from_array(backend, backend.full(value, shape))
    }

    /// A constant around an array of the backend.
    pub fn from_array(backend: &B, value: B::Array) -> Self {
        Self { backend: backend.clone(), value, node: None }
    }

    /// The same value as a new parameter, cut from any computation that made it.
    pub fn to_parameter(&self) -> Self {
        let node = Node::leaf(&self.backend, &self.value);
        Self { backend: self.backend.clone(), value: self.value.clone(), node: Some(node) }
    }

    /// The extents of the axes; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        self.backend.shape(&self.value)
    }
    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.shape().len()
    }
    /// The number of elements.
    pub fn len(&self) -> usize {
        shape::count(self.shape())
    }
    /// True if it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The backend it lives on.
    pub fn backend(&self) -> &B {
        &self.backend
    }
    /// The array on the backend.
    pub fn array(&self) -> &B::Array {
        &self.value
    }
    /// The array on the backend, taken out: its storage is no longer shared with this tensor.
    pub fn into_array(self) -> B::Array {
        self.value
    }
    /// The number of a value that gradients flow through; `None` for a constant.
    pub fn id(&self) -> Option<u64> {
        self.node.as_ref().map(|node| node.id)
    }
    /// True if a gradient flows through it.
    pub fn is_differentiable(&self) -> bool {
        self.node.is_some()
    }
    /// The elements in row-major order.
    pub fn to_vec(&self) -> Vec<B::Scalar> {
        self.backend.to_vec(&self.value)
    }
    /// The real parts of the elements, in row-major order.
    pub fn to_f64(&self) -> Vec<f64> {
        self.to_vec().into_iter().map(Scalar::to_f64).collect()
    }
    /// The value of a tensor of one element.
    ///
    /// # Panics
    /// If it has another number of elements.
    #[track_caller]
    pub fn item(&self) -> f64 {
        assert_eq!(self.len(), 1, "item: a tensor of shape {:?} is not one number", self.shape());
        self.to_vec()[0].to_f64()
    }

    /// The result of an op on `parents`: recorded if a gradient flows through one of them and recording is on.
    /// `operation` is only built in that case.
    pub fn record<O: Operation<B>>(backend: &B, value: B::Array, parents: &[&Tensor<B>], operation: impl FnOnce() -> O) -> Self {
        let mut operation = Some(operation);
        Self::record_any(backend, value, parents, &mut || Arc::new(operation.take().expect("built once")()))
    }

    /// [`Tensor::record`] behind a pointer: compiled once, not once for each op.
    fn record_any(backend: &B, value: B::Array, parents: &[&Tensor<B>], build: &mut dyn FnMut() -> Arc<dyn Operation<B>>) -> Self {
        let wanted = Self::records(parents);
        let watched = watch::is_watching();
        let operation = (wanted || watched).then(build);
        if let Some(operation) = operation.as_ref().filter(|_| watched) {
            watch::forward(backend, &value, parents.iter().filter_map(|p| p.node.as_ref()), operation.name());
        }
        let node = operation.filter(|_| wanted).map(|operation| (operation, nodes_of(parents)));
        Self::recorded(backend, value, node)
    }

    /// [`Tensor::record`] for an op that forms its value from its first parent's, which nothing needs afterwards: in its storage, where
    /// nothing else shares that.
    pub(crate) fn record_into<O: Operation<B>>(
        self,
        others: &[&Tensor<B>],
        form: impl FnOnce(&B, B::Array) -> B::Array,
        operation: impl FnOnce() -> O,
    ) -> Self {
        let parents: Vec<&Tensor<B>> = std::iter::once(&self).chain(others.iter().copied()).collect();
        if watch::is_watching() {
            let value = form(&self.backend, self.value.clone());
            return Self::record(&self.backend, value, &parents, operation);
        }
        let node = Self::records(&parents).then(|| (Arc::new(operation()) as Arc<dyn Operation<B>>, nodes_of(&parents)));
        let Self { backend, value, .. } = self;
        let value = form(&backend, value);
        Self::recorded(&backend, value, node)
    }

    /// A value, with a node of this operation and these parents if it is to be recorded.
    fn recorded(backend: &B, value: B::Array, node: Option<Recorded<B>>) -> Self {
        let node = node.map(|(operation, parents)| Node::new(backend, &value, operation, parents));
        let bytes = || (size_of::<B::Scalar>() * shape::count(backend.shape(&value))) as u64;
        profile::mark(Pass::Forward, node.as_ref().map_or("unrecorded", |node| node.name()), bytes);
        Self { backend: backend.clone(), value, node }
    }

    /// True if an op on `parents` would be recorded: a gradient flows through one of them, and recording is on.
    pub fn records(parents: &[&Tensor<B>]) -> bool {
        is_recording() && parents.iter().any(|p| p.node.is_some())
    }
}

/// An op with the nodes of its parents.
type Recorded<B> = (Arc<dyn Operation<B>>, Vec<Option<Arc<Node<B>>>>);

/// The nodes of an op's parents.
fn nodes_of<B: Backend>(parents: &[&Tensor<B>]) -> Vec<Option<Arc<Node<B>>>> {
    parents.iter().map(|p| p.node.clone()).collect()
}

impl<B: Backend> fmt::Debug for Tensor<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor<{}> {:?}", B::Scalar::NAME, self.shape())?;
        if self.len() <= 16 { write!(f, " {:?}", self.to_vec()) } else { Ok(()) }
    }
}
