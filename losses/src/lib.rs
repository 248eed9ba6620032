//! Preference losses: DPO and its relatives, and every form of SLPO, each as a composition of ops and as one fused op whose gradient
//! was derived by hand. The fused ops work on the host, row by row; on a device with a queue ([`is_queued`](engine::Backend::is_queued)) the
//! compositions are computed instead, with all that they need of the reference made there: a training step never waits for a loss.
//!
//! | room | holds |
//! |---|---|
//! | [`audit`] | the claims of the SLPO paper, computed |
//! | [`sequence`] | sequence log-probabilities from token log-probabilities |
//! | [`pair`] | what the pairwise losses share: a closed form per pair with its two partial derivatives, as one op |
//! | [`dpo`] [`cdpo`] [`robust`] [`hinge`] [`ipo`] | DPO and its relatives |
//! | [`slpo`] [`slpo_gkl`] | SLPO on sequences (the paper's Eq 6 and 7) and its rescaled limit |
//! | [`slpo_token`] [`slpo_literal`] | SLPO on tokens: the paper's listing mended, and as printed |
//! | [`slpo_exact`] [`exact_target`] | the exact autoregressive target Q\* and the divergence from it |
//! | [`explain`] | formulas, derivations and worked examples |
//! | [`verify`] | whether another program's loss and gradients are right, and which known mistake explains them where they are not |
//!
//! Notation: l_w and l_l are the policy's log-probabilities of the chosen (winning) and the rejected (losing) completion, π_w and π_l the
//! reference's probabilities of them, m = π_w + π_l, a = l_w − ln π_w and r = l_l − ln π_l the log-ratios. All logarithms are natural.
//! The reference is a constant: no gradient flows into it.
//!
//! ```
//! use engine::{Cpu, Tensor};
//! use losses::{Hyperparameters, Loss, PairInputs, pairwise};
//! let cpu = Cpu::<f64>::new();
//! let chosen = Tensor::parameter(&cpu, &[-11.0], &[1]);
//! let rejected = Tensor::parameter(&cpu, &[-13.5], &[1]);
//! let reference = [Tensor::constant(&cpu, &[-12.0], &[1]), Tensor::constant(&cpu, &[-13.0], &[1])];
//! let inputs = PairInputs::new(&chosen, &rejected, &reference[0], &reference[1])?;
//! let loss = pairwise("dpo".parse()?, &Hyperparameters::default(), &inputs)?.mean_all();
//! assert!((loss.item() - 0.6209570).abs() < 1e-7);
//! assert_eq!(loss.backward().of(&chosen).shape(), [1]);
//! # Ok::<(), losses::LossError>(())
//! ```

#![forbid(unsafe_code)]

pub mod audit;
pub mod cdpo;
pub mod dpo;
pub mod error;
pub mod exact_target;
pub mod explain;
pub mod hinge;
pub mod hyperparameters;
pub mod ipo;
pub mod loss;
mod numeric;
pub mod pair;
pub mod robust;
mod rows;
mod samples;
pub mod sequence;
pub mod slpo;
pub mod slpo_exact;
pub mod slpo_gkl;
pub mod slpo_literal;
pub mod slpo_token;
pub mod soft_cross_entropy;
mod target_on_device;
pub mod token;
pub mod verify;
pub mod weights;

pub use error::LossError;
pub use hyperparameters::{Hyperparameters, Setting};
pub use loss::{Loss, pairwise, pairwise_composed};
pub use numeric::logaddexp;
pub use pair::{Pair, PairInputs, PairLoss};
pub use samples::registry;
pub use sequence::{Layout, PairLogProbs, SequenceLogProbs, sequence_log_probs};
pub use slpo_exact::{ExactTargets, PairRows};
pub use token::{TokenInputs, TokenWeights};
pub use weights::{Shares, WeightRule, Weights};
