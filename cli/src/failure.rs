//! The reason why a command fails: one line for a person, and an exit code for a program.

use crate::report::ReportError;
use crate::run_folder::RunFolderError;
use crate::terminal;
use model::error::io_words;
use std::io;
use std::process::ExitCode;

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line asks for something that does not exist. The text says what to write instead.
    #[error("{0}")]
    Usage(String),
    /// A model, dataset or tokenizer cannot be used.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// A report cannot be made.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A run's folder cannot be used.
    #[error(transparent)]
    RunFolder(#[from] RunFolderError),
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {}", io_words(.0))]
    Output(#[from] io::Error),
    /// Anything else. The text says what failed, and where.
    #[error("{0}")]
    Failed(String),
    /// The user asked to stop, and the work so far is saved. The text says where, and how to resume.
    #[error("{0}")]
    Interrupted(String),
}

impl Failure {
    /// Returns 2 for bad usage, 128 plus the signal's number for a stopped command, and 1 for any other failure. If the reader of standard
    /// output is gone, returns 0.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Interrupted(_) => ExitCode::from(crate::interrupt::exit_code() as u8),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }

    /// Returns the line for standard error, or `None` if the reader of standard output is gone.
    pub fn line(&self) -> Option<String> {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Interrupted(_) => Some(terminal::line(&format!("stopped: {self}"))),
            _ => Some(terminal::line(&format!("error: {self}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_without_numbers_of_the_system() {
        let failure = Failure::Failed("cannot listen:\n no such host (os error 2), nor (os error 98) another".to_owned());
        assert_eq!(failure.line().unwrap(), "error: cannot listen: no such host, nor another");
    }
}
