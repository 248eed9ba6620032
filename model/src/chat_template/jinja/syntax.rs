//! The syntax tree of a template.

use super::fault::{Outcome, refuse};
use super::limits::DEEPEST_SYNTAX;
use std::sync::Arc;

/// A literal.
#[derive(Debug, Clone)]
pub enum Constant {
    None,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Arc<str>),
}

/// An arithmetic operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
}

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

/// The arguments between the brackets of a call.
#[derive(Debug, Default)]
pub struct CallSyntax {
    pub positional: Vec<Expression>,
    pub named: Vec<(Arc<str>, Expression)>,
    /// `*items`
    pub more: Option<Box<Expression>>,
    /// `**entries`
    pub more_named: Option<Box<Expression>>,
}

/// The kind of an expression, with its parts.
#[derive(Debug)]
pub enum ExpressionKind {
    Constant(Constant),
    Name(Arc<str>),
    Tuple(Vec<Expression>),
    List(Vec<Expression>),
    Dict(Vec<(Expression, Expression)>),
    /// `object.name`
    Attribute(Box<Expression>, Arc<str>),
    /// `object[key]`
    Item(Box<Expression>, Box<Expression>),
    /// `object[start:stop:step]`
    Slice(Box<Expression>, [Option<Box<Expression>>; 3]),
    Call(Box<Expression>, CallSyntax),
    Filter(Box<Expression>, Arc<str>, CallSyntax),
    Test(Box<Expression>, Arc<str>, CallSyntax),
    Not(Box<Expression>),
    Negative(Box<Expression>),
    Positive(Box<Expression>),
    Arithmetic(Arithmetic, Box<Expression>, Box<Expression>),
    Concatenation(Vec<Expression>),
    Comparison(Box<Expression>, Vec<(Comparison, Expression)>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    /// `then if test else otherwise`
    Conditional {
        test: Box<Expression>,
        then: Box<Expression>,
        otherwise: Option<Box<Expression>>,
    },
    /// The text of a block, to which the filters at the head of the block apply.
    BlockText,
}

/// An expression, its line and its number of levels.
#[derive(Debug)]
pub struct Expression {
    pub kind: ExpressionKind,
    pub line: u32,
    height: u32,
}

impl CallSyntax {
    fn each(&self, visit: &mut dyn FnMut(&Expression)) {
        self.positional.iter().for_each(&mut *visit);
        self.named.iter().for_each(|(_, value)| visit(value));
        self.more.iter().chain(&self.more_named).for_each(|value| visit(value));
    }
}

impl Expression {
    /// Makes an expression in `line`.
    ///
    /// # Errors
    /// If it has more levels than [`DEEPEST_SYNTAX`].
    pub fn new(kind: ExpressionKind, line: u32) -> Outcome<Self> {
        let mut expression = Self { kind, line, height: 1 };
        let mut below = 0;
        expression.each_part(&mut |part| below = below.max(part.height));
        if below >= DEEPEST_SYNTAX {
            refuse!("an expression of more than {DEEPEST_SYNTAX} levels");
        }
        expression.height = below + 1;
        Ok(expression)
    }

    /// Calls `visit` with each direct part of this expression.
    pub fn each_part(&self, visit: &mut dyn FnMut(&Self)) {
        match &self.kind {
            ExpressionKind::Constant(_) | ExpressionKind::Name(_) | ExpressionKind::BlockText => {}
            ExpressionKind::Tuple(items) | ExpressionKind::List(items) | ExpressionKind::Concatenation(items) => {
                items.iter().for_each(visit)
            }
            ExpressionKind::Dict(entries) => entries.iter().for_each(|(key, value)| {
                visit(key);
                visit(value);
            }),
            ExpressionKind::Attribute(of, _) | ExpressionKind::Not(of) | ExpressionKind::Negative(of) | ExpressionKind::Positive(of) => {
                visit(of);
            }
            ExpressionKind::Item(left, right)
            | ExpressionKind::Arithmetic(_, left, right)
            | ExpressionKind::And(left, right)
            | ExpressionKind::Or(left, right) => {
                visit(left);
                visit(right);
            }
            ExpressionKind::Slice(of, bounds) => {
                visit(of);
                bounds.iter().flatten().for_each(|bound| visit(bound));
            }
            ExpressionKind::Call(of, call) | ExpressionKind::Filter(of, _, call) | ExpressionKind::Test(of, _, call) => {
                visit(of);
                call.each(visit);
            }
            ExpressionKind::Comparison(first, others) => {
                visit(first);
                others.iter().for_each(|(_, other)| visit(other));
            }
            ExpressionKind::Conditional { test, then, otherwise } => {
                visit(test);
                visit(then);
                otherwise.iter().for_each(|other| visit(other));
            }
        }
    }

