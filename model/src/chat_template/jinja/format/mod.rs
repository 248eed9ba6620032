//! Python's formats of values: `format(value, spec)`, `str.format` and `%`.

pub mod braces;
mod digits;
pub mod percent;
mod spec;
