//! Values in Python's notations of formats: `format(value, spec)`, `str.format` and `%`.

pub mod braces;
mod digits;
pub mod percent;
mod spec;
