//! Gradient checking: every gradient against everything that can tell whether it is true.

mod sample;

pub use sample::{Draw, Entry, Function, Input, Sample};
