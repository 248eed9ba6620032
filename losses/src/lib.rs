//! DPO, its relatives and every form of SLPO, each with a gradient that was derived by hand.
//!
#![cfg_attr(any(doc, doctest), doc = include_str!("../README.md"))]
//!
//! # Inside the crate
//!
//! Each loss is a composition of ops and a fused op whose gradient was derived by hand. The fused ops work on the host, row by row. On a
//! device with a queue ([`is_queued`](engine::backend::Core::is_queued)) the compositions run instead, and so a training step never waits for a loss.
//!
//! | room | holds |
//! |---|---|
//! | [`mod@pairwise`] | a file a loss of sequence log-probabilities; [`pairwise::pair`] is what they share |
//! | [`mod@tokenwise`] | SLPO on tokens: the paper's listing mended, and as printed; [`tokenwise::token`] is what they share |
//! | [`exact`] | the exact autoregressive target Q\* and the divergence from it |
//! | [`loss`] | the losses by name; [`preference_loss`] is what each says of itself |
//! | [`sequence`] | sequence log-probabilities from token log-probabilities |
//! | [`verify`] | whether another program's loss and gradients are right, and which known mistake explains them where they are not |
//! | [`audit`] | the claims of the SLPO paper, computed |
//!
//! To add a pairwise loss: write `pairwise/NAME.rs` (a [`PairLoss`] and a [`PreferenceLoss`]) and `pairwise/NAME.md` (its explanation),
//! and add its word to the table in `lib.rs`. Help, dispatch, the start check, `slpo explain`, `gradcheck` and `verify` then know it.
//!
//! Notation: l_w and l_l are the policy's log-probabilities of the chosen (winning) and the rejected (losing) completion, π_w and π_l the
//! reference's probabilities of them, m = π_w + π_l, a = l_w − ln π_w and r = l_l − ln π_l the log-ratios. All logarithms are natural.
//! The reference is a constant: no gradient flows into it.

#![forbid(unsafe_code)]

/// The table of losses, and the only list of them: a row is `file::Type`, in its room. `file.md` beside `file.rs` is its explanation.
macro_rules! losses {
    ($for_all:ident) => {
        $for_all! {
            pairwise: dpo::Dpo, cdpo::Cdpo, ipo::Ipo, hinge::Hinge, robust::Robust, slpo::Slpo, slpo_gkl::SlpoGkl;
            tokenwise: slpo_token::SlpoToken, slpo_literal::SlpoLiteral;
            exact: slpo_exact::SlpoExact;
        }
    };
}

macro_rules! rooms {
    (
        pairwise: $($pair:ident::$Pair:ident),*;
        tokenwise: $($token:ident::$Token:ident),*;
        exact: $($exact:ident::$Exact:ident),*;
    ) => {
        /// Losses of the sequence log-probabilities of a pair: a file each, with its value, its two slopes and its twin.
        pub mod pairwise {
            pub mod dialect;
            pub mod pair;
            pub(crate) mod samples;
            $(pub mod $pair;)*
        }

        /// Losses of the logits at the positions that both completions of a pair have.
        pub mod tokenwise {
            pub mod token;
            $(pub mod $token;)*
        }

        /// The loss towards the exact autoregressive target, and the divergence that it is made of.
        pub mod exact {
            pub mod exact_target;
            pub mod pair_rows;
            pub mod soft_cross_entropy;
            mod target_on_device;
            mod target_on_host;
            $(pub mod $exact;)*
        }
    };
}
losses!(rooms);

pub mod audit;
pub mod error;
pub mod hyperparameters;
pub mod loss;
mod numeric;
pub mod preference_loss;
mod rows;
pub mod sequence;
pub mod verify;
pub mod weights;

pub use error::LossError;
pub use exact::pair_rows::PairRows;
pub use exact::slpo_exact::ExactTargets;
pub use hyperparameters::{Hyperparameters, Setting};
pub use loss::{Kind, Loss, by_position, pairwise, pairwise_twin, tokenwise};
pub use numeric::logaddexp;
pub use pairwise::pair::{Pair, PairInputs, PairLoss};
pub use preference_loss::{Need, PreferenceLoss};
pub use sequence::{Layout, PairLogProbs, SequenceLogProbs, sequence_log_probs};
pub use tokenwise::token::{TokenInputs, TokenLoss, TokenWeights};
pub use weights::{Shares, WeightRule, Weights};

use engine::explain::Explanation;
use engine::gradcheck::Entry;
use exact::soft_cross_entropy;

/// Every loss by its name on the command line, and the op under `slpo-exact`, with samples for the gradient suite.
pub fn registry() -> Vec<Entry> {
    let op = Entry::new("soft-cross-entropy", soft_cross_entropy::sample);
    Loss::ALL.into_iter().map(Loss::entry).chain([op]).collect()
}

/// Everything in the registry explained, in its order.
pub fn explanations() -> Vec<Explanation> {
    let (source, text) = (include_str!("exact/soft_cross_entropy.rs"), include_str!("exact/soft_cross_entropy.md"));
    let op = Explanation::new("soft-cross-entropy", source, text, soft_cross_entropy::example);
    Loss::ALL.into_iter().map(Loss::explanation).chain([op]).collect()
}
