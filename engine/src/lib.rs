//! Reverse-mode automatic differentiation, written out by hand and checked in every way there is.
//!
//! [`Tensor<B>`] is generic over a [`Backend`], so the same source runs in several numeric worlds:
//!
//! | world | for |
//! |---|---|
//! | [`Cpu<f32>`](Cpu) | training: SIMD, rayon, matrixmultiply |
//! | [`Cpu<f64>`](Cpu) | oracles and finite differences |
//! | [`Cpu<Dual<f64>>`](Dual) | exact forward mode; run under the reverse pass it gives Hessian-vector products |
//! | [`Cuda`] | training on an NVIDIA GPU, loaded at run time |
//! | [`Reference<T>`](Reference) | the readable twin: every kernel as its formula, no fast path at all |
//!
//! ```
//! use engine::{Cpu, Tensor};
//! let cpu = Cpu::<f64>::new();
//! let x = Tensor::parameter(&cpu, &[1.0, 2.0, 3.0], &[3]);
//! let loss = x.mul(&x).sum_all();
//! let gradients = loss.backward();
//! assert_eq!(gradients.of(&x).to_f64(), vec![2.0, 4.0, 6.0]);
//! ```
//!
//! A wrong shape is a programming error and panics in the caller's words; see each method's `# Panics`.

pub mod backend;
pub mod backward;
mod cache_aligned;
pub mod dual;
pub mod explain;
pub mod formula;
pub mod functions;
pub mod gradcheck;
pub mod graph;
pub mod mapped_file;
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
pub mod tape;
pub mod tensor;
pub mod vector_math;
pub mod watch;

pub use backend::cpu::Cpu;
pub use backend::cpu::pool::OUT_OF_MEMORY;
pub use backend::cpu::simd::vectorised;
pub use backend::cuda::{Cuda, CudaError};
pub use backend::device::Device;
pub use backend::precision::{Precision, PrecisionError};
pub use backend::reference::Reference;
pub use backend::{AdamwPart, AdamwStep, Backend, SgdStep, StepDecision};
pub use backward::Gradients;
pub use cache_aligned::CacheAligned;
pub use dual::Dual;
pub use mapped_file::MappedFile;
pub use ops::checkpoint::checkpoint;
pub use ops::rope::RotaryTable;
pub use random::Generator;
pub use rotary::{Pairing, RotaryAngles};
pub use sampling::{SamplingRule, penalise_repetition};
pub use scalar::Scalar;
pub use segments::Segments;
pub use tape::no_grad;
pub use tensor::Tensor;
