//! The walk back along the tape, and the gradients it finds.
//!
//! The walk visits the node with the largest number first. It takes the operation's saved arrays with it: what nobody else holds is freed
//! as the walk passes.

use crate::backend::Backend;
use crate::profile::{self, Pass};
use crate::shape::count;
use crate::tape::{Node, Role, add_cotangents};
use crate::tensor::Tensor;
use crate::watch;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// The gradients that a walk found, by tensor, in the order in which the tensors were made.
pub struct Gradients<B: Backend> {
    backend: B,
    by_node: BTreeMap<u64, B::Array>,
}

impl<B: Backend> Gradients<B> {
    /// The gradient with respect to a tensor, or `None` where it did not take part or was not kept.
    pub fn get(&self, tensor: &Tensor<B>) -> Option<Tensor<B>> {
        self.array(tensor).map(|array| Tensor::from_array(&self.backend, array.clone()))
    }

    /// The gradient with respect to a tensor: zero where it did not take part.
    pub fn of(&self, tensor: &Tensor<B>) -> Tensor<B> {
        self.get(tensor).unwrap_or_else(|| Tensor::full(&self.backend, 0.0, tensor.shape()))
    }

    /// The gradient's array, or `None` where the tensor did not take part.
    pub fn array(&self, tensor: &Tensor<B>) -> Option<&B::Array> {
        self.by_node.get(&tensor.node.as_ref()?.id)
    }

    /// The gradients of some tensors, from their arrays; constants have none.
    pub fn of_arrays<'a>(backend: &B, arrays: impl IntoIterator<Item = (&'a Tensor<B>, B::Array)>) -> Self {
        let by_node = arrays.into_iter().filter_map(|(tensor, array)| Some((tensor.node.as_ref()?.id, array))).collect();
        Self { backend: backend.clone(), by_node }
    }

    /// Takes the gradient's array out.
    pub fn take(&mut self, tensor: &Tensor<B>) -> Option<B::Array> {
        self.by_node.remove(&tensor.node.as_ref()?.id)
    }

    /// Adds another walk's gradients to these: gradient accumulation.
    pub fn accumulate(&mut self, other: Self) {
        for (id, array) in other.by_node {
            add_to(&self.backend, &mut self.by_node, id, array);
        }
    }

    pub(crate) fn by_id(&self, id: u64) -> Option<&B::Array> {
        self.by_node.get(&id)
    }
}

fn add_to<B: Backend>(backend: &B, sums: &mut BTreeMap<u64, B::Array>, id: u64, array: B::Array) {
    let sum = match sums.remove(&id) {
        Some(sum) => backend.accumulate(sum, &array),
        None => array,
    };
    sums.insert(id, sum);
}

/// What a walk keeps besides the gradients of parameters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Parameters,
    Everything,
}

/// Who takes each parameter's gradient as soon as the walk can add nothing more to it.
struct Receiver<'a, B: Backend> {
    /// How many recorded uses of each parameter the walk has not passed yet.
    uses: HashMap<u64, usize>,
    take: &'a mut dyn FnMut(u64, B::Array),
}

impl<'a, B: Backend> Receiver<'a, B> {
    fn new(root: &Arc<Node<B>>, take: &'a mut dyn FnMut(u64, B::Array)) -> Self {
        let (mut uses, mut seen, mut pending) = (HashMap::new(), HashSet::from([root.id]), vec![root]);
        while let Some(node) = pending.pop() {
            for parent in node.parents.iter().flatten() {
                if parent.operation.is_none() {
                    *uses.entry(parent.id).or_insert(0) += 1;
                } else if seen.insert(parent.id) {
                    pending.push(parent);
                }
            }
        }
        Self { uses, take }
    }

    /// Counts a use of the node that the walk has passed. True if it is a parameter and this was its last use.
    fn is_final(&mut self, node: &Node<B>) -> bool {
        let Some(left) = self.uses.get_mut(&node.id) else { return false };
        *left -= 1;
        *left == 0
    }
}

/// Walks back from `root`, whose cotangent is `seed`, to the parameters and to nodes numbered below `stop`.
pub(crate) fn walk<B: Backend>(backend: &B, root: Arc<Node<B>>, seed: B::Array, stop: u64, keep: Keep) -> Gradients<B> {
    Walk::new(backend, root, seed, stop, keep).run(None)
}

