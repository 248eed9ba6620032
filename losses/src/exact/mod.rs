//! The loss towards the exact autoregressive target, and the divergence that it is made of.

pub mod exact_target;
pub mod pair_rows;
pub mod soft_cross_entropy;
mod target_on_device;
mod target_on_host;

macro_rules! files {
    (
        pairwise $pairwise:tt batchwise $batchwise:tt unpaired $unpaired:tt tokenwise $tokenwise:tt exact { $($file:ident: $Loss:ident),* }
    ) => { $(pub mod $file;)* };
}
losses!(files);
