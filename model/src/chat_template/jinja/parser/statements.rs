//! The parsing of statements: the text between `{%` and `%}`.

use super::Parser;
use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::limits::MOST_ARGUMENTS;
use crate::chat_template::jinja::syntax::{Expression, ExpressionKind, For, Macro, Statement, StatementKind, Target, mentions};
use crate::chat_template::jinja::token::Kind;
use std::sync::Arc;

type Body = Vec<Statement>;
type Parameters = Vec<(Arc<str>, Option<Expression>)>;

impl Parser {
    /// Parses statements up to a tag that begins with one of `ends`. With no `ends`, parses up to the end of the template.
    pub(super) fn body(&mut self, ends: &[&str]) -> Outcome<Body> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            let kind = match self.kind().clone() {
                Kind::Data(text) => {
                    self.skip(1);
                    StatementKind::Data(text)
                }
                Kind::VariableBegin => {
                    self.skip(1);
                    let value = self.tuple(true, None, false)?;
                    self.expect(&Kind::VariableEnd)?;
                    StatementKind::Output(value)
                }
                Kind::BlockBegin => {
                    self.skip(1);
                    if ends.iter().any(|end| self.is_name(end)) {
                        return Ok(body);
                    }
                    let outcome = self.nested(|parser| parser.statement(&mut body));
                    outcome.map_err(|fault| fault.at(line))?;
                    self.expect(&Kind::BlockEnd)?;
                    continue;
                }
                Kind::End if ends.is_empty() => return Ok(body),
                Kind::End => refuse!("the template ends where {{% {} %}} was expected", ends.join(" %} or {% ")),
                _ => refuse!("{} outside of a tag", self.described()),
            };
            body.push(Statement { kind, line });
        }
    }

    /// Parses the rest of an opening tag and the body, up to the name of the tag that ends it.
    fn block(&mut self, ends: &[&str]) -> Outcome<Body> {
        self.skip_operator(":");
        self.expect(&Kind::BlockEnd)?;
        self.body(ends)
    }

    fn closed_block(&mut self, end: &str) -> Outcome<Body> {
        let body = self.block(&[end])?;
        self.skip(1);
        Ok(body)
    }

    fn statement(&mut self, into: &mut Body) -> Outcome<()> {
        let line = self.line();
        let name = self.expect_any_name()?;
        let kind = match &*name {
            "for" => self.for_block()?,
            "if" => self.if_block()?,
            "set" => self.set()?,
            "with" => self.with()?,
            "macro" => self.macro_block()?,
            "call" => self.call_block()?,
            "filter" => self.filter_block()?,
            "block" => self.named_block()?,
            "generation" => StatementKind::Generation(Arc::new(function(None, Vec::new(), self.function_body("endgeneration")?)?)),
            "autoescape" => self.autoescape()?,
            "print" => return self.print(into),
            "break" => self.loop_control(StatementKind::Break)?,
            "continue" => self.loop_control(StatementKind::Continue)?,
            "include" | "import" | "extends" | "from" => self.other_template(&name)?,
            other => refuse!("{{% {other} %}} is no tag of a chat template, or has no place here"),
        };
        into.push(Statement { kind, line });
        Ok(())
    }

    fn loop_control(&self, kind: StatementKind) -> Outcome<StatementKind> {
        if self.loops == 0 {
            refuse!("{{% break %}} or {{% continue %}} outside of a loop");
        }
        Ok(kind)
    }

    /// Parses the body of a block that runs as a function. No `break` leaves it.
    fn function_body(&mut self, end: &str) -> Outcome<Body> {
        let loops = std::mem::take(&mut self.loops);
        let body = self.closed_block(end);
        self.loops = loops;
        body
    }

    fn print(&mut self, into: &mut Body) -> Outcome<()> {
        let mut is_first = true;
        while *self.kind() != Kind::BlockEnd {
            if !is_first {
                self.expect_operator(",")?;
            }
            is_first = false;
            let line = self.line();
            into.push(Statement { kind: StatementKind::Output(self.expression()?), line });
        }
        Ok(())
    }

    fn for_block(&mut self) -> Outcome<StatementKind> {
        let target = self.target(Some("in"), false)?;
        self.expect_name("in")?;
        let items = self.tuple(false, Some("recursive"), false)?;
        let test = if self.skip_name("if") { Some(self.expression()?) } else { None };
        let is_recursive = self.skip_name("recursive");
        self.loops += 1;
        let body = self.block(&["endfor", "else"]);
        self.loops -= 1;
        let body = body?;
        let otherwise = if self.skip_name("else") { self.closed_block("endfor")? } else { self.closed(Vec::new()) };
        if target.assigns("loop") || body.iter().any(assigns_loop) {
            refuse!("\"loop\" cannot be assigned within a loop");
        }
        Ok(StatementKind::For(Arc::new(For { target, items, test, is_recursive, body, otherwise })))
    }

    /// Skips the name of the tag that ends a block, and returns `value`.
    fn closed<T>(&mut self, value: T) -> T {
        self.skip(1);
        value
    }

    fn if_block(&mut self) -> Outcome<StatementKind> {
        let mut branches = Vec::new();
        loop {
            let test = self.tuple(false, None, false)?;
            branches.push((test, self.block(&["elif", "else", "endif"])?));
            if self.skip_name("elif") {
                continue;
            }
            let otherwise = if self.skip_name("else") { self.closed_block("endif")? } else { self.closed(Vec::new()) };
            return Ok(StatementKind::If { branches, otherwise });
        }
    }

    fn set(&mut self) -> Outcome<StatementKind> {
        let target = self.target(None, true)?;
        if self.skip_operator("=") {
            return Ok(StatementKind::Set(target, self.tuple(true, None, false)?));
        }
        let filters = self.block_filters(false)?;
        Ok(StatementKind::SetBlock(target, filters, self.closed_block("endset")?))
    }

    fn with(&mut self) -> Outcome<StatementKind> {
        let mut values = Vec::new();
        while *self.kind() != Kind::BlockEnd {
            if !values.is_empty() {
                self.expect_operator(",")?;
            }
            let target = self.target(None, false)?;
            self.expect_operator("=")?;
            values.push((target, self.expression()?));
        }
        Ok(StatementKind::With(values, self.closed_block("endwith")?))
    }

    fn parameters(&mut self) -> Outcome<Parameters> {
        let mut parameters: Parameters = Vec::new();
        self.expect_operator("(")?;
        while !self.is_operator(")") {
            if !parameters.is_empty() {
                self.expect_operator(",")?;
            }
            let name = self.assignable_name()?;
            let has_default = self.skip_operator("=");
            if !has_default && parameters.last().is_some_and(|(_, default)| default.is_some()) {
                refuse!("the parameter {name} without a default after one that has one");
            }
            if parameters.iter().any(|(other, _)| *other == name) {
                refuse!("two parameters called {name}");
            }
            let default = if has_default { Some(self.expression()?) } else { None };
            parameters.push((name, default));
            if parameters.len() > MOST_ARGUMENTS {
                refuse!("a macro with more than {MOST_ARGUMENTS} parameters");
            }
        }
        self.expect_operator(")")?;
        Ok(parameters)
    }

    fn assignable_name(&mut self) -> Outcome<Arc<str>> {
        let name = self.expect_any_name()?;
        if matches!(&*name, "true" | "True" | "false" | "False" | "none" | "None") {
            refuse!("{name} cannot be assigned");
        }
        Ok(name)
    }

    fn macro_block(&mut self) -> Outcome<StatementKind> {
        let name = self.assignable_name()?;
        let parameters = self.parameters()?;
        let body = self.function_body("endmacro")?;
        Ok(StatementKind::Macro(Arc::new(function(Some(name), parameters, body)?)))
    }

    fn call_block(&mut self) -> Outcome<StatementKind> {
        let parameters = if self.is_operator("(") { self.parameters()? } else { Vec::new() };
        let call = self.expression()?;
        if !matches!(call.kind, ExpressionKind::Call(..)) {
            refuse!("{{% call %}} without a call");
        }
        let body = self.function_body("endcall")?;
        Ok(StatementKind::CallBlock(call, Arc::new(function(None, parameters, body)?)))
    }

    fn filter_block(&mut self) -> Outcome<StatementKind> {
        let Some(filters) = self.block_filters(true)? else { refuse!("{{% filter %}} without a filter") };
        Ok(StatementKind::FilterBlock(filters, self.closed_block("endfilter")?))
    }

    fn named_block(&mut self) -> Outcome<StatementKind> {
        let name = self.expect_any_name()?;
        if !self.blocks.insert(name.clone()) {
            refuse!("two blocks called {name}");
        }
        let is_scoped = self.skip_name("scoped");
        if self.is_name("required") {
            refuse!("{{% block %}} with \"required\" needs another template, which a chat template does not have");
        }
        let body = self.function_body("endblock")?;
        self.skip_name(&name);
        Ok(StatementKind::Block(is_scoped, body))
    }

    fn autoescape(&mut self) -> Outcome<StatementKind> {
        let line = self.line();
        let is_off = self.skip_name("false") || self.skip_name("False");
        if !is_off {
            return Err(super::super::fault::Fault::new("{% autoescape %} is not supported: chat templates write text, not HTML").at(line));
        }
        Ok(StatementKind::With(Vec::new(), self.closed_block("endautoescape")?))
    }

    /// Skips a tag that names another template. It is refused when it runs.
    fn other_template(&mut self, name: &str) -> Outcome<StatementKind> {
        let name = match name {
            "include" => "include",
            "extends" => "extends",
            _ => "import",
        };
        while !matches!(self.kind(), Kind::BlockEnd | Kind::End) {
            self.skip(1);
        }
        Ok(StatementKind::OtherTemplate(name))
    }

    /// Parses a target: a name, a tuple of names, or, if `with_attributes` is true, an attribute of a namespace.
    fn target(&mut self, end: Option<&str>, with_attributes: bool) -> Outcome<Target> {
        let (mut targets, mut is_tuple) = (Vec::new(), false);
        while !self.is_tuple_end(end) {
            targets.push(self.single_target(with_attributes)?);
            if !self.skip_operator(",") {
                break;
            }
            is_tuple = true;
        }
        match targets.pop() {
            Some(only) if !is_tuple => Ok(only),
            Some(last) => {
                targets.push(last);
                Ok(Target::Tuple(targets))
            }
            None => refuse!("{} where a name to assign was expected", self.described()),
        }
    }

    fn single_target(&mut self, with_attributes: bool) -> Outcome<Target> {
        if let (Kind::Name(name), true, true) = (self.kind().clone(), with_attributes, self.is_operator_ahead(".")) {
            self.skip(2);
            return Ok(Target::Attribute(name, self.expect_any_name()?));
        }
        as_target(self.primary()?)
    }
}

