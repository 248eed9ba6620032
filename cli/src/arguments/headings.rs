//! The headings of options in the help texts. Every option of a training command names its own heading, because a heading of a whole struct
//! would also apply to the options after it.

/// For the input.
pub const DATA: &str = "Data";
/// For the model and its start.
pub const MODEL: &str = "Model";
/// For the steps.
pub const TRAINING: &str = "Training";
/// For the loss.
pub const LOSS: &str = "Loss";
/// For an adapter instead of the whole model.
pub const LORA: &str = "LoRA";
/// For the run's folder, its content, and resuming.
pub const RUN: &str = "Run";
