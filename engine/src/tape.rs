//! The tape: which op made which value from which.
//!
//! Recording is define-by-run. A node knows its operation (with what it saved) and its parents. Nodes are numbered in the order they are
//! made, so visiting the largest number first is a reverse topological order: [`backward`](crate::backward) does so.

use crate::backend::Backend;
use crate::shape::count;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

mod many;

/// An op as the tape keeps it: what it saved from its forward pass, and its vector-Jacobian product.
pub trait Operation<B: Backend>: Send + Sync + 'static {
    /// The op's name, as in `ops/`.
    fn name(&self) -> &'static str;

    /// x̄ᵢ = (∂y/∂xᵢ)ᵀ ȳ for each parent i with `needed[i]`; `None` for the others.
    fn vjp(&self, backend: &B, cotangent: B::Array, needed: &[bool]) -> Vec<Option<B::Array>>;

    /// Like [`Operation::vjp`], but adds each x̄ᵢ to `sums[i]` and returns the sums: `None` where there is neither. Override it when adding
    /// in place saves a buffer. If a parent is given twice, its first entry has the sum.
    fn vjp_added(&self, backend: &B, cotangent: B::Array, needed: &[bool], sums: Vec<Option<B::Array>>) -> Vec<Option<B::Array>> {
        add_cotangents(backend, self.name(), sums, self.vjp(backend, cotangent, needed))
    }

    /// Like [`Operation::vjp`] for an op of several values (`tape/many.rs`), from the cotangents of those values that have one.
    ///
    /// # Panics
    /// If the op makes one value.
    fn vjp_of_many(&self, _backend: &B, _cotangents: Vec<Option<B::Array>>, _needed: &[bool]) -> Vec<Option<B::Array>> {
        one_value_as_several(self.name())
    }

    /// The parents that value number `value` was made from, for an op of several values.
    fn parents_of_value(&self, _value: usize, parents: usize) -> Vec<usize> {
        (0..parents).collect()
    }
}

/// The default of [`Operation::vjp_of_many`], compiled once for all ops.
#[cold]
fn one_value_as_several(op: &str) -> ! {
    panic!("{op}: one value was recorded as several")
}

/// Adds each term to its sum; where only one of the two is there, it is the sum.
///
/// # Panics
/// If there are not as many terms as sums, or their shapes differ.
pub fn add_cotangents<B: Backend>(
    backend: &B,
    op: &str,
    sums: Vec<Option<B::Array>>,
    terms: Vec<Option<B::Array>>,
) -> Vec<Option<B::Array>> {
    assert_eq!(terms.len(), sums.len(), "{op}: one cotangent for each parent");
    let add = |(sum, term): (Option<B::Array>, Option<B::Array>)| match (sum, term) {
        (Some(sum), Some(term)) => {
            assert_eq!(backend.shape(&term), backend.shape(&sum), "{op}: the cotangent of a parent has another shape");
            Some(backend.accumulate(sum, &term))
        }
        (sum, term) => sum.or(term),
    };
    sums.into_iter().zip(terms).map(add).collect()
}

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A value.
    Value,
    /// An op that makes this many values, which are nodes of their own.
    OpOfMany(usize),
    /// One of the values of its parent, an op of many.
    ValueOfMany(usize),
}

/// Values of at most this many elements are kept in their node, for printing a graph.
const KEPT_VALUE: usize = 64;

/// A recorded value: the op that made it and the nodes it was made from. Parents without a gradient are `None`.
pub struct Node<B: Backend> {
    pub(crate) id: u64,
    pub(crate) shape: Box<[usize]>,
    pub(crate) kept: Option<B::Array>,
    pub(crate) operation: Option<Arc<dyn Operation<B>>>,
    pub(crate) parents: Vec<Option<Arc<Node<B>>>>,
    pub(crate) role: Role,
}

static NEXT_NODE: AtomicU64 = AtomicU64::new(0);

impl<B: Backend> Node<B> {
    pub(crate) fn leaf(backend: &B, value: &B::Array) -> Arc<Self> {
        Self::make(backend, value, None, Vec::new(), Role::Value)
    }

    pub(crate) fn new(backend: &B, value: &B::Array, operation: Arc<dyn Operation<B>>, parents: Vec<Option<Arc<Node<B>>>>) -> Arc<Self> {
        Self::make(backend, value, Some(operation), parents, Role::Value)
    }

    pub(crate) fn make(
        backend: &B,
        value: &B::Array,
        operation: Option<Arc<dyn Operation<B>>>,
        parents: Vec<Option<Arc<Node<B>>>>,
        role: Role,
    ) -> Arc<Self> {
        let shape: Box<[usize]> = backend.shape(value).into();
        let kept = (operation.is_some() && count(&shape) <= KEPT_VALUE).then(|| value.clone());
        Arc::new(Self { id: Self::take_id(), shape, kept, operation, parents, role })
    }

    /// The nodes that the value was made from; for one of many values, those of its op that it depends on.
    pub(crate) fn sources(&self) -> Vec<&Arc<Self>> {
        match (self.role, &self.parents[..], &self.operation) {
            (Role::ValueOfMany(index), [Some(op)], Some(operation)) => {
                let own = operation.parents_of_value(index, op.parents.len());
                own.into_iter().filter_map(|parent| op.parents[parent].as_ref()).collect()
            }
            _ => self.parents.iter().flatten().collect(),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.operation.as_ref().map_or("parameter", |operation| operation.name())
    }

    /// A number larger than those of all nodes so far.
    pub(crate) fn take_id() -> u64 {
        NEXT_NODE.fetch_add(1, Ordering::Relaxed)
    }

    /// The smallest number that the next node made anywhere can have.
    pub(crate) fn next_id() -> u64 {
        NEXT_NODE.load(Ordering::Relaxed)
    }
}

/// Frees a long chain of nodes in a loop: the default would recurse once for each op.
impl<B: Backend> Drop for Node<B> {
    fn drop(&mut self) {
        let mut orphans: Vec<Arc<Node<B>>> = self.parents.drain(..).flatten().collect();
        while let Some(orphan) = orphans.pop() {
            if let Ok(mut node) = Arc::try_unwrap(orphan) {
                orphans.extend(node.parents.drain(..).flatten());
            }
        }
    }
}

thread_local! {
    static RECORDING: Cell<bool> = const { Cell::new(true) };
}

/// True if recording is on in this thread.
pub(crate) fn is_recording() -> bool {
    RECORDING.get()
}

/// Runs `f` with recording set as told, and sets it back even if `f` panics.
pub(crate) fn with_recording<R>(on: bool, f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            RECORDING.set(self.0);
        }
    }
    let _restore = Restore(RECORDING.replace(on));
    f()
}

/// Runs `f` without recording: its results are constants.
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    with_recording(false, f)
}
