//! Parallel loops: how a loop is cut into tasks, and which threads run them.

pub mod crew;
pub mod parallel_loop;
#[cfg(test)]
mod tests;
