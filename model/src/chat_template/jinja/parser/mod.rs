//! The parser: tokens to a syntax tree. Every recursion counts its levels, so that no template overflows the stack.

mod expressions;
mod statements;

use super::fault::{Outcome, refuse};
use super::lexer::tokens;
use super::limits::DEEPEST_SYNTAX;
use super::syntax::Statement;
use super::token::{Kind, Token};
use std::collections::HashSet;
use std::sync::Arc;

/// Parses the statements of a template.
///
/// # Errors
/// If `text` is not a template, or has more levels than [`DEEPEST_SYNTAX`].
pub fn parsed(text: &str) -> Outcome<Vec<Statement>> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, levels: 0, loops: 0, blocks: HashSet::new() };
    let statements = parser.body(&[]);
    let line = parser.line();
    statements.map_err(|fault| fault.at(line))
}

struct Parser {
    /// All tokens. The last one is [`Kind::End`].
    tokens: Vec<Token>,
    at: usize,
    levels: u32,
    /// The number of loops around the current place that `break` can end.
    loops: u32,
    /// The names of the blocks so far.
    blocks: HashSet<Arc<str>>,
}

impl Parser {
    fn kind(&self) -> &Kind {
        &self.tokens[self.at].kind
    }

    fn ahead(&self) -> &Kind {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].kind
    }

    fn line(&self) -> u32 {
        self.tokens[self.at].line
    }

    fn skip(&mut self, tokens: usize) {
        self.at = (self.at + tokens).min(self.tokens.len() - 1);
    }

    fn is_operator(&self, text: &str) -> bool {
        matches!(self.kind(), Kind::Operator(own) if *own == text)
    }

    fn is_operator_ahead(&self, text: &str) -> bool {
        matches!(self.ahead(), Kind::Operator(own) if *own == text)
    }

    fn is_name(&self, text: &str) -> bool {
        matches!(self.kind(), Kind::Name(own) if &**own == text)
    }

    fn is_name_ahead(&self, text: &str) -> bool {
        matches!(self.ahead(), Kind::Name(own) if &**own == text)
    }

    fn skip_operator(&mut self, text: &str) -> bool {
        let found = self.is_operator(text);
        self.skip(usize::from(found));
        found
    }

    fn skip_name(&mut self, text: &str) -> bool {
        let found = self.is_name(text);
        self.skip(usize::from(found));
        found
    }

    fn expect_operator(&mut self, text: &str) -> Outcome<()> {
        if !self.skip_operator(text) {
            refuse!("{} where {text:?} was expected", self.described());
        }
        Ok(())
    }

    fn expect_name(&mut self, text: &str) -> Outcome<()> {
        if !self.skip_name(text) {
            refuse!("{} where {text:?} was expected", self.described());
        }
        Ok(())
    }

    fn expect_any_name(&mut self) -> Outcome<Arc<str>> {
        let Kind::Name(name) = self.kind().clone() else { refuse!("{} where a name was expected", self.described()) };
        self.skip(1);
        Ok(name)
    }

    fn expect(&mut self, kind: &Kind) -> Outcome<()> {
        if self.kind() != kind {
            refuse!("{} where {} was expected", self.described(), described(kind));
        }
        self.skip(1);
        Ok(())
    }

    fn described(&self) -> String {
        described(self.kind())
    }

    /// Runs `parse` one level deeper.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        if self.levels >= DEEPEST_SYNTAX {
            refuse!("the template has more than {DEEPEST_SYNTAX} levels");
        }
        self.levels += 1;
        let parsed = parse(self);
        self.levels -= 1;
        parsed
    }
}

/// Describes a token in words.
fn described(kind: &Kind) -> String {
    match kind {
        Kind::Data(_) => "text".to_owned(),
        Kind::VariableBegin => "{{".to_owned(),
        Kind::VariableEnd => "the end of {{ }}".to_owned(),
        Kind::BlockBegin => "{%".to_owned(),
        Kind::BlockEnd => "the end of {% %}".to_owned(),
        Kind::Name(name) => format!("{name:?}"),
        Kind::Text(_) => "a string".to_owned(),
        Kind::Integer(value) => value.to_string(),
        Kind::Float(value) => value.to_string(),
        Kind::Operator(text) => format!("{text:?}"),
        Kind::End => "the end of the template".to_owned(),
    }
}
