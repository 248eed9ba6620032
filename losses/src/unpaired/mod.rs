//! Losses of labelled rows: a completion alone, which is desirable or undesirable. A file each, with its value, its slope and its twin.
//!
//! To add one, write `NAME.rs` (a [`RowLoss`](row::RowLoss) and a [`PreferenceLoss`](crate::PreferenceLoss)) and `NAME.md` (its
//! explanation), and add its word to the table in `lib.rs`.

pub mod dispatch;
pub mod row;
pub(crate) mod samples;

macro_rules! files {
    (
        pairwise $pairwise:tt batchwise $batchwise:tt unpaired { $($file:ident: $Loss:ident),* } $($others:tt)*
    ) => { $(pub mod $file;)* };
}
losses!(files);
