//! Why a command ends without doing what it was asked: one line for a person, and an exit code for a program.

use crate::report::ReportError;
use crate::run_folder::RunFolderError;
use crate::terminal;
use model::error::io_words;
use std::io;
use std::process::ExitCode;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line asks for something that does not exist; says what to write instead.
    #[error("{0}")]
    Usage(String),
    /// A model, dataset or tokenizer.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// A report.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A run's folder.
    #[error(transparent)]
    RunFolder(#[from] RunFolderError),
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {}", io_words(.0))]
    Output(#[from] io::Error),
    /// Anything else; says what and where.
    #[error("{0}")]
    Failed(String),
    /// The user asked to stop, and what was done so far is saved; says where, and how to go on.
    #[error("{0}")]
    Interrupted(String),
}

impl Failure {
    /// 2 for bad usage, 128 and the signal for a command that was stopped, 1 for any other failure; 0 where the reader of standard output
    /// has gone.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Interrupted(_) => ExitCode::from(crate::interrupt::exit_code() as u8),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }

    /// The line for standard error; none where the reader of standard output has gone.
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
