//! Losses of the logits at the positions that both completions of a pair have.

pub mod token;

macro_rules! files {
    (
        pairwise $pairwise:tt batchwise $batchwise:tt unpaired $unpaired:tt tokenwise { $($file:ident: $Loss:ident),* } $($others:tt)*
    ) => { $(pub mod $file;)* };
}
losses!(files);
