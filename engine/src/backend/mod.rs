//! What tensors ask of a device: a map.
//!
//! | family | file | what |
//! |---|---|---|
//! | [`Core`] | `core.rs` | what a device must implement: storage, views, formulas, sums, products, indexing |
//! | [`Products`] | `products.rs` | layers, lists of products, the gated feed-forward part |
//! | [`Rows`] | `rows.rs` | softmax and its relatives, normalisation |
//! | [`Attention`] | `attention.rs` | attention, rotation |
//! | [`Vocabulary`] | `vocabulary.rs` | log-probabilities and choice of tokens |
//! | [`Update`] | `update.rs` | the optimizer's step |
//!
//! Every method outside of [`Core`] has its formula as default. A new device implements [`Core`], writes five empty `impl`s, and runs
//! everything. Then it overrides what is slow. [`Reference`] overrides nothing, and the tests hold every override to it.
//!
//! [`Reference`]: reference::Reference

pub mod attention;
pub mod core;
pub mod cpu;
#[cfg_attr(not(feature = "cuda"), path = "cuda/absent.rs")]
pub mod cuda;
pub mod device;
pub mod precision;
pub mod products;
pub mod reference;
pub mod rows;
mod step;
pub mod update;
pub mod vocabulary;

pub use self::core::{Core, Indices};
pub use crate::formula::{Add, Div, Equal, Formula, Mul, Saves, Sub, Unary, Vjp};
pub use attention::Attention;
pub use products::Products;
pub use rows::Rows;
pub use step::{AdamwPart, AdamwStep, SgdStep, StepDecision};
pub use update::Update;
pub use vocabulary::Vocabulary;

/// A device with all families: what tensors, models and losses are generic over.
pub trait Backend: Attention + Vocabulary + Update {}

impl<B: Attention + Vocabulary + Update> Backend for B {}
