//! What `slpo explain` takes.

use clap::Args;
use std::path::PathBuf;

/// Arguments of `slpo explain`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  slpo explain\n  slpo explain softmax\n  slpo explain dpo --html dpo.html")]
pub struct Explain {
    /// The op or loss [default: list them]
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Write a page with the formulas typeset and the graph drawn; it needs no network
    #[arg(long, value_name = "FILE", requires = "name")]
    pub html: Option<PathBuf>,
}