/// A walk back along the tape.
struct Walk<'a, B: Backend> {
    backend: &'a B,
    stop: u64,
    keep: Keep,
    /// The nodes that something was found for and that have not been visited.
    frontier: BTreeMap<u64, Arc<Node<B>>>,
    /// What was found for them so far.
    cotangents: BTreeMap<u64, B::Array>,
    /// What was found for the values of ops of many.
    of_many: BTreeMap<u64, Vec<Option<B::Array>>>,
    /// Where the walk has ended.
    found: BTreeMap<u64, B::Array>,
}

impl<'a, B: Backend> Walk<'a, B> {
    fn new(backend: &'a B, root: Arc<Node<B>>, seed: B::Array, stop: u64, keep: Keep) -> Self {
        let cotangents = BTreeMap::from([(root.id, seed)]);
        let frontier = BTreeMap::from([(root.id, root)]);
        Self { backend, stop, keep, frontier, cotangents, of_many: BTreeMap::new(), found: BTreeMap::new() }
    }

    fn run(mut self, mut receiver: Option<Receiver<'_, B>>) -> Gradients<B> {
        while let Some((_, node)) = self.frontier.pop_last() {
            let Some(found) = self.parents_of(&node) else { continue };
            self.deliver(&node, found);
            if let Some(receiver) = &mut receiver {
                self.hand_over(&node, receiver);
            }
            drop(node);
            profile::mark(Pass::Backward, "accumulate", || 0);
        }
        Gradients { backend: self.backend.clone(), by_node: self.found }
    }

    /// The cotangents of a node's parents, with what was found for them before. `None` where the walk ends, and for one of an op's many
    /// values, whose cotangent waits for the others.
    fn parents_of(&mut self, node: &Node<B>) -> Option<Vec<Option<B::Array>>> {
        let needed: Vec<bool> = node.parents.iter().map(Option::is_some).collect();
        if let Some(values) = self.of_many.remove(&node.id) {
            let operation = node.operation.as_ref().expect("an op of many is an operation");
            let terms = operation.vjp_of_many(self.backend, values, &needed);
            return Some(self.add_terms(node, terms));
        }
        let cotangent = self.cotangents.remove(&node.id).expect("a node on the frontier has received a cotangent");
        let Some(operation) = node.operation.as_ref().filter(|_| node.id >= self.stop) else {
            self.found.insert(node.id, cotangent);
            return None;
        };
        if self.keep == Keep::Everything {
            self.found.insert(node.id, cotangent.clone());
        }
        if let (Role::ValueOfMany(index), [Some(op)]) = (node.role, &node.parents[..]) {
            let Role::OpOfMany(count) = op.role else { panic!("{}: the parent of one of many values is their op", op.name()) };
            self.of_many.entry(op.id).or_insert_with(|| vec![None; count])[index] = Some(cotangent);
            self.frontier.entry(op.id).or_insert_with(|| op.clone());
            return None;
        }
        if watch::is_watching() {
            let terms = operation.vjp(self.backend, cotangent, &needed);
            return Some(self.add_terms(node, terms));
        }
        let sums = self.sums(node);
        Some(operation.vjp_added(self.backend, cotangent, &needed, sums))
    }

    /// What an op found for its parents, looked at if somebody watches, and added to what was found before.
    fn add_terms(&mut self, node: &Node<B>, terms: Vec<Option<B::Array>>) -> Vec<Option<B::Array>> {
        for (parent, term) in node.parents.iter().zip(&terms) {
            let (Some(parent), Some(term)) = (parent, term) else { continue };
            if watch::is_watching() {
                watch::backward(self.backend, term, node.name(), parent);
            }
        }
        let sums = self.sums(node);
        add_cotangents(self.backend, node.name(), sums, terms)
    }

    /// What was found for a node's parents, taken out.
    fn sums(&mut self, node: &Node<B>) -> Vec<Option<B::Array>> {
        node.parents.iter().map(|parent| self.cotangents.remove(&parent.as_ref()?.id)).collect()
    }

