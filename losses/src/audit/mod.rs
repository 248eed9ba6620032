//! The claims of the SLPO paper (Ho, "Supervised Learning Preference Optimization") as computations.
//!
//! Every claim is recomputed on instances that are drawn from a seed. Values are in f64, gradients come from the tape, curvature from duals
//! under the tape, and sequences are enumerated. The results are compared with what theory predicts for the same instance. The verdict
//! follows from the numbers, never from this text.
//!
//! | module | contents |
//! |---|---|
//! | [`claim`] | a claim, and the rule for its verdict |
//! | `equations` | Eq 1 to 5 and Appendix A |
//! | `observations` | the key observations 1 to 4 about DPO |
//! | `appendix_b` | temperature scaling, and section 4's cross-entropy |
//! | `objective` | Eq 6 and 7: their minima and their gradients at the start |
//! | `implementation` `listing` | section 6.1: its text and its listing, and the listing's edges |
//! | `shape` | the "bowl" |
//! | `limit` | SLPO-GKL, the rescaled limit |
//! | `revision` `revision_start` `revision_listing` `revision_terms` | the paper's later revision: weights, two binary problems, temperature, listing |
//! | [`figures`] | series for a person to look at, from the same computations |
//!
//! ```
//! let claims = losses::audit::audit(0);
//! assert!(claims.iter().all(|claim| claim.agrees));
//! ```

mod appendix_b;
pub mod claim;
mod eigen;
mod equations;
pub mod figures;
mod forked_pair;
mod implementation;
mod instance;
mod limit;
mod listing;
mod objective;
mod observations;
mod positions;
mod revision;
mod revision_listing;
mod revision_start;
mod revision_terms;
mod shape;
mod tree;

pub use claim::{Check, Claim};

use claim::Computation;
use engine::Generator;

/// Computes every claim, in the order of the paper and then of its revision, on instances drawn from `seed`.
pub fn audit(seed: u64) -> Vec<Claim> {
    let groups: [&[Computation]; 8] = [
        equations::CLAIMS,
        observations::CLAIMS,
        appendix_b::CLAIMS,
        objective::CLAIMS,
        implementation::CLAIMS,
        shape::CLAIMS,
        limit::CLAIMS,
        revision::CLAIMS,
    ];
    let generator = Generator::new(seed);
    let all = groups.into_iter().flatten().enumerate();
    all.map(|(number, compute)| compute(&mut generator.stream(number as u64))).collect()
}
