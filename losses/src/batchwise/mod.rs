//! Losses of a whole batch of pairs: a file each. The batch arranges the pairs, or sets a setting; then a pairwise loss is computed.

pub mod batch;
mod samples;

macro_rules! files {
    (pairwise $pairwise:tt batchwise { $($file:ident: $Loss:ident),* } $($others:tt)*) => { $(pub mod $file;)* };
}
losses!(files);
