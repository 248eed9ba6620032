//! What the command line's arguments fail with, as far as they use it.

/// As the binary's `Failure`.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Bad usage.
    #[error("{0}")]
    Usage(String),
    /// A file that cannot be read.
    #[error("{0}")]
    Failed(String),
}
