//! Errors about files, configurations and data, each described in one line.

use std::io;
use std::path::{Path, PathBuf};

/// The result of everything in this crate that touches a file, a configuration or user data.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One failure. Its `Display` text is complete: it says what failed, where, and what to do if that is known. The causes behind
/// [`std::error::Error::source`] repeat parts of this text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write a file.
    #[error("{}: {}", path.display(), io_words(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file that should hold JSON does not.
    #[error("{}:{line}: not valid JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The line in that file, counted from 1.
        line: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A row of a dataset cannot be used and is no ordinary edge case: the file should be corrected.
    #[error("{}:{line}: {reason}", path.display())]
    BadRow {
        /// The dataset.
        path: PathBuf,
        /// The line in that file, counted from 1.
        line: usize,
        /// What is wrong with the row.
        reason: String,
    },
    /// A file is not what its name or its first bytes promise: truncated, overlong or inconsistent.
    #[error("{}: {reason}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A dataset holds nothing that can be trained on.
    #[error("{}: {reason}", path.display())]
    NoData {
        /// The dataset.
        path: PathBuf,
        /// What was looked for, and what was found instead.
        reason: String,
    },
    /// A model's file lacks a tensor that its configuration asks for.
    #[error("tensor {name} is missing: the weights do not belong to this config.json")]
    MissingTensor {
        /// The tensor's name in the file.
        name: String,
    },
    /// A tensor's shape is not the one its configuration asks for.
    #[error("tensor {name} has shape {found:?}, the configuration asks for {expected:?}")]
    ShapeMismatch {
        /// The tensor's name in the file.
        name: String,
        /// The shape that follows from the configuration.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A configuration has a value that no model can have.
    #[error("{}: {reason}", location(path.as_deref(), "configuration"))]
    BadConfig {
        /// The file, where the configuration came from one.
        path: Option<PathBuf>,
        /// The key and what is wrong with its value.
        reason: String,
    },
    /// A tokenizer cannot be read, or cannot encode or decode.
    #[error("{}: {reason}", location(path.as_deref(), "tokenizer"))]
    Tokenizer {
        /// The file, where the tokenizer came from one.
        path: Option<PathBuf>,
        /// What went wrong.
        reason: String,
    },
    /// A chat template is not valid Jinja, or refuses a conversation.
    #[error("{}: {reason}", path.display())]
    ChatTemplate {
        /// The file that holds the template.
        path: PathBuf,
        /// What is wrong, in the template's own words where it has some.
        reason: String,
    },
    /// A token id is not in the vocabulary.
    #[error("token {token} is out of range: the vocabulary has {vocab_size} tokens, 0 to {}", vocab_size.saturating_sub(1))]
    TokenOutOfRange {
        /// The token id.
        token: u32,
        /// The size of the vocabulary.
        vocab_size: usize,
    },
    /// A weight is NaN or infinite, or too large for f32.
    #[error("{}: tensor {tensor} has {value} at element {index}: every weight must be finite in f32", path.display())]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The flat index of the element in row-major order.
        index: usize,
        /// The value found there.
        value: f64,
    },
    /// A number in training is NaN or infinite.
    #[error("step {step}: {what}: training stopped before the step was made; {}", advice_at(*step))]
    NotFinite {
        /// The step that could not be made, from 1.
        step: u64,
        /// Which number is not finite.
        what: String,
    },
    /// This process was started wrongly among several, or they could not connect.
    #[error("several processes: {0}")]
    Launch(String),
    /// Another process of the same run is gone, or is about to end.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// A GPU failed, or a library for GPUs.
    #[error(transparent)]
    Cuda(#[from] engine::CudaError),
    /// The caller asked to stop the work.
    #[error("stopped on request")]
    Stopped,
    /// The input is well-formed, but this program does not support it.
    #[error("{}: {what} is not supported; supported: {supported}", location(path.as_deref(), "configuration"))]
    Unsupported {
        /// The file, where it came from one.
        path: Option<PathBuf>,
        /// The key and value, or the format.
        what: String,
        /// What is supported in its place.
        supported: String,
    },
}

