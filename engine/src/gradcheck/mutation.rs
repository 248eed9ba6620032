//! Planting mistakes, to see whether a check sees them: for whoever tests a suite of gradients, and for the game of the exercises.
//!
//! A vector-Jacobian product is linear in its cotangent. So each kind of mistake can be made around any operation, in what comes in or in
//! what goes out, whatever it computes.
//!
//! ```
//! use engine::gradcheck::mutation::{Mistake, Plant, own_operation};
//! use engine::gradcheck::{Entry, check_entry};
//! let softmax = || engine::ops::registry().into_iter().find(|entry| entry.name == "softmax").unwrap();
//! let op = own_operation(softmax());
//! for mistake in Mistake::ALL {
//!     assert!(!check_entry(&softmax().rewritten(Plant { op, mistake }), 0..2, 4).passed());
//! }
//! ```

use super::{Entry, Settings, check_entry_with};
use crate::backend::Backend;
use crate::rewrite::{Recorded, Rewrite};
use crate::scalar::Scalar;
use crate::tape::{Operation, add_cotangents};
use std::sync::{Arc, Mutex, PoisonError};

/// A kind of mistake in a vector-Jacobian product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mistake {
    /// None: the control.
    Nothing,
    /// The first input's gradient is negated.
    WrongSign,
    /// The first input's gradient is larger by one millionth.
    WrongFactor,
    /// x̄ = Σ_k ȳ_k ∂y_k/∂x without its last term.
    MissingTerm,
    /// The second half of the first input's gradient is zero.
    WrongMask,
    /// Each element of the first input's gradient stands one place late, the last one first.
    OffByOne,
}

impl Mistake {
    /// Every kind but [`Mistake::Nothing`].
    pub const ALL: [Self; 5] = [Self::WrongSign, Self::WrongFactor, Self::MissingTerm, Self::WrongMask, Self::OffByOne];
}

/// Plants a mistake into every operation of a name.
#[derive(Clone, Debug)]
pub struct Plant {
    /// The operation's name, as it records itself.
    pub op: &'static str,
    /// What is done to it.
    pub mistake: Mistake,
}

impl Rewrite for Plant {
    fn operation<B: Backend>(&self, recorded: &Recorded<'_, B>) -> Option<Arc<dyn Operation<B>>> {
        let inner = recorded.operation.clone();
        (inner.name() == self.op).then(|| Arc::new(Planted { inner, mistake: self.mistake }) as Arc<dyn Operation<B>>)
    }
}

struct Planted<B: Backend> {
    inner: Arc<dyn Operation<B>>,
    mistake: Mistake,
}

impl<B: Backend> Operation<B> for Planted<B> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn vjp(&self, backend: &B, cotangent: B::Array, needed: &[bool]) -> Vec<Option<B::Array>> {
        let cotangent = self.mistake.in_cotangent(backend, cotangent);
        self.mistake.in_results(backend, self.inner.vjp(backend, cotangent, needed))
    }
    /// Without a mistake the way of the op itself; a mistake is made in what the op adds, not in the sum.
    fn vjp_added(&self, backend: &B, cotangent: B::Array, needed: &[bool], sums: Vec<Option<B::Array>>) -> Vec<Option<B::Array>> {
        if self.mistake == Mistake::Nothing {
            return self.inner.vjp_added(backend, cotangent, needed, sums);
        }
        add_cotangents(backend, self.name(), sums, self.vjp(backend, cotangent, needed))
    }
    fn parents_of_value(&self, value: usize, parents: usize) -> Vec<usize> {
        self.inner.parents_of_value(value, parents)
    }
    fn vjp_of_many(&self, backend: &B, mut cotangents: Vec<Option<B::Array>>, needed: &[bool]) -> Vec<Option<B::Array>> {
        if let Some(first) = cotangents.iter_mut().find(|cotangent| cotangent.is_some()) {
            *first = first.take().map(|cotangent| self.mistake.in_cotangent(backend, cotangent));
        }
        self.mistake.in_results(backend, self.inner.vjp_of_many(backend, cotangents, needed))
    }
}

impl Mistake {
    /// The mistake made in what comes in: x̄ = Σ_k ȳ_k ∂y_k/∂x without its last term.
    fn in_cotangent<B: Backend>(self, backend: &B, cotangent: B::Array) -> B::Array {
        if self != Self::MissingTerm {
            return cotangent;
        }
        edit(backend, &cotangent, |y_bar, zero| {
            if let Some(last) = y_bar.last_mut() {
                *last = zero;
            }
        })
    }

    /// The mistake made in what comes out, for the first parent.
    fn in_results<B: Backend>(self, backend: &B, mut parents: Vec<Option<B::Array>>) -> Vec<Option<B::Array>> {
        if let Some(first) = parents.iter_mut().flatten().next() {
            *first = self.in_result(backend, first);
        }
        parents
    }

    /// The mistake made in one parent's cotangent.
    fn in_result<B: Backend>(self, backend: &B, x_bar: &B::Array) -> B::Array {
        match self {
            Self::Nothing | Self::MissingTerm => x_bar.clone(),
            Self::WrongSign => backend.scale(x_bar, -1.0),
            Self::WrongFactor => backend.scale(x_bar, 1.0 + 1e-6),
            Self::WrongMask => edit(backend, x_bar, |x_bar, zero| {
                let half = x_bar.len() / 2;
                x_bar[half..].fill(zero);
            }),
            Self::OffByOne => edit(backend, x_bar, |x_bar, _| {
                if !x_bar.is_empty() {
                    x_bar.rotate_right(1);
                }
            }),
        }
    }
}

/// An array with its elements changed; the function also gets a zero.
pub fn edit<B: Backend>(backend: &B, x: &B::Array, change: impl FnOnce(&mut Vec<B::Scalar>, B::Scalar)) -> B::Array {
    let mut elements = backend.to_vec(x);
    change(&mut elements, B::Scalar::zero());
    backend.from_vec(elements, backend.shape(x))
}

/// Collects the names of recorded operations and leaves them as they are.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Vec<&'static str>>>);

impl Rewrite for Names {
    fn operation<B: Backend>(&self, recorded: &Recorded<'_, B>) -> Option<Arc<dyn Operation<B>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(recorded.operation.name());
        None
    }
}

/// The operation of the entry's own name, or else the first one that its function records.
///
/// # Panics
/// If its function records no operation.
pub fn own_operation(entry: Entry) -> &'static str {
    let (name, names) = (entry.name.replace('-', "_"), Names::default());
    let settings = Settings { methods: Vec::new(), ..Settings::default() };
    check_entry_with(&entry.rewritten(names.clone()), 0..1, 4, &settings);
    let names = names.0.lock().unwrap_or_else(PoisonError::into_inner);
    names.iter().find(|own| own.replace('-', "_") == name).or(names.first()).expect("an entry records an operation")
}
