//! Losses of the sequence log-probabilities of a pair: a file each, with its value, its two slopes and its twin.
//!
//! To add one, write `NAME.rs` (a [`PairLoss`](pair::PairLoss) and a [`PreferenceLoss`](crate::PreferenceLoss)) and `NAME.md` (its
//! explanation), and add its word to the table in `lib.rs`. Help, dispatch, the start check, `slpo explain`, `gradcheck` and `verify` then
//! know it.

pub mod arrangement;
pub mod dialect;
pub mod numbers;
pub mod pair;
pub(crate) mod samples;
mod token_samples;

macro_rules! files {
    (pairwise { $($file:ident: $Loss:ident),* } $($others:tt)*) => { $(pub mod $file;)* };
}
losses!(files);
