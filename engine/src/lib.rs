//! Tensors, tape, ops, backends and gradient checks: reverse-mode automatic differentiation, written out by hand.
//!
#![cfg_attr(any(doc, doctest), doc = include_str!("../README.md"))]

pub mod backend;
pub mod backward;
mod buffer_pool;
mod cache_aligned;
pub mod dual;
pub mod explain;
pub mod formula;
pub mod functions;
mod gemm;
pub mod gradcheck;
pub mod graph;
#[cfg(any(doc, doctest))]
pub mod guide;
pub mod ops;
pub mod out_of_memory;
pub mod profile;
pub mod random;
pub mod rewrite;
pub mod rotary;
pub mod sampling;
pub mod scalar;
pub mod segments;
pub mod shape;
mod simd;
pub mod tape;
pub mod tensor;
mod threads;
pub mod vector_math;
pub mod watch;

pub use backend::cpu::Cpu;
pub use backend::cpu::element::Element;
#[cfg(feature = "cuda")]
pub use backend::cuda::{Cuda, CudaError};
pub use backend::device::Device;
pub use backend::precision::{Precision, PrecisionError};
pub use backend::reference::Reference;
pub use backend::{AdamwPart, AdamwStep, Backend, SgdStep, StepDecision};
pub use backward::Gradients;
pub use buffer_pool::OUT_OF_MEMORY;
pub use cache_aligned::CacheAligned;
pub use dual::Dual;
pub use ops::checkpoint::checkpoint;
pub use ops::rope::RotaryTable;
pub use random::Generator;
pub use rotary::{Pairing, RotaryAngles};
pub use sampling::{SamplingRule, penalise_repetition};
pub use scalar::Scalar;
pub use segments::Segments;
pub use simd::vectorised;
pub use tape::no_grad;
pub use tensor::Tensor;
pub use threads::parallel_loop::InTasks;
