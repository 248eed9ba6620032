//! The kernels, one a file, and the two packings that several of them share.

pub mod amx_bf16;
pub mod amx_f32;
pub mod avx2;
pub mod avx512;
pub mod avx512_bf16;
pub mod pack_bf16;
pub mod pack_f32;
