//! A kernel a file, and how operands are packed for those that share an order.

pub mod amx;
pub mod amx_f32;
pub mod avx2;
pub mod avx512;
pub mod avx512_bf16;
pub mod pack_bf16;
mod pack_f32;