/// Another process that is gone, or has announced that it will end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("process {rank} of {size} (counted from 0) {what}")]
pub struct Lost {
    /// The rank of that process.
    pub rank: usize,
    /// The number of processes.
    pub size: usize,
    /// What happened to it.
    pub what: String,
    /// True if the first process reported it. The first process then tells its user itself.
    pub told_by_first: bool,
}

fn location(path: Option<&Path>, otherwise: &str) -> String {
    path.map_or_else(|| otherwise.to_owned(), |path| path.display().to_string())
}

/// Returns advice about a step that is not finite. Before the first step, no learning rate has had an effect.
fn advice_at(step: u64) -> &'static str {
    match step {
        0 | 1 => "no step came before it, so look at the model's weights and at the loss' settings (--beta), not at the learning rate",
        _ => "try a smaller learning rate, or --clip",
    }
}

/// Describes an error of the operating system in words, without its number.
pub fn io_words(error: &io::Error) -> String {
    use io::ErrorKind::*;
    let known = match error.kind() {
        NotFound => "there is no such file or folder",
        PermissionDenied => "this user has no permission",
        AlreadyExists => "there is a file or folder of this name already",
        IsADirectory => "it is a folder, not a file",
        NotADirectory => "a part of the path is a file, not a folder",
        DirectoryNotEmpty => "the folder is not empty",
        ReadOnlyFilesystem => "the disk is read-only",
        StorageFull | QuotaExceeded => "the disk is full",
        FileTooLarge => "the file is larger than the system allows",
        UnexpectedEof => "the file ends too early",
        InvalidFilename => "the name is too long, or no name that the system allows",
        InvalidData if error.to_string().contains("UTF-8") => "it is not UTF-8 text",
        _ => {
            let text = error.to_string();
            return text.split(" (os error ").next().unwrap_or(&text).to_owned();
        }
    };
    known.to_owned()
}

impl Error {
    /// Makes an [`Error::Io`] about `path`, for `map_err`.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }

    /// Makes an [`Error::Json`] about `path` at the parser's own line, for `map_err`.
    pub fn json(path: impl Into<PathBuf>) -> impl FnOnce(serde_json::Error) -> Error {
        let path = path.into();
        move |source| Error::Json { path, line: source.line(), source }
    }

    /// Makes an [`Error::BadFile`] about `path`.
    pub fn bad_file(path: impl Into<PathBuf>, reason: impl Into<String>) -> Error {
        Error::BadFile { path: path.into(), reason: reason.into() }
    }

    /// Makes an [`Error::BadConfig`] with no file yet; [`Error::at`] adds it.
    pub fn bad_config(reason: impl Into<String>) -> Error {
        Error::BadConfig { path: None, reason: reason.into() }
    }

    /// Makes an [`Error::Tokenizer`] with no file yet; [`Error::at`] adds it.
    pub fn tokenizer(reason: impl Into<String>) -> Error {
        Error::Tokenizer { path: None, reason: reason.into() }
    }

    /// Adds `file` to an error that can name a file and does not yet.
    #[must_use]
    pub fn at(mut self, file: &Path) -> Error {
        if let Error::BadConfig { path, .. } | Error::Tokenizer { path, .. } | Error::Unsupported { path, .. } = &mut self {
            path.get_or_insert_with(|| file.to_owned());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_the_system_is_shown_for_any_of_its_errors() {
        for number in 1..=133 {
            let words = io_words(&io::Error::from_raw_os_error(number));
            assert!(!words.is_empty() && !words.contains("os error") && !words.contains('\n'), "{number}: {words}");
        }
        assert_eq!(io_words(&io::Error::other("disk full")), "disk full");
    }

    #[test]
    fn the_advice_about_a_first_step_is_not_the_learning_rate() {
        let at = |step| Error::NotFinite { step, what: "the loss is NaN".to_owned() }.to_string();
        assert!(at(1).contains("not at the learning rate") && at(2).ends_with("try a smaller learning rate, or --clip"));
    }
}
