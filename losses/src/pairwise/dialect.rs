//! How other programs get a pairwise loss wrong, as far as the loss itself knows: for [`verify`](crate::verify).

use super::numbers::Pair;
use crate::hyperparameters::{Hyperparameters, Reduction};
use engine::Dual;

/// A known mistake, in words, and what it makes of the loss.
#[derive(Clone, Debug)]
pub struct Dialect {
    /// What is wrong, as `slpo verify` says it.
    pub words: &'static str,
    /// What the mistake amounts to.
    pub change: Change,
}

/// A number with first and second derivatives.
pub type Second = Dual<Dual<f64>>;

/// What a mistake makes of a loss.
#[derive(Clone, Debug)]
pub enum Change {
    /// The loss with other settings.
    Settings(Box<Hyperparameters>),
    /// The loss and its gradients times a factor.
    Factor(f64),
    /// Another formula, of the settings and of one pair.
    Formula(fn(&Hyperparameters, Pair<Second>) -> Second),
}

impl Dialect {
    /// The loss as it is with other settings.
    pub fn with(words: &'static str, hyper: Hyperparameters) -> Self {
        Self { words, change: Change::Settings(Box::new(hyper)) }
    }

    /// Another formula.
    pub fn formula(words: &'static str, formula: fn(&Hyperparameters, Pair<Second>) -> Second) -> Self {
        Self { words, change: Change::Formula(formula) }
    }

    /// The loss and its gradients times a factor.
    pub fn scaled(words: &'static str, factor: f64) -> Self {
        Self { words, change: Change::Factor(factor) }
    }
}

/// The negative log-likelihood averaged the other way: over pairs instead of tokens, or the reverse.
pub(crate) fn other_reduction(hyper: &Hyperparameters) -> Dialect {
    let (words, nll_reduction) = match hyper.nll_reduction {
        Reduction::Token => (
            "the negative log-likelihood is a mean over pairs (of each completion's token mean) instead of a mean over the batch's tokens",
            Reduction::Pair,
        ),
        Reduction::Pair => (
            "the negative log-likelihood is a mean over the batch's tokens instead of a mean over pairs (of each completion's token mean)",
            Reduction::Token,
        ),
    };
    Dialect::with(words, Hyperparameters { nll_reduction, ..*hyper })
}

/// A place where the slope of a loss jumps. Near it, rounding decides which of two slopes another program finds.
#[derive(Clone, Copy, Debug)]
pub struct Kink {
    /// How far the pair is from it.
    pub distance: f64,
    /// The sum of the sizes of the terms of that distance, which its rounding error is relative to.
    pub size: f64,
    /// By how much the slope jumps.
    pub jump: f64,
}
