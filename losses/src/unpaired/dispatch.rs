//! The losses of labelled rows by name.

use super::row::{RowInputs, RowLoss};
use crate::error::LossError;
use crate::hyperparameters::Hyperparameters;
use crate::loss::{Loss, RowVisitor};
use engine::{Backend, Tensor};

/// The loss of each labelled row, `[N]`; its mean is the batch's loss.
///
/// # Errors
/// If the loss is none of labelled rows, or a hyper-parameter is out of range.
pub fn unpaired<B: Backend>(loss: Loss, hyper: &Hyperparameters, inputs: &RowInputs<B>) -> Result<Tensor<B>, LossError> {
    loss.validate(hyper)?;
    evaluate(loss, hyper, inputs)
}

/// [`unpaired`] with settings that were checked before.
pub(crate) fn evaluate<B: Backend>(loss: Loss, hyper: &Hyperparameters, inputs: &RowInputs<B>) -> Result<Tensor<B>, LossError> {
    loss.visit_row(hyper, ByOp(inputs))
}

/// The same as [`unpaired`] as a composition of ops, with no derivative written by hand: what [`unpaired`] is checked against.
///
/// # Errors
/// As [`unpaired`].
pub fn unpaired_twin<B: Backend>(loss: Loss, hyper: &Hyperparameters, inputs: &RowInputs<B>) -> Result<Tensor<B>, LossError> {
    loss.validate(hyper)?;
    loss.visit_row(hyper, ByTwin(inputs))
}

/// The op of a loss, apart from its twin: no crate compiles the twins that it does not ask for.
struct ByOp<'a, B: Backend>(&'a RowInputs<B>);

impl<B: Backend> RowVisitor for ByOp<'_, B> {
    type Output = Tensor<B>;
    fn visit<L: RowLoss>(self, loss: L) -> Tensor<B> {
        loss.evaluate(self.0)
    }
}

/// The twin of a loss.
struct ByTwin<'a, B: Backend>(&'a RowInputs<B>);

impl<B: Backend> RowVisitor for ByTwin<'_, B> {
    type Output = Tensor<B>;
    fn visit<L: RowLoss>(self, loss: L) -> Tensor<B> {
        loss.twin(self.0)
    }
}
