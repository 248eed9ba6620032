//! The worked examples: one function an op, by the op's name, on few numbers that can be followed by hand.

mod elementwise;
mod models;
mod rows;
mod shapes;

pub(crate) use elementwise::*;
pub(crate) use models::*;
pub(crate) use rows::*;
pub(crate) use shapes::*;