    /// Puts the cotangents of a node's parents where the walk will find them.
    fn deliver(&mut self, node: &Node<B>, found: Vec<Option<B::Array>>) {
        let bytes = || found.iter().flatten().map(|x| (size_of::<B::Scalar>() * count(self.backend.shape(x))) as u64).sum();
        profile::mark(Pass::Backward, node.name(), bytes);
        assert_eq!(found.len(), node.parents.len(), "{}: one cotangent for each parent", node.name());
        for (parent, array) in node.parents.iter().zip(found) {
            let (Some(parent), Some(array)) = (parent, array) else { continue };
            let shape = self.backend.shape(&array);
            assert_eq!(shape, &*parent.shape, "{}: the cotangent of {} has another shape", node.name(), parent.name());
            add_to(self.backend, &mut self.cotangents, parent.id, array);
            self.frontier.entry(parent.id).or_insert_with(|| parent.clone());
        }
    }

    /// Gives the receiver the gradients of a node's parents that nothing more can be added to.
    fn hand_over(&mut self, node: &Node<B>, receiver: &mut Receiver<'_, B>) {
        for parent in node.parents.iter().flatten() {
            if receiver.is_final(parent) && self.frontier.remove(&parent.id).is_some() {
                let gradient = self.cotangents.remove(&parent.id).expect("a node on the frontier has received a cotangent");
                (receiver.take)(parent.id, gradient);
            }
        }
    }
}

impl<B: Backend> Tensor<B> {
    /// The gradient of this scalar with respect to every parameter it depends on. What was recorded stays, so the walk can be made again;
    /// [`Tensor::backward_freeing`] takes less memory.
    ///
    /// # Panics
    /// If it has more than one element.
    #[track_caller]
    pub fn backward(&self) -> Gradients<B> {
        self.clone().backward_freeing()
    }

    /// As [`Tensor::backward`], freeing what each op saved as soon as the walk has passed it: for a step of training. A clone of this
    /// tensor keeps the record.
    ///
    /// # Panics
    /// If it has more than one element.
    #[track_caller]
    pub fn backward_freeing(self) -> Gradients<B> {
        assert_eq!(self.len(), 1, "backward: a tensor of shape {:?} is not one number; use backward_with", self.shape());
        let seed = self.backend.full(1.0, self.shape());
        self.walk_back(seed, Keep::Parameters)
    }

    /// As [`Tensor::backward`], handing over the number ([`Tensor::id`]) and the gradient of each parameter as soon as nothing more can be
    /// added to it, while the walk goes on: the bits are those of [`Tensor::backward`].
    ///
    /// # Panics
    /// If it has more than one element.
    #[track_caller]
    pub fn backward_into(self, mut take: impl FnMut(u64, B::Array)) {
        assert_eq!(self.len(), 1, "backward: a tensor of shape {:?} is not one number", self.shape());
        let seed = self.backend.full(1.0, self.shape());
        let Self { backend, value, node } = self;
        drop(value);
        let Some(root) = node else { return };
        let receiver = Receiver::new(&root, &mut take);
        let rest = Walk::new(&backend, root, seed, 0, Keep::Parameters).run(Some(receiver));
        // A parameter that is itself the root has no use.
        rest.by_node.into_iter().for_each(|(id, gradient)| take(id, gradient));
    }

    /// Jᵀv for a cotangent v of this tensor's shape: the gradient of ⟨v, self⟩.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn backward_with(&self, cotangent: &Tensor<B>) -> Gradients<B> {
        assert_eq!(self.shape(), cotangent.shape(), "backward_with: the cotangent's shape differs");
        self.clone().walk_back(cotangent.value.clone(), Keep::Parameters)
    }

    /// As [`Tensor::backward`], keeping the gradient of every recorded value on the way too: for looking at small graphs.
    ///
    /// # Panics
    /// If it has more than one element.
    #[track_caller]
    pub fn backward_keeping_all(&self) -> Gradients<B> {
        assert_eq!(self.len(), 1, "backward: a tensor of shape {:?} is not one number", self.shape());
        let seed = self.backend.full(1.0, self.shape());
        self.clone().walk_back(seed, Keep::Everything)
    }

    fn walk_back(self, seed: B::Array, keep: Keep) -> Gradients<B> {
        let Self { backend, value, node } = self;
        drop(value);
        match node {
            Some(node) => walk(&backend, node, seed, 0, keep),
            None => Gradients { backend, by_node: BTreeMap::new() },
        }
    }
}
