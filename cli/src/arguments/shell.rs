//! The arguments of `slpo completions` and `slpo man`.

use clap::Args;
use clap_complete::Shell;
use std::path::PathBuf;

/// Arguments of `slpo completions`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  slpo completions bash > ~/.local/share/bash-completion/completions/slpo\n  \
                        slpo completions zsh > ~/.zfunc/_slpo\n  slpo completions fish > ~/.config/fish/completions/slpo.fish")]
pub struct Completions {
    /// The shell
    pub shell: Shell,
}

/// Arguments of `slpo man`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  slpo man --out ~/.local/share/man/man1\n  man slpo-align")]
pub struct Man {
    /// The folder for the pages: slpo.1, and one for each command
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}
