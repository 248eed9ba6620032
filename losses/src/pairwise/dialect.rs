//! How other programs get a pairwise loss wrong, as far as the loss itself knows: for [`verify`](crate::verify).

use crate::hyperparameters::Hyperparameters;

/// A known mistake, in words, and what it makes of the loss.
#[derive(Clone, Debug)]
pub struct Dialect {
    /// What is wrong, as `slpo verify` says it.
    pub words: &'static str,
    /// What the mistake amounts to.
    pub change: Change,
}

/// What a mistake makes of a loss.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// The loss with other settings.
    Settings(Hyperparameters),
    /// The loss and its gradients times a factor.
    Factor(f64),
}

impl Dialect {
    /// The loss as it is with other settings.
    pub fn with(words: &'static str, hyper: Hyperparameters) -> Self {
        Self { words, change: Change::Settings(hyper) }
    }

    /// The loss and its gradients times a factor.
    pub fn scaled(words: &'static str, factor: f64) -> Self {
        Self { words, change: Change::Factor(factor) }
    }
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
