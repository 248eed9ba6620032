//! Finding where a computation left the finite numbers: a training step that went wrong needs it. Every value and every cotangent is looked
//! at as it is made.
//!
//! Looking costs a copy of each array, so it is done when something is known to have gone wrong: the computation is run again inside
//! [`first_non_finite`], which reports the first op whose result holds a NaN or an infinity.

use crate::backend::Backend;
use crate::scalar::Scalar;
use crate::tape::Node;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;

/// On which way a value was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// By the op itself.
    Forward,
    /// By its vector-Jacobian product.
    Backward,
}

/// The first value that is not finite.
#[derive(Clone, Debug, PartialEq)]
pub struct NonFinite {
    /// On which way.
    pub direction: Direction,
    /// The op that made it.
    pub op: &'static str,
    /// Forward: the shape of its result. Backward: the shape of the input whose cotangent it is.
    pub shape: Vec<usize>,
    /// The flat index of the element, in row-major order.
    pub index: usize,
    /// The element: NaN or ±∞.
    pub value: f64,
    /// How many of the array's elements are not finite.
    pub count: usize,
    /// The parameters nearest to it: those it was computed from with the fewest ops between (forward), or the parameter that it is the
    /// gradient of, or else those nearest to that input (backward). See [`Tensor::id`](crate::Tensor::id).
    pub parameters: Vec<u64>,
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.direction {
            Direction::Forward => "the result of",
            Direction::Backward => "a gradient from",
        };
        let (total, Self { op, shape, index, value, count, .. }) = (self.shape.iter().product::<usize>(), self);
        write!(f, "{way} op `{op}`, of shape {shape:?}, has {value} at element {index} ({count} of its {total} elements are not finite)")
    }
}

thread_local! {
    static WATCHING: Cell<bool> = const { Cell::new(false) };
    static FOUND: RefCell<Option<NonFinite>> = const { RefCell::new(None) };
}

/// Runs `f`, looking at every value and cotangent that ops make in this thread, and reports the first one that is not finite.
pub fn first_non_finite<R>(f: impl FnOnce() -> R) -> (R, Option<NonFinite>) {
    struct Stop;
    impl Drop for Stop {
        fn drop(&mut self) {
            WATCHING.set(false);
        }
    }
    FOUND.take();
    WATCHING.set(true);
    let stop = Stop;
    let result = f();
    drop(stop);
    (result, FOUND.take())
}

/// True if values are being watched and none that is not finite was found yet.
pub(crate) fn is_watching() -> bool {
    WATCHING.get() && FOUND.with_borrow(Option::is_none)
}

/// Looks at the result of an op.
pub(crate) fn forward<'a, B: Backend>(backend: &B, value: &B::Array, parents: impl Iterator<Item = &'a Arc<Node<B>>>, op: &'static str) {
    look(backend, value, Direction::Forward, op, || nearest_parameters(parents.cloned().collect()));
}

/// Looks at the cotangent of an op's input.
pub(crate) fn backward<B: Backend>(backend: &B, cotangent: &B::Array, op: &'static str, input: &Arc<Node<B>>) {
    look(backend, cotangent, Direction::Backward, op, || nearest_parameters(vec![input.clone()]));
}

fn look<B: Backend>(backend: &B, array: &B::Array, direction: Direction, op: &'static str, nearest: impl FnOnce() -> Vec<u64>) {
    let elements: Vec<f64> = backend.to_vec(array).into_iter().map(Scalar::to_f64).collect();
    let Some(index) = elements.iter().position(|x| !x.is_finite()) else { return };
    let count = elements.iter().filter(|x| !x.is_finite()).count();
    let shape = backend.shape(array).to_vec();
    FOUND.set(Some(NonFinite { direction, op, shape, index, value: elements[index], count, parameters: nearest() }));
}

/// The parameters on the first level, counted in ops back from `level`, that has any.
fn nearest_parameters<B: Backend>(mut level: Vec<Arc<Node<B>>>) -> Vec<u64> {
    while !level.is_empty() {
        let parameters: Vec<u64> = level.iter().filter(|node| node.operation.is_none()).map(|node| node.id).collect();
        if !parameters.is_empty() {
            return parameters;
        }
        let mut next: Vec<Arc<Node<B>>> = level.iter().flat_map(|node| node.sources().into_iter().cloned()).collect();
        next.sort_by_key(|node| node.id);
        next.dedup_by_key(|node| node.id);
        level = next;
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cpu, Tensor};

    #[test]
    fn the_first_op_whose_result_is_not_finite_is_named_with_the_parameters_next_to_it() {
        let cpu = Cpu::<f32>::new();
        let (x, y) = (Tensor::parameter(&cpu, &[1.0, 90.0], &[2]), Tensor::parameter(&cpu, &[1.0], &[1]));
        let (_, found) = first_non_finite(|| x.neg().neg().exp().mul(&y).sub(&y).sum_all());
        let found = found.unwrap();
        assert_eq!((found.direction, found.op, found.index, found.count), (Direction::Forward, "exp", 1, 1));
        assert_eq!(found.parameters, [x.id().unwrap()]);
        let expected = "the result of op `exp`, of shape [2], has inf at element 1 (1 of its 2 elements are not finite)";
        assert_eq!(found.to_string(), expected);
    }

    #[test]
    fn a_gradient_that_overflows_where_no_value_does_is_named() {
        let cpu = Cpu::<f64>::new();
        let x = Tensor::parameter(&cpu, &[0.0, 4.0], &[2]);
        let (gradients, found) = first_non_finite(|| x.sqrt().sum_all().backward());
        let found = found.unwrap();
        assert_eq!((found.direction, found.op, found.index), (Direction::Backward, "sqrt", 0));
        assert_eq!(found.parameters, [x.id().unwrap()]);
        assert_eq!(gradients.of(&x).to_f64()[1], 0.25);
    }

    #[test]
    fn a_finite_computation_reports_nothing_and_nothing_is_looked_at_outside() {
        let cpu = Cpu::<f64>::new();
        let x = Tensor::parameter(&cpu, &[-1.0], &[1]);
        assert_eq!(first_non_finite(|| x.exp().sum_all().backward()).1, None);
        let _ = x.ln();
        assert_eq!(first_non_finite(|| ()).1, None);
    }
}
