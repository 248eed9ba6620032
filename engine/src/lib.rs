//! Tensors, tape, ops, backends and gradient checks: reverse-mode automatic differentiation, written out by hand.
//!
#![cfg_attr(any(doc, doctest), doc = include_str!("../README.md"))]

pub mod backend;
mod cache_aligned;
pub mod dual;
pub mod explain;
pub mod gradcheck;
pub mod graph;
pub mod ops;
pub mod out_of_memory;
pub mod profile;
pub mod random;
pub mod rewrite;
pub mod sampling;
pub mod scalar;
pub mod shape;
pub mod tape;
pub mod tensor;
pub mod watch;

pub use backend::cpu::Cpu;
pub use backend::cpu::pool::OUT_OF_MEMORY;
pub use backend::cpu::simd::vectorised;
pub use backend::cuda::{Cuda, CudaError};
pub use backend::device::Device;
pub use backend::precision::{Precision, PrecisionError};
pub use backend::reference::Reference;
pub use backend::{AdamwPart, AdamwStep, Backend, SgdStep, StepDecision};
pub use cache_aligned::CacheAligned;
pub use dual::Dual;
pub use ops::attention::Segments;
pub use ops::checkpoint::checkpoint;
pub use ops::rope::{Pairing, RotaryAngles, RotaryTable};
pub use random::Generator;
pub use sampling::{SamplingRule, penalise_repetition};
pub use scalar::Scalar;
pub use tape::{Gradients, no_grad};
pub use tensor::Tensor;
