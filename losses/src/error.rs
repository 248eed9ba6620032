//! What can be wrong with a loss's inputs, in the user's words.

use thiserror::Error;

/// Why a loss cannot be computed.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum LossError {
    /// A name that is no loss.
    #[error("unknown loss `{name}`; the losses are {known}")]
    UnknownLoss {
        /// What was asked for.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A text that is no value of a setting.
    #[error("{name} is `{text}`, but must be {range}")]
    Setting {
        /// The setting's name on the command line, without dashes in front.
        name: String,
        /// What was given.
        text: String,
        /// The values that it may have, in words.
        range: &'static str,
    },
    /// Losses that cannot be added.
    #[error("{reason}")]
    Combination {
        /// What is wrong.
        reason: String,
    },
    /// A name that is no rule for SLPO's weights.
    #[error("unknown weights `{name}`; the rules are eq7, shift")]
    UnknownWeights {
        /// What was asked for.
        name: String,
    },
    /// A hyper-parameter outside its range.
    #[error("{name} is {value}, but must be {requirement}")]
    Hyperparameter {
        /// The hyper-parameter's name on the command line, without dashes in front.
        name: String,
        /// Its value.
        value: String,
        /// What is asked of it.
        requirement: String,
    },
    /// Inputs that the loss cannot do without.
    #[error("{loss} needs {what}")]
    Missing {
        /// The name of the loss.
        loss: &'static str,
        /// The inputs.
        what: &'static str,
    },
    /// A tensor of the wrong shape.
    #[error("{what} has shape {found:?}, but {expected:?} is needed")]
    Shape {
        /// Which tensor.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that fits the others.
        expected: Vec<usize>,
    },
    /// A number that is infinite or NaN.
    #[error("{what}[{index}] is {value}, not a finite number")]
    NotFinite {
        /// Which tensor.
        what: &'static str,
        /// Which element, from 0 in row-major order.
        index: usize,
        /// What it is.
        value: f64,
    },
    /// A result that is infinite or NaN, for a known reason.
    #[error("{what}[{index}] is {value}: probably {why}")]
    Breakdown {
        /// Which result.
        what: &'static str,
        /// Which element, from 0 in row-major order.
        index: usize,
        /// What it is.
        value: f64,
        /// What makes it so, in words.
        why: &'static str,
    },
    /// A list with another number of entries than the tensor beside it.
    #[error("{what} has {found} entries, but {expected} are needed")]
    Count {
        /// Which list.
        what: &'static str,
        /// Its number of entries.
        found: usize,
        /// The number that fits.
        expected: usize,
    },
    /// An index that is not below its bound.
    #[error("{what}[{index}] is {value}, but must be below {bound}")]
    OutOfRange {
        /// Which list.
        what: &'static str,
        /// Which entry, from 0.
        index: usize,
        /// What it is.
        value: usize,
        /// The bound.
        bound: usize,
    },
    /// A batch without pairs or rows.
    #[error("the batch is empty")]
    EmptyBatch,
    /// A sequence of which no token is part of the completion.
    #[error("sequence {sequence} has no completion tokens (is it truncated to its prompt?)")]
    EmptyCompletion {
        /// Which sequence, from 0.
        sequence: usize,
    },
    /// A mask that keeps nothing.
    #[error("the mask keeps no position")]
    NothingKept,
    /// An odd number of sequences cannot be pairs.
    #[error("{sequences} sequences are not pairs of chosen and rejected")]
    OddSequences {
        /// How many there are.
        sequences: usize,
    },
    /// A loss on tokens or distributions where one on sequence log-probabilities is needed.
    #[error("{loss} is not a function of the sequence log-probabilities of pairs")]
    NotPairwise {
        /// Which loss.
        loss: &'static str,
    },
    /// A loss of pairs where one of labelled rows is needed.
    #[error("{loss} is not a function of labelled rows")]
    NotUnpaired {
        /// Which loss.
        loss: &'static str,
    },
    /// A loss of another kind where one on the tokens of aligned positions is needed.
    #[error("{loss} is not a function of the logits at the positions of both completions")]
    NotTokenwise {
        /// Which loss.
        loss: &'static str,
    },
    /// A length-normalised loss without lengths.
    #[error("{loss} with length normalisation needs the lengths of the completions")]
    MissingLengths {
        /// Which loss.
        loss: &'static str,
    },
    /// Two completions lie in the same row of logits.
    #[error("pair {pair}: row {row} of the logits belongs to another completion already")]
    SharedRow {
        /// The second pair, from 0.
        pair: usize,
        /// The row, from 0.
        row: usize,
    },
    /// Chosen and rejected are equal, or one is the beginning of the other.
    #[error(
        "pair {pair}: one completion is the other or its beginning; the exact target needs two that part (end both with the end token)"
    )]
    NoFork {
        /// Which pair, from 0.
        pair: usize,
    },
}

/// Refuses a list with an entry that is not below a bound.
pub(crate) fn all_below(bound: usize, what: &'static str, list: &[u32]) -> Result<(), LossError> {
    match list.iter().position(|&entry| entry as usize >= bound) {
        Some(index) => Err(LossError::OutOfRange { what, index, value: list[index] as usize, bound }),
        None => Ok(()),
    }
}
