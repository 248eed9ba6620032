//! Models, data and training on top of the engine.

pub mod language;
