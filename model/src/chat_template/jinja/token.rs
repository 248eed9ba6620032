//! The tokens of a template.

use std::sync::Arc;

/// The kind of a token.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Text outside of tags.
    Data(Arc<str>),
    /// `{{`
    VariableBegin,
    /// `}}`
    VariableEnd,
    /// `{%`
    BlockBegin,
    /// `%}`
    BlockEnd,
    /// A word.
    Name(Arc<str>),
    /// A string in quotes.
    Text(Arc<str>),
    /// A whole number.
    Integer(i128),
    /// A number with a point or an exponent.
    Float(f64),
    /// An operator or a bracket.
    Operator(&'static str),
    /// The end of the template.
    End,
}

/// A token and its line, from 1.
#[derive(Debug, Clone)]
pub struct Token {
    pub kind: Kind,
    pub line: u32,
}
