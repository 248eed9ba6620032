//! The headings under which help lists options. Every option of a training command names its own: a heading that is set for a whole struct
//! would go on over the options after it.

/// What is read.
pub const DATA: &str = "Data";
/// What is trained, and from where.
pub const MODEL: &str = "Model";
/// How the steps are made.
pub const TRAINING: &str = "Training";
/// What is minimised.
pub const LOSS: &str = "Loss";
/// An adapter instead of the whole model.
pub const LORA: &str = "LoRA";
/// The folder, what is kept in it, and going on.
pub const RUN: &str = "Run";
