//! Jinja as transformers runs chat templates: jinja2's `ImmutableSandboxedEnvironment` with `trim_blocks`, `lstrip_blocks` and loop
//! controls, on Python's values.
//!
//! The interpreter is our own, because a Rust library for Jinja has two faults:
//!
//! - It silently computes some expressions differently: a dict's key hides its method, 1e20 is written in full, a generator has a length.
//! - Its recursion cannot be bounded.
//!
//! A template is a stranger's program. It can read nothing but its variables, and [`limits`] bounds what it may use.
//!
//! Read in this order: [`lexer`], [`parser`], [`syntax`], [`types`], [`value`], [`interpreter`].

mod arguments;
mod attributes;
mod check;
mod dict;
mod fault;
mod filters;
mod format;
mod globals;
mod interpreter;
mod iteration;
mod json;
mod lexer;
mod limits;
mod literals;
mod methods;
mod numbers;
mod operators;
mod parser;
mod predicates;
mod printing;
mod syntax;
mod token;
mod types;
mod unicode;
mod value;

pub use fault::{Fault, Outcome};

use interpreter::Interpreter;
use std::ops::Range;
use std::sync::Arc;
use syntax::{Statement, StatementKind};
use value::Value;

/// A template that is ready to run.
#[derive(Debug)]
pub struct Program {
    statements: Vec<Statement>,
    /// True if the template has generation blocks and the place of each block's text is known. Then no generation block is within:
    ///
    /// - a macro or a call,
    /// - a block that is assigned or filtered,
    /// - a recursive loop,
    /// - another generation block.
    marks_generation: bool,
}

impl Program {
    /// Reads a template.
    ///
    /// # Errors
    /// If `text` is not a template that jinja2 accepts.
    pub fn new(text: &str) -> Outcome<Self> {
        limits::on_own_stack(|| {
            if text.len() > limits::LONGEST_TEMPLATE {
                fault::refuse!("a template of {} bytes: {} are the most that is read", text.len(), limits::LONGEST_TEMPLATE);
            }
            let statements = parser::parsed(text)?;
            check::check(&statements)?;
            let marks_generation = marks(&statements, false) == Marks::Plain;
            Ok(Self { statements, marks_generation })
        })
    }

    /// Runs the template with `variables`. Returns its text, and the bytes of the text that generation blocks wrote.
    ///
    /// # Errors
    /// If the template refuses its input, misuses a value, or needs more than its limits allow.
    pub fn run(&self, variables: &serde_json::Map<String, serde_json::Value>) -> Outcome<(String, Vec<Range<usize>>)> {
        limits::on_own_stack(|| {
            let value = |(name, value): (&String, _)| Ok((Arc::from(name.as_str()), Value::from_json(value)?));
            let variables = variables.iter().map(value).collect::<Outcome<Vec<_>>>()?;
            let (text, generated) = Interpreter::new(&self.statements, variables).run()?;
            Ok((text, if self.marks_generation { generated } else { Vec::new() }))
        })
    }
}

/// The way in which a template marks the model's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Marks {
    None,
    /// By generation blocks whose text goes straight into the template's text.
    Plain,
    /// By a generation block within a macro or the like. The template may put the text of such a block anywhere.
    Hidden,
}

/// Finds the marks of `statements`. `is_captured` is true if their text goes into a value first.
fn marks(statements: &[Statement], is_captured: bool) -> Marks {
    let of = |statement: &Statement| match &statement.kind {
        StatementKind::Generation(inner) if is_captured || marks(&inner.body, true) != Marks::None => Marks::Hidden,
        StatementKind::Generation(_) => Marks::Plain,
        StatementKind::For(block) => {
            let is_captured = is_captured || block.is_recursive;
            marks(&block.body, is_captured).max(marks(&block.otherwise, is_captured))
        }
        StatementKind::If { branches, otherwise } => {
            let bodies = branches.iter().map(|(_, body)| marks(body, is_captured));
            bodies.fold(marks(otherwise, is_captured), Marks::max)
        }
        StatementKind::With(_, body) | StatementKind::Block(_, body) => marks(body, is_captured),
        StatementKind::SetBlock(_, _, body) | StatementKind::FilterBlock(_, body) => marks(body, true),
        StatementKind::Macro(inner) | StatementKind::CallBlock(_, inner) => marks(&inner.body, true),
        _ => Marks::None,
    };
    statements.iter().map(of).max().unwrap_or(Marks::None)
}
