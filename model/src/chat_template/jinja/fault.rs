//! Why a template stopped.

/// An error of a template, in words for the person who runs it.
#[derive(Debug)]
pub struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    words: String,
    line: Option<u32>,
    is_raised: bool,
}

/// What a step of a template gives.
pub type Outcome<T> = Result<T, Fault>;

impl Fault {
    /// An error of the template or a refusal of this interpreter.
    pub fn new(words: impl Into<String>) -> Self {
        Self(Box::new(Inner { words: words.into(), line: None, is_raised: false }))
    }

    /// The template's own refusal: `raise_exception`.
    pub fn raised(words: impl Into<String>) -> Self {
        Self(Box::new(Inner { words: words.into(), line: None, is_raised: true }))
    }

    /// The same error, in `line` of the template unless a line is known already.
    #[must_use]
    pub fn at(mut self, line: u32) -> Self {
        self.0.line.get_or_insert(line);
        self
    }

    /// What went wrong.
    pub fn words(&self) -> &str {
        &self.0.words
    }

    /// The line of the template, from 1.
    pub fn line(&self) -> Option<u32> {
        self.0.line
    }

    /// True if the template itself refused its input.
    pub fn is_raised(&self) -> bool {
        self.0.is_raised
    }
}

/// Returns with a [`Fault`] in the words of a format.
macro_rules! refuse {
    ($($words:tt)*) => { return Err($crate::chat_template::jinja::fault::Fault::new(format!($($words)*))) };
}
pub(crate) use refuse;
