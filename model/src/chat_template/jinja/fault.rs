//! The error that stops a template.

/// An error of a template, in words for the person who runs it.
#[derive(Debug)]
pub struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    words: String,
    line: Option<u32>,
    is_raised: bool,
}

/// The result of one step of a template.
pub type Outcome<T> = Result<T, Fault>;

impl Fault {
    /// Makes an error of the template or a refusal of this interpreter.
    pub fn new(words: impl Into<String>) -> Self {
        Self(Box::new(Inner { words: words.into(), line: None, is_raised: false }))
    }

    /// Makes the template's own refusal, from `raise_exception`.
    pub fn raised(words: impl Into<String>) -> Self {
        Self(Box::new(Inner { words: words.into(), line: None, is_raised: true }))
    }

    /// Returns the same error with the line of the template, unless a line is known already.
    #[must_use]
    pub fn at(mut self, line: u32) -> Self {
        self.0.line.get_or_insert(line);
        self
    }

    /// Returns the words of the error.
    pub fn words(&self) -> &str {
        &self.0.words
    }

    /// Returns the line of the template, counted from 1.
    pub fn line(&self) -> Option<u32> {
        self.0.line
    }

    /// True if the template itself refused its input.
    pub fn is_raised(&self) -> bool {
        self.0.is_raised
    }
}

/// Returns from the function with a [`Fault`]. Its words are given as to `format!`.
macro_rules! refuse {
    ($($words:tt)*) => { return Err($crate::chat_template::jinja::fault::Fault::new(format!($($words)*))) };
}
pub(crate) use refuse;
