//! The parsing of expressions, from the loosest operator to the tightest, with jinja2's precedence.

use super::Parser;
use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::limits::MOST_ARGUMENTS;
use crate::chat_template::jinja::syntax::{Arithmetic, CallSyntax, Comparison, Constant, Expression, ExpressionKind};
use crate::chat_template::jinja::token::Kind;
use std::sync::Arc;

type Parsed = Outcome<Expression>;

impl Parser {
    pub(super) fn expression(&mut self) -> Parsed {
        self.nested(Self::conditional)
    }

    fn conditional(&mut self) -> Parsed {
        let line = self.line();
        let mut then = self.or()?;
        while self.skip_name("if") {
            let test = Box::new(self.or()?);
            let otherwise = if self.skip_name("else") { Some(Box::new(self.nested(Self::conditional)?)) } else { None };
            then = Expression::new(ExpressionKind::Conditional { test, then: Box::new(then), otherwise }, line)?;
        }
        Ok(then)
    }

    pub(super) fn or(&mut self) -> Parsed {
        let line = self.line();
        let mut left = self.and()?;
        while self.skip_name("or") {
            left = Expression::new(ExpressionKind::Or(Box::new(left), Box::new(self.and()?)), line)?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed {
        let line = self.line();
        let mut left = self.not()?;
        while self.skip_name("and") {
            left = Expression::new(ExpressionKind::And(Box::new(left), Box::new(self.not()?)), line)?;
        }
        Ok(left)
    }

    fn not(&mut self) -> Parsed {
        let line = self.line();
        if self.skip_name("not") {
            let inner = self.nested(Self::not)?;
            return Expression::new(ExpressionKind::Not(Box::new(inner)), line);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Parsed {
        let line = self.line();
        let first = self.sum()?;
        let mut others = Vec::new();
        while let Some(operator) = self.comparison_operator() {
            others.push((operator, self.sum()?));
        }
        if others.is_empty() {
            return Ok(first);
        }
        Expression::new(ExpressionKind::Comparison(Box::new(first), others), line)
    }

    fn comparison_operator(&mut self) -> Option<Comparison> {
        let (operator, tokens) = match self.kind() {
            Kind::Operator("==") => (Comparison::Equal, 1),
            Kind::Operator("!=") => (Comparison::NotEqual, 1),
            Kind::Operator("<") => (Comparison::Less, 1),
            Kind::Operator("<=") => (Comparison::LessOrEqual, 1),
            Kind::Operator(">") => (Comparison::Greater, 1),
            Kind::Operator(">=") => (Comparison::GreaterOrEqual, 1),
            Kind::Name(name) if &**name == "in" => (Comparison::In, 1),
            Kind::Name(name) if &**name == "not" && self.is_name_ahead("in") => (Comparison::NotIn, 2),
            _ => return None,
        };
        self.skip(tokens);
        Some(operator)
    }

    fn binary(&mut self, operators: &[(&str, Arithmetic)], part: fn(&mut Self) -> Parsed) -> Parsed {
        let line = self.line();
        let mut left = part(self)?;
        loop {
            let Kind::Operator(found) = self.kind() else { return Ok(left) };
            let Some(&(_, operator)) = operators.iter().find(|(text, _)| text == found) else { return Ok(left) };
            self.skip(1);
            let right = part(self)?;
            left = Expression::new(ExpressionKind::Arithmetic(operator, Box::new(left), Box::new(right)), line)?;
        }
    }

    fn sum(&mut self) -> Parsed {
        self.binary(&[("+", Arithmetic::Add), ("-", Arithmetic::Subtract)], Self::concatenation)
    }

    fn concatenation(&mut self) -> Parsed {
        let line = self.line();
        let mut parts = vec![self.product()?];
        while self.skip_operator("~") {
            parts.push(self.product()?);
        }
        match parts.len() {
            1 => Ok(parts.remove(0)),
            _ => Expression::new(ExpressionKind::Concatenation(parts), line),
        }
    }

    fn product(&mut self) -> Parsed {
        let operators =
            [("*", Arithmetic::Multiply), ("/", Arithmetic::Divide), ("//", Arithmetic::FloorDivide), ("%", Arithmetic::Modulo)];
        self.binary(&operators, Self::power)
    }

    fn power(&mut self) -> Parsed {
        self.binary(&[("**", Arithmetic::Power)], |parser| parser.unary(true))
    }

    fn unary(&mut self, with_filters: bool) -> Parsed {
        let line = self.line();
        let inner = if self.skip_operator("-") {
            let inner = self.nested(|parser| parser.unary(false))?;
            Expression::new(ExpressionKind::Negative(Box::new(inner)), line)?
        } else if self.skip_operator("+") {
            let inner = self.nested(|parser| parser.unary(false))?;
            Expression::new(ExpressionKind::Positive(Box::new(inner)), line)?
        } else {
            self.primary()?
        };
        let inner = self.postfix(inner)?;
        if with_filters { self.filters_and_tests(inner) } else { Ok(inner) }
    }

    pub(super) fn primary(&mut self) -> Parsed {
        let line = self.line();
        let kind = match self.kind().clone() {
            Kind::Name(name) => {
                self.skip(1);
                match &*name {
                    "true" | "True" => ExpressionKind::Constant(Constant::Bool(true)),
                    "false" | "False" => ExpressionKind::Constant(Constant::Bool(false)),
                    "none" | "None" => ExpressionKind::Constant(Constant::None),
                    _ => ExpressionKind::Name(name),
                }
            }
            Kind::Text(first) => ExpressionKind::Constant(Constant::Text(self.adjacent_texts(first))),
            Kind::Integer(value) => {
                self.skip(1);
                ExpressionKind::Constant(Constant::Integer(value))
            }
            Kind::Float(value) => {
                self.skip(1);
                ExpressionKind::Constant(Constant::Float(value))
            }
            Kind::Operator("(") => {
                self.skip(1);
                let inner = self.nested(|parser| parser.tuple(true, None, true))?;
                self.expect_operator(")")?;
                return Ok(inner);
            }
            Kind::Operator("[") => ExpressionKind::List(self.list()?),
            Kind::Operator("{") => ExpressionKind::Dict(self.dict()?),
            _ => refuse!("{} where a value was expected", self.described()),
        };
        Expression::new(kind, line)
    }

    fn adjacent_texts(&mut self, first: Arc<str>) -> Arc<str> {
        self.skip(1);
        if !matches!(self.kind(), Kind::Text(_)) {
            return first;
        }
        let mut text = first.to_string();
        while let Kind::Text(next) = self.kind() {
            text.push_str(next);
            self.skip(1);
        }
        text.into()
    }

    /// Parses expressions with commas between them: a tuple, or a single expression without a comma.
    pub(super) fn tuple(&mut self, with_conditional: bool, end: Option<&str>, in_brackets: bool) -> Parsed {
        let line = self.line();
        let (mut items, mut is_tuple) = (Vec::new(), false);
        while !self.is_tuple_end(end) {
            items.push(if with_conditional { self.expression()? } else { self.or()? });
            if !self.skip_operator(",") {
                break;
            }
            is_tuple = true;
        }
        if !is_tuple {
            match items.pop() {
                Some(only) => return Ok(only),
                None if !in_brackets => refuse!("{} where an expression was expected", self.described()),
                None => {}
            }
        }
        Expression::new(ExpressionKind::Tuple(items), line)
    }

    pub(super) fn is_tuple_end(&self, end: Option<&str>) -> bool {
        match self.kind() {
            Kind::VariableEnd | Kind::BlockEnd | Kind::Operator(")") => true,
            Kind::Name(name) => end.is_some_and(|end| end == &**name),
            _ => false,
        }
    }

    fn list(&mut self) -> Outcome<Vec<Expression>> {
        self.expect_operator("[")?;
        let mut items = Vec::new();
        while !self.is_operator("]") {
            if !items.is_empty() {
                self.expect_operator(",")?;
                if self.is_operator("]") {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        self.expect_operator("]")?;
        Ok(items)
    }

    fn dict(&mut self) -> Outcome<Vec<(Expression, Expression)>> {
        self.expect_operator("{")?;
        let mut entries = Vec::new();
        while !self.is_operator("}") {
            if !entries.is_empty() {
                self.expect_operator(",")?;
                if self.is_operator("}") {
                    break;
                }
            }
            let key = self.expression()?;
            self.expect_operator(":")?;
            entries.push((key, self.expression()?));
        }
        self.expect_operator("}")?;
        Ok(entries)
    }

    fn postfix(&mut self, mut inner: Expression) -> Parsed {
        loop {
            inner = match self.kind() {
                Kind::Operator(".") => self.attribute(inner)?,
                Kind::Operator("[") => self.subscript(inner)?,
                Kind::Operator("(") => self.call(inner)?,
                _ => return Ok(inner),
            };
        }
    }

    fn filters_and_tests(&mut self, mut inner: Expression) -> Parsed {
        loop {
            inner = match self.kind() {
                Kind::Operator("|") => self.filter(inner)?,
                Kind::Name(name) if &**name == "is" => self.test(inner)?,
                Kind::Operator("(") => self.call(inner)?,
                _ => return Ok(inner),
            };
        }
    }

    fn attribute(&mut self, of: Expression) -> Parsed {
        let line = self.line();
        self.skip(1);
        let kind = match self.kind().clone() {
            Kind::Name(name) => ExpressionKind::Attribute(Box::new(of), name),
            Kind::Integer(index) => {
                let index = Expression::new(ExpressionKind::Constant(Constant::Integer(index)), line)?;
                ExpressionKind::Item(Box::new(of), Box::new(index))
            }
            _ => refuse!("{} after a point, where a name or a number was expected", self.described()),
        };
        self.skip(1);
        Expression::new(kind, line)
    }

    fn subscript(&mut self, of: Expression) -> Parsed {
        let line = self.line();
        self.expect_operator("[")?;
        let (mut keys, mut has_comma) = (Vec::new(), false);
        while !self.is_operator("]") {
            if !keys.is_empty() {
                self.expect_operator(",")?;
                has_comma = true;
            }
            if let Some(bounds) = self.slice_or(&mut keys)? {
                if has_comma || !self.is_operator("]") {
                    refuse!("a slice beside other keys in []");
                }
                self.expect_operator("]")?;
                return Expression::new(ExpressionKind::Slice(Box::new(of), bounds), line);
            }
        }
        self.expect_operator("]")?;
        let key = match keys.len() {
            1 => keys.remove(0),
            _ => Expression::new(ExpressionKind::Tuple(keys), line)?,
        };
        Expression::new(ExpressionKind::Item(Box::new(of), Box::new(key)), line)
    }

    /// Parses the bounds of a slice. A key that is not a slice is added to `keys` instead.
    fn slice_or(&mut self, keys: &mut Vec<Expression>) -> Outcome<Option<[Option<Box<Expression>>; 3]>> {
        let start = if self.is_operator(":") { None } else { Some(self.expression()?) };
        if !self.skip_operator(":") {
            keys.extend(start);
            return Ok(None);
        }
        let bound = |parser: &mut Self| -> Outcome<Option<Box<Expression>>> {
            let is_empty = [":", "]", ","].iter().any(|end| parser.is_operator(end));
            if is_empty { Ok(None) } else { Ok(Some(Box::new(parser.expression()?))) }
        };
        let stop = bound(self)?;
        let step = if self.skip_operator(":") { bound(self)? } else { None };
        Ok(Some([start.map(Box::new), stop, step]))
    }

    fn call(&mut self, of: Expression) -> Parsed {
        let line = self.line();
        let call = self.call_syntax()?;
        Expression::new(ExpressionKind::Call(Box::new(of), call), line)
    }

    fn call_syntax(&mut self) -> Outcome<CallSyntax> {
        self.expect_operator("(")?;
        let mut call = CallSyntax::default();
        let mut is_first = true;
        while !self.is_operator(")") {
            if !is_first {
                self.expect_operator(",")?;
                if self.is_operator(")") {
                    break;
                }
            }
            is_first = false;
            self.argument(&mut call)?;
            if call.named.len() > MOST_ARGUMENTS {
                refuse!("a call with more than {MOST_ARGUMENTS} arguments by name");
            }
        }
        self.expect_operator(")")?;
        Ok(call)
    }

    fn argument(&mut self, call: &mut CallSyntax) -> Outcome<()> {
        let has_more = call.more.is_some() || call.more_named.is_some();
        if self.is_operator("*") && !has_more {
            self.skip(1);
            call.more = Some(Box::new(self.expression()?));
        } else if self.is_operator("**") && call.more_named.is_none() {
            self.skip(1);
            call.more_named = Some(Box::new(self.expression()?));
        } else if let (Kind::Name(name), true, true) = (self.kind().clone(), self.is_operator_ahead("="), call.more_named.is_none()) {
            self.skip(2);
            if call.named.iter().any(|(other, _)| *other == name) {
                refuse!("the argument {name} is given twice");
            }
            call.named.push((name, self.expression()?));
        } else if has_more || !call.named.is_empty() {
            refuse!("an argument without a name after one with a name");
        } else {
            call.positional.push(self.expression()?);
        }
        Ok(())
    }

    fn dotted_name(&mut self) -> Outcome<Arc<str>> {
        let mut name = self.expect_any_name()?;
        while self.skip_operator(".") {
            name = Arc::from(format!("{name}.{}", self.expect_any_name()?));
        }
        Ok(name)
    }

    fn filter(&mut self, of: Expression) -> Parsed {
        self.expect_operator("|")?;
        self.named_filter(of)
    }

    fn named_filter(&mut self, of: Expression) -> Parsed {
        let line = self.line();
        let name = self.dotted_name()?;
        let call = if self.is_operator("(") { self.call_syntax()? } else { CallSyntax::default() };
        Expression::new(ExpressionKind::Filter(Box::new(of), name, call), line)
    }

    /// Parses the filters of a block. After `filter`, the first one has no bar before it; after `set name`, each has one.
    pub(super) fn block_filters(&mut self, is_first_bare: bool) -> Outcome<Option<Expression>> {
        let line = self.line();
        let mut filters = None;
        let text = || Expression::new(ExpressionKind::BlockText, line);
        if is_first_bare {
            filters = Some(self.named_filter(text()?)?);
        }
        while self.is_operator("|") {
            let of = filters.map_or_else(text, Ok)?;
            filters = Some(self.filter(of)?);
        }
        Ok(filters)
    }

    fn test(&mut self, of: Expression) -> Parsed {
        let line = self.line();
        self.skip(1);
        let is_negated = self.skip_name("not");
        let name = self.dotted_name()?;
        let takes_value = match self.kind() {
            Kind::Name(next) => !matches!(&**next, "else" | "or" | "and"),
            Kind::Text(_) | Kind::Integer(_) | Kind::Float(_) | Kind::Operator("[" | "{") => true,
            _ => false,
        };
        let call = if self.is_operator("(") {
            self.call_syntax()?
        } else if takes_value {
            if self.is_name("is") {
                refuse!("two tests with \"is\" in a row");
            }
            let value = self.primary()?;
            CallSyntax { positional: vec![self.postfix(value)?], ..CallSyntax::default() }
        } else {
            CallSyntax::default()
        };
        let test = Expression::new(ExpressionKind::Test(Box::new(of), name, call), line)?;
        if is_negated { Expression::new(ExpressionKind::Not(Box::new(test)), line) } else { Ok(test) }
    }
}
