//! DPO, its relatives and every form of SLPO, each with a gradient that was derived by hand.
//!
#![cfg_attr(any(doc, doctest), doc = include_str!("../README.md"))]
//!
//! # Inside the crate
//!
//! A loss is its value and its gradient, derived by hand, and a twin: the same loss as a composition of ops, which checks them. A pairwise
//! loss runs as elementwise formulas on every backend. The token forms and `slpo-exact` read whole rows of logits: a CPU makes one pass
//! over them, a GPU runs the twin, because reading the logits back would stall its queue.
//!
//! | room | holds |
//! |---|---|
//! | [`mod@pairwise`] | a file a loss of sequence log-probabilities; [`pairwise::pair`] is what they share |
//! | [`mod@batchwise`] | losses in which the pairs of a batch see each other |
//! | [`mod@unpaired`] | losses of completions that are desirable or undesirable by themselves; [`unpaired::row`] is what they share |
//! | [`mod@tokenwise`] | SLPO on tokens: the paper's listing mended, and as printed; [`tokenwise::token`] is what they share |
//! | [`exact`] | the exact autoregressive target Q\* and the divergence from it |
//! | [`objective`] | a loss or a sum of losses with its settings: what a run minimises |
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

/// The table of losses, and the only list of them: `file: Type`, by the room that the file stands in.
macro_rules! losses {
    ($for_all:ident) => {
        $for_all! {
            pairwise {
                dpo: Dpo, cdpo: Cdpo, robust: Robust, ipo: Ipo, ipo_sum: IpoSum, hinge: Hinge, exo: Exo, nca: Nca, bco: Bco, sppo: Sppo,
                apo_zero: ApoZero, apo_down: ApoDown, discopop: Discopop, dpo_norm: DpoNorm, dpop: Dpop, cal_dpo: CalDpo, bpo: Bpo,
                dpo_shift: DpoShift, bdpo: Bdpo, odpo: Odpo, r_dpo: RDpo, chi_po: ChiPo, f_dpo: FDpo, ld_dpo: LdDpo, wpo: Wpo,
                tdpo1: Tdpo1, tdpo2: Tdpo2,
                simpo: SimPo, cpo: Cpo, cpo_simpo: CpoSimPo, alphapo: AlphaPo, orpo: Orpo, tpo_l: TpoL, slic: Slic, nll: Nll,
                slpo: Slpo, slpo_gkl: SlpoGkl, slpo_halves: SlpoHalves
            }
            batchwise { aot: Aot, aot_unpaired: AotUnpaired, beta_dpo: BetaDpo }
            unpaired { kto: Kto, apo_zero_unpaired: ApoZeroUnpaired, bco_unpaired: BcoUnpaired }
            tokenwise { slpo_token: SlpoToken, slpo_literal: SlpoLiteral }
            exact { slpo_exact: SlpoExact }
        }
    };
}

pub mod audit;
pub mod batchwise;
pub mod error;
pub mod exact;
pub mod hyperparameters;
pub mod loss;
mod numeric;
pub mod objective;
pub mod pairwise;
pub mod preference_loss;
mod rows;
pub mod sequence;
pub mod tokenwise;
pub mod unpaired;
pub mod verify;
pub mod weights;

pub use batchwise::batch::{BatchLoss, Running};
pub use error::LossError;
pub use exact::pair_rows::PairRows;
pub use exact::slpo_exact::ExactTargets;
pub use hyperparameters::{Divergence, Hyperparameters, Reduction, Setting, TailOf};
pub use loss::{Kind, Loss, by_position, pairwise, pairwise_twin, tokenwise};
pub use numeric::logaddexp;
pub use objective::{Objective, PRESETS, Preset};
pub use pairwise::arrangement::Arrangement;
pub use pairwise::pair::{Pair, PairInputs, PairLoss};
pub use preference_loss::{Need, PreferenceLoss};
pub use sequence::{Layout, PairLogProbs, SequenceLogProbs, sequence_log_probs};
pub use tokenwise::token::{TokenInputs, TokenLoss, TokenWeights};
pub use unpaired::dispatch::{unpaired, unpaired_twin};
pub use unpaired::row::{LabelledRow, RowInputs, RowLoss};
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
