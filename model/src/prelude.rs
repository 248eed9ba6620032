//! What a program that trains or aligns a decoder needs, in one line: `use model::prelude::*;`.

pub use crate::align::{Alignment, PairMetrics, Reference};
pub use crate::boundary::Sequence;
pub use crate::config::Config;
pub use crate::data::PreferencePair;
pub use crate::decoder::{Decoder, ForwardOptions, Packed, Parameter};
pub use crate::error::Error;
pub use crate::generate::{Sampling, StopConditions, generate};
pub use crate::model_folder::ModelFolder;
pub use crate::optimizer::{Optimizer, Parameters, Rule, Schedule};
pub use crate::order::Order;
pub use crate::train::Trainer;
pub use engine::{Backend, Cpu, Device, Generator, Gradients, Tensor, no_grad};
pub use losses::{Hyperparameters, Loss, Objective};
