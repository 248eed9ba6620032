//! The execution of statements.

use super::{Interpreter, ROOT};
use crate::chat_template::jinja::arguments::Arguments;
use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::syntax::{Expression, ExpressionKind, Macro, Statement, StatementKind, Target};
use crate::chat_template::jinja::value::{Closure, Value};
use std::rc::Rc;
use std::sync::Arc;

/// The place where execution continues after a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Next,
    Break,
    Continue,
}

impl Interpreter<'_> {
    pub(super) fn execute(&mut self, statements: &[Statement]) -> Outcome<Flow> {
        for statement in statements {
            self.spend(1)?;
            let flow = self.deeper(|interpreter| interpreter.execute_one(statement)).map_err(|fault| fault.at(statement.line))?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn execute_one(&mut self, statement: &Statement) -> Outcome<Flow> {
        match &statement.kind {
            StatementKind::Data(text) => self.write(text)?,
            StatementKind::Output(expression) => self.output(expression)?,
            StatementKind::For(block) => return self.run_loop(block),
            StatementKind::If { branches, otherwise } => return self.branch(branches, otherwise),
            StatementKind::Set(target, value) => {
                let value = self.evaluate(value)?;
                self.assign_to(target, value)?;
            }
            StatementKind::SetBlock(target, filters, body) => return self.set_block(target, filters.as_ref(), body),
            StatementKind::With(values, body) => return self.with(values, body),
            StatementKind::Macro(syntax) => self.define(syntax),
            StatementKind::CallBlock(call, body) => self.call_block(call, body)?,
            StatementKind::FilterBlock(filters, body) => return self.filter_block(filters, body),
            StatementKind::Block(is_scoped, body) => {
                let outer = if *is_scoped { self.scope } else { ROOT };
                return self.in_scope(outer, |interpreter| interpreter.execute(body));
            }
            StatementKind::Generation(body) => self.generation(body)?,
            StatementKind::Break => return Ok(Flow::Break),
            StatementKind::Continue => return Ok(Flow::Continue),
            StatementKind::OtherTemplate(tag) => refuse!("{{% {tag} %}}: a chat template has no other templates beside it"),
        }
        Ok(Flow::Next)
    }

    fn output(&mut self, expression: &Expression) -> Outcome<()> {
        let value = self.evaluate(expression)?;
        let text = self.text_of(&value)?;
        self.write(&text)
    }

    fn branch(&mut self, branches: &[(Expression, Vec<Statement>)], otherwise: &[Statement]) -> Outcome<Flow> {
        for (test, body) in branches {
            if self.evaluate(test)?.is_true() {
                return self.execute(body);
            }
        }
        self.execute(otherwise)
    }

    pub(super) fn assign_to(&mut self, target: &Target, value: Value) -> Outcome<()> {
        match target {
            Target::Name(name) => self.assign(name, value),
            Target::Attribute(object, name) => self.assign_attribute(object, name, value)?,
            Target::Tuple(targets) => {
                let values = self.collected(&value)?;
                if values.len() != targets.len() {
                    refuse!("{} values for {} names", values.len(), targets.len());
                }
                for (target, value) in targets.iter().zip(values) {
                    self.assign_to(target, value)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the value of a target, as a loop's test passes it on.
    pub(super) fn target_value(&self, target: &Target) -> Outcome<Value> {
        match target {
            Target::Name(name) => Ok(self.variable(name).cloned().unwrap_or(Value::None)),
            Target::Tuple(targets) => Value::tuple(targets.iter().map(|target| self.target_value(target)).collect::<Outcome<_>>()?),
            Target::Attribute(..) => Ok(Value::None),
        }
    }

    /// Runs a block in its own scope. Returns its text after the filters at its head.
    fn block_text(&mut self, filters: Option<&Expression>, body: &[Statement]) -> Outcome<(Value, Flow)> {
        let scope = self.scope;
        self.in_scope(scope, |interpreter| {
            let (text, flow) = interpreter.captured(|interpreter| interpreter.execute(body))?;
            let text = interpreter.made_text(text)?;
            let Some(filters) = filters.filter(|_| flow == Flow::Next) else { return Ok((text, flow)) };
            interpreter.block_texts.push(text);
            let filtered = interpreter.evaluate(filters);
            interpreter.block_texts.pop();
            Ok((filtered?, flow))
        })
    }

    fn set_block(&mut self, target: &Target, filters: Option<&Expression>, body: &[Statement]) -> Outcome<Flow> {
        let (value, flow) = self.block_text(filters, body)?;
        if flow == Flow::Next {
            self.assign_to(target, value)?;
        }
        Ok(flow)
    }

    fn filter_block(&mut self, filters: &Expression, body: &[Statement]) -> Outcome<Flow> {
        let (value, flow) = self.block_text(Some(filters), body)?;
        if flow == Flow::Next {
            let text = self.text_of(&value)?;
            self.write(&text)?;
        }
        Ok(flow)
    }

    fn with(&mut self, values: &[(Target, Expression)], body: &[Statement]) -> Outcome<Flow> {
        let values = values.iter().map(|(target, value)| Ok((target, self.evaluate(value)?))).collect::<Outcome<Vec<_>>>()?;
        let scope = self.scope;
        self.in_scope(scope, |interpreter| {
            for (target, value) in values {
                interpreter.assign_to(target, value)?;
            }
            interpreter.execute(body)
        })
    }

    fn closure(&mut self, syntax: &Arc<Macro>) -> Value {
        let scope = self.keep_scope();
        Value::Macro(Rc::new(Closure { syntax: syntax.clone(), scope }))
    }

    fn define(&mut self, syntax: &Arc<Macro>) {
        let value = self.closure(syntax);
        if let Some(name) = &syntax.name {
            self.assign(name, value);
        }
    }

    fn call_block(&mut self, call: &Expression, body: &Arc<Macro>) -> Outcome<()> {
        let ExpressionKind::Call(callee, call) = &call.kind else { refuse!("{{% call %}} without a call") };
        let callee = self.evaluate(callee)?;
        let mut arguments = self.arguments(call)?;
        if arguments.named.iter().any(|(name, _)| &**name == "caller") {
            refuse!("the argument \"caller\" is given twice");
        }
        arguments.named.push((Arc::from("caller"), self.closure(body)));
        let value = self.call(&callee, arguments)?;
        let text = self.text_of(&value)?;
        self.write(&text)
    }

    /// Writes a block whose text is the model's own words. As in transformers it is a macro: its assignments stay within it.
    fn generation(&mut self, syntax: &Arc<Macro>) -> Outcome<()> {
        let text = self.macro_text(&Closure { syntax: syntax.clone(), scope: self.scope }, Arguments::default())?;
        if let [output] = self.outputs.as_slice() {
            self.generated.push(output.len()..output.len() + text.len());
        }
        self.write(&text)
    }

    /// Runs a macro; see [`Interpreter::call`].
    pub(super) fn run_macro(&mut self, closure: &Closure, arguments: Arguments) -> Outcome<Value> {
        let text = self.macro_text(closure, arguments)?;
        self.made_text(text)
    }

    fn macro_text(&mut self, closure: &Closure, arguments: Arguments) -> Outcome<String> {
        let (text, ()) = self.captured(|interpreter| {
            interpreter.in_scope(closure.scope, |interpreter| {
                interpreter.bind_parameters(&closure.syntax, arguments)?;
                interpreter.execute(&closure.syntax.body)?;
                Ok(())
            })
        })?;
        Ok(text)
    }
}
