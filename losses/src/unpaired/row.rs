//! What the losses of labelled rows share: a closed form in l for each row, with its derivative, as one op.
//!
//! forward  yᵢ = f(l; ln π_ref, label, z) of row i
//! vjp      l̄ = ȳᵢ·∂f/∂l
//!
//! A loss is three functions: the value and the slope of one row, over any [`Scalar`], which the op applies to every row on any backend;
//! and its twin, a composition of ops, which the op is checked against.

use crate::error::LossError;
use crate::preference_loss::PreferenceLoss;
use engine::backend::Formula;
use engine::tape::Operation;
use engine::{Backend, Scalar, Tensor};

/// One row's numbers.
#[derive(Clone, Copy, Debug)]
pub struct LabelledRow<T> {
    /// l: the policy's log-probability of the completion.
    pub log_prob: T,
    /// ln π_ref: the reference's log-probability of the completion.
    pub reference: T,
    /// 1 for a desirable completion, 0 for an undesirable one.
    pub label: T,
    /// z: the divergence of the policy from the reference over the batch; the same for every row, and 0 where the loss reads none.
    pub divergence: T,
}

impl<T> From<[T; 4]> for LabelledRow<T> {
    fn from([log_prob, reference, label, divergence]: [T; 4]) -> Self {
        Self { log_prob, reference, label, divergence }
    }
}

impl<T: Scalar> LabelledRow<T> {
    /// t = l − ln π_ref.
    #[inline]
    pub fn log_ratio(&self) -> T {
        self.log_prob - self.reference
    }
    /// One of two numbers, by the label.
    #[inline]
    pub fn by_label(&self, desirable: T, undesirable: T) -> T {
        T::select(T::zero().is_below(self.label), desirable, undesirable)
    }
    /// s: −1 for a desirable completion, +1 for an undesirable one. A loss that rises with s·t makes desirable completions likelier.
    #[inline]
    pub fn sign(&self) -> T {
        self.by_label(-T::one(), T::one())
    }
}

/// A loss on one labelled row.
pub trait RowLoss: PreferenceLoss + Copy + Send + Sync + 'static {
    /// The loss of one row.
    fn value<T: Scalar>(self, row: LabelledRow<T>) -> T;
    /// ∂/∂l of one row.
    fn gradient<T: Scalar>(self, row: LabelledRow<T>) -> T;
    /// The loss of one row where the policy is the reference: what training must start from. From theory, not by [`RowLoss::value`],
    /// which is held to it.
    fn at_start(self, is_desirable: bool) -> f64;
    /// The loss of each row, `[N]`, as a composition of ops: the twin that value and gradient are checked against.
    fn twin<B: Backend>(self, inputs: &RowInputs<B>) -> Tensor<B>;
    /// The largest slope that a program may form with a factor 1 − σ(x), with an error relative to 1; 0 where none is.
    fn complement_slope(self) -> f64;

    /// The loss of each row, `[N]`, as one op with the gradient above.
    fn evaluate<B: Backend>(self, inputs: &RowInputs<B>) -> Tensor<B> {
        let numbers = inputs.numbers();
        let value = inputs.policy.backend().elementwise(Value(self), numbers.each_ref());
        Tensor::record(inputs.policy.backend(), value, &[&inputs.policy], || OfRows { loss: self, numbers })
    }
}

/// A loss of [l, ln π_ref, label, z].
#[derive(Clone, Copy)]
struct Value<L>(L);

impl<L: RowLoss> Formula<4> for Value<L> {
    #[inline(always)]
    fn at<T: Scalar>(self, numbers: [T; 4]) -> T {
        self.0.value(LabelledRow::from(numbers))
    }
}

/// ȳ times a loss's slope in l, of ȳ and the same numbers.
#[derive(Clone, Copy)]
struct Slope<L>(L);

impl<L: RowLoss> Formula<5> for Slope<L> {
    #[inline(always)]
    fn at<T: Scalar>(self, [y_bar, numbers @ ..]: [T; 5]) -> T {
        y_bar * self.0.gradient(LabelledRow::from(numbers))
    }
}

struct OfRows<L, A> {
    loss: L,
    numbers: [A; 4],
}

impl<B: Backend, L: RowLoss> Operation<B> for OfRows<L, B::Array> {
    fn name(&self) -> &'static str {
        L::NAME
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        let [log_prob, reference, label, divergence] = &self.numbers;
        vec![Some(backend.elementwise(Slope(self.loss), [&y_bar, log_prob, reference, label, divergence]))]
    }
}

/// Sequence log-probabilities of a batch of labelled rows, each `[N]`, under policy and reference.
#[derive(Clone, Debug)]
pub struct RowInputs<B: Backend> {
    policy: Tensor<B>,
    reference: Tensor<B>,
    labels: Vec<bool>,
    divergence: f64,
}

impl<B: Backend> RowInputs<B> {
    /// Two vectors `[N]` of sequence log-probabilities, in nats, and a label for each row: true if the completion is desirable. The
    /// reference's are taken as constants.
    ///
    /// # Errors
    /// If they are not vectors of one length, or that is 0.
    pub fn new(policy: &Tensor<B>, reference: &Tensor<B>, labels: &[bool]) -> Result<Self, LossError> {
        let expected = vec![labels.len()];
        for (what, tensor) in [("policy_logps", policy), ("reference_logps", reference)] {
            if tensor.shape() != expected {
                return Err(LossError::Shape { what, found: tensor.shape().to_vec(), expected });
            }
        }
        if labels.is_empty() {
            return Err(LossError::EmptyBatch);
        }
        Ok(Self { policy: policy.clone(), reference: reference.detach(), labels: labels.to_vec(), divergence: 0.0 })
    }

    /// z of the whole batch, for the losses that read it: a constant of the gradient. Without it, z is 0.
    pub fn with_divergence(mut self, divergence: f64) -> Self {
        self.divergence = divergence;
        self
    }

    /// The number of rows N.
    pub fn len(&self) -> usize {
        self.labels.len()
    }
    /// Always false: an empty batch is refused.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
    /// The policy's log-probabilities, `[N]`.
    pub fn policy(&self) -> &Tensor<B> {
        &self.policy
    }
    /// The log-ratios t, `[N]`. Times β they are the implicit rewards.
    pub fn log_ratios(&self) -> Tensor<B> {
        self.policy.sub(&self.reference)
    }

    /// z as a constant.
    pub(crate) fn divergence(&self) -> Tensor<B> {
        Tensor::full(self.policy.backend(), self.divergence, &[1])
    }
    /// One of two numbers for each row, by its label, as a constant `[N]`.
    pub(crate) fn by_label(&self, desirable: f64, undesirable: f64) -> Tensor<B> {
        let numbers: Vec<f64> = self.labels.iter().map(|&label| if label { desirable } else { undesirable }).collect();
        Tensor::constant(self.policy.backend(), &numbers, &[numbers.len()])
    }
    /// s of each row as a constant `[N]`: see [`LabelledRow::sign`].
    pub(crate) fn signs(&self) -> Tensor<B> {
        self.by_label(-1.0, 1.0)
    }

    /// What a [`LabelledRow`] is made of.
    fn numbers(&self) -> [B::Array; 4] {
        [&self.policy, &self.reference, &self.by_label(1.0, 0.0), &self.divergence()].map(|x| x.array().clone())
    }
}