    /// True if the expression reads the variable `name`.
    pub fn mentions(&self, name: &str) -> bool {
        if matches!(&self.kind, ExpressionKind::Name(own) if &**own == name) {
            return true;
        }
        let mut found = false;
        self.each_part(&mut |part| found = found || part.mentions(name));
        found
    }
}

/// The target of an assignment.
#[derive(Debug)]
pub enum Target {
    Name(Arc<str>),
    Tuple(Vec<Target>),
    /// `namespace.name`
    Attribute(Arc<str>, Arc<str>),
}

impl Target {
    /// True if `name` is assigned.
    pub fn assigns(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => &**own == name,
            Self::Tuple(parts) => parts.iter().any(|part| part.assigns(name)),
            Self::Attribute(..) => false,
        }
    }
}

/// A loop.
#[derive(Debug)]
pub struct For {
    pub target: Target,
    pub items: Expression,
    pub test: Option<Expression>,
    pub is_recursive: bool,
    pub body: Vec<Statement>,
    pub otherwise: Vec<Statement>,
}

/// The parameters and the body of a macro, or of the block of a call.
#[derive(Debug)]
pub struct Macro {
    pub name: Option<Arc<str>>,
    /// Defaults belong to the last parameters.
    pub parameters: Vec<(Arc<str>, Option<Expression>)>,
    pub body: Vec<Statement>,
    pub reads_caller: bool,
    pub reads_varargs: bool,
    pub reads_kwargs: bool,
}

/// A statement and its line.
#[derive(Debug)]
pub struct Statement {
    pub kind: StatementKind,
    pub line: u32,
}

/// The kind of a statement, with its parts.
#[derive(Debug)]
pub enum StatementKind {
    Data(Arc<str>),
    Output(Expression),
    For(Arc<For>),
    If {
        branches: Vec<(Expression, Vec<Statement>)>,
        otherwise: Vec<Statement>,
    },
    Set(Target, Expression),
    SetBlock(Target, Option<Expression>, Vec<Statement>),
    With(Vec<(Target, Expression)>, Vec<Statement>),
    Macro(Arc<Macro>),
    /// A call, and the block that its macro can run as `caller`.
    CallBlock(Expression, Arc<Macro>),
    FilterBlock(Expression, Vec<Statement>),
    /// A named block. The flag is true if the block sees the variables around it.
    Block(bool, Vec<Statement>),
    /// The model's own words. transformers runs this block as a macro without parameters.
    Generation(Arc<Macro>),
    Break,
    Continue,
    /// `include`, `import` or `extends`. They are errors when they run, because there is no other template.
    OtherTemplate(&'static str),
}

/// True if `statements` read the variable `name`.
pub fn mentions(statements: &[Statement], name: &str) -> bool {
    statements.iter().any(|statement| statement.mentions(name))
}

impl Statement {
    fn mentions(&self, name: &str) -> bool {
        let optional = |expression: &Option<Expression>| expression.as_ref().is_some_and(|expression| expression.mentions(name));
        match &self.kind {
            StatementKind::Data(_) | StatementKind::Break | StatementKind::Continue | StatementKind::OtherTemplate(_) => false,
            StatementKind::Output(expression) => expression.mentions(name),
            StatementKind::For(block) => {
                block.items.mentions(name) || optional(&block.test) || mentions(&block.body, name) || mentions(&block.otherwise, name)
            }
            StatementKind::If { branches, otherwise } => {
                branches.iter().any(|(test, body)| test.mentions(name) || mentions(body, name)) || mentions(otherwise, name)
            }
            StatementKind::Set(target, value) => value.mentions(name) || target.writes_into(name),
            StatementKind::SetBlock(_, filter, body) => optional(filter) || mentions(body, name),
            StatementKind::With(values, body) => values.iter().any(|(_, value)| value.mentions(name)) || mentions(body, name),
            StatementKind::Macro(inner) | StatementKind::Generation(inner) => inner.mentions(name),
            StatementKind::CallBlock(call, inner) => call.mentions(name) || inner.mentions(name),
            StatementKind::FilterBlock(filter, body) => filter.mentions(name) || mentions(body, name),
            StatementKind::Block(_, body) => mentions(body, name),
        }
    }
}

impl Target {
    /// True if an attribute of the variable `name` is assigned.
    fn writes_into(&self, name: &str) -> bool {
        match self {
            Self::Name(_) => false,
            Self::Tuple(parts) => parts.iter().any(|part| part.writes_into(name)),
            Self::Attribute(object, _) => &**object == name,
        }
    }
}

impl Macro {
    fn mentions(&self, name: &str) -> bool {
        let in_default = |(_, default): &(Arc<str>, Option<Expression>)| default.as_ref().is_some_and(|value| value.mentions(name));
        self.parameters.iter().any(in_default) || mentions(&self.body, name)
    }
}
