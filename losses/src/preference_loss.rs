//! What a loss of any kind says of itself: a row of the table of losses. Start here to add a loss; [`pairwise`](mod@crate::pairwise) shows
//! how.

use crate::error::LossError;
use crate::hyperparameters::{Hyperparameters, Setting};
use engine::explain::Example;
use engine::gradcheck::{Draw, Sample};

/// What a loss reads besides the policy's log-probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The reference's log-probabilities or logits: a reference model is loaded.
    Reference,
    /// The numbers of tokens in the completions.
    Lengths,
    /// z: the divergence of the policy from the reference over a batch, estimated on completions after other rows' prompts.
    Divergence,
    /// Logits, not only log-probabilities of what was said: a cache of the reference's log-probabilities is no use.
    Logits,
    /// The parts of the policy's log-probabilities past the length of the pair's shorter completion.
    Tails,
    /// The same parts of the reference's log-probabilities: a cache of the whole is no use.
    ReferenceTails,
    /// The divergences of the policy from the reference along both completions: whole rows of both models' logits.
    Divergences,
    /// The weight of each pair, which follows from the policy's probabilities of all tokens and is a constant of the gradient.
    PairWeights,
}

impl Need {
    /// All that a loss may read.
    pub const ALL: [Self; 8] = [
        Self::Reference,
        Self::Lengths,
        Self::Divergence,
        Self::Logits,
        Self::Tails,
        Self::ReferenceTails,
        Self::Divergences,
        Self::PairWeights,
    ];
}

/// A row of the table of losses. The rest of the workspace learns from it what losses there are and what they take.
pub trait PreferenceLoss: Sized {
    /// The name on the command line.
    const NAME: &'static str;
    /// What other trainers and papers call it, in small letters with hyphens.
    const ALIASES: &'static [&'static str] = &[];
    /// What the name computes here, and what other programs call so, where the two differ.
    const NOTE: Option<&'static str> = None;
    /// The settings that change it. Every other one has no effect.
    const USES: &'static [Setting];
    /// True if the gradient takes numbers as constants that follow from the policy. Differences of the loss then do not show its gradient.
    const HAS_POLICY_CONSTANTS: bool = false;

    /// The loss with these settings.
    fn of(hyper: &Hyperparameters) -> Self;

    /// The settings with the defaults of this loss, where they are not those of all losses.
    fn defaults() -> Hyperparameters {
        Hyperparameters::default()
    }

    /// What it reads besides the policy's log-probabilities.
    fn needs(&self) -> &'static [Need] {
        &[Need::Reference]
    }

    /// Checks what the settings' own ranges allow and this loss does not.
    ///
    /// # Errors
    /// [`LossError::Hyperparameter`].
    fn check(_: &Hyperparameters) -> Result<(), LossError> {
        Ok(())
    }

    /// What the gradient suite runs it on.
    fn sample(draw: &mut Draw) -> Sample;

    /// The worked example of its explanation.
    fn example() -> Example;
}