fn as_target(expression: Expression) -> Outcome<Target> {
    match expression.kind {
        ExpressionKind::Name(name) => Ok(Target::Name(name)),
        ExpressionKind::Tuple(items) => Ok(Target::Tuple(items.into_iter().map(as_target).collect::<Outcome<_>>()?)),
        _ => refuse!("something that cannot be assigned, where a name was expected"),
    }
}

fn function(name: Option<Arc<str>>, parameters: Parameters, body: Body) -> Outcome<Macro> {
    let is_parameter = |name: &str| parameters.iter().any(|(own, _)| &**own == name);
    let reads = |name: &str| mentions(&body, name);
    let (has_caller, reads_caller) = (is_parameter("caller"), reads("caller"));
    if has_caller && reads_caller && parameters.iter().any(|(own, default)| &**own == "caller" && default.is_none()) {
        refuse!("a parameter called \"caller\" needs a default");
    }
    let (reads_varargs, reads_kwargs) = (reads("varargs") && !is_parameter("varargs"), reads("kwargs") && !is_parameter("kwargs"));
    Ok(Macro { name, parameters, body, reads_caller, reads_varargs, reads_kwargs })
}

/// True if the statement assigns `loop`, at any level below it.
fn assigns_loop(statement: &Statement) -> bool {
    let any = |body: &Body| body.iter().any(assigns_loop);
    match &statement.kind {
        StatementKind::Set(target, _) => target.assigns("loop"),
        StatementKind::SetBlock(target, _, body) => target.assigns("loop") || any(body),
        StatementKind::If { branches, otherwise } => branches.iter().any(|(_, body)| any(body)) || any(otherwise),
        StatementKind::For(inner) => any(&inner.body) || any(&inner.otherwise),
        StatementKind::With(values, body) => values.iter().any(|(target, _)| target.assigns("loop")) || any(body),
        StatementKind::FilterBlock(_, body) | StatementKind::Block(_, body) => any(body),
        StatementKind::Macro(inner) | StatementKind::CallBlock(_, inner) | StatementKind::Generation(inner) => any(&inner.body),
        _ => false,
    }
}
