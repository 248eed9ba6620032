//! The evaluation of expressions.

use super::Interpreter;
use crate::chat_template::jinja::dict::Dict;
use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::globals;
use crate::chat_template::jinja::syntax::{Comparison, Expression, ExpressionKind};
use crate::chat_template::jinja::value::Value;
use std::rc::Rc;
use std::sync::Arc;

impl Interpreter<'_> {
    /// Evaluates an expression.
    pub(super) fn evaluate(&mut self, expression: &Expression) -> Outcome<Value> {
        self.spend(1)?;
        self.deeper(|interpreter| interpreter.evaluate_one(expression)).map_err(|fault| fault.at(expression.line))
    }

    fn evaluate_one(&mut self, expression: &Expression) -> Outcome<Value> {
        match &expression.kind {
            ExpressionKind::Constant(constant) => Ok(Value::constant(constant)),
            ExpressionKind::Name(name) => self.named(name),
            ExpressionKind::Tuple(items) => Value::tuple(self.evaluate_all(items)?),
            ExpressionKind::List(items) => Value::list(self.evaluate_all(items)?),
            ExpressionKind::Dict(entries) => self.dict(entries),
            ExpressionKind::Attribute(of, name) => {
                let of = self.evaluate(of)?;
                self.attribute(&of, name)
            }
            ExpressionKind::Item(of, key) => {
                let of = self.evaluate(of)?;
                let key = self.evaluate(key)?;
                self.item(&of, &key)
            }
            ExpressionKind::Slice(of, bounds) => self.slice(of, bounds),
            ExpressionKind::Call(callee, call) => {
                let callee = self.evaluate(callee)?;
                let arguments = self.arguments(call)?;
                self.call(&callee, arguments)
            }
            ExpressionKind::Filter(of, name, call) => {
                let of = self.evaluate(of)?;
                let arguments = self.arguments(call)?;
                self.filtered(name, of, arguments)
            }
            ExpressionKind::Test(of, name, call) => {
                let of = self.evaluate(of)?;
                let arguments = self.arguments(call)?;
                self.tested(name, of, arguments).map(Value::Bool)
            }
            ExpressionKind::BlockText => Ok(self.block_texts.last().cloned().unwrap_or(Value::None)),
            _ => self.operation(expression),
        }
    }

    fn operation(&mut self, expression: &Expression) -> Outcome<Value> {
        match &expression.kind {
            ExpressionKind::Not(of) => Ok(Value::Bool(!self.evaluate(of)?.is_true())),
            ExpressionKind::Negative(of) => {
                let of = self.evaluate(of)?;
                self.negative(&of)
            }
            ExpressionKind::Positive(of) => {
                let of = self.evaluate(of)?;
                self.positive(&of)
            }
            ExpressionKind::Arithmetic(operator, left, right) => {
                let left = self.evaluate(left)?;
                let right = self.evaluate(right)?;
                self.arithmetic(*operator, &left, &right)
            }
            ExpressionKind::Concatenation(parts) => self.concatenation(parts),
            ExpressionKind::Comparison(first, others) => self.comparisons(first, others),
            ExpressionKind::And(left, right) => {
                let left = self.evaluate(left)?;
                if left.is_true() { self.evaluate(right) } else { Ok(left) }
            }
            ExpressionKind::Or(left, right) => {
                let left = self.evaluate(left)?;
                if left.is_true() { Ok(left) } else { self.evaluate(right) }
            }
            ExpressionKind::Conditional { test, then, otherwise } => match (self.evaluate(test)?.is_true(), otherwise) {
                (true, _) => self.evaluate(then),
                (false, Some(otherwise)) => self.evaluate(otherwise),
                (false, None) => Ok(Value::undefined("the inline if-expression evaluated to false and no else section was defined")),
            },
            _ => Ok(Value::None),
        }
    }

    fn named(&self, name: &Arc<str>) -> Outcome<Value> {
        if let Some(value) = self.variable(name) {
            return Ok(value.clone());
        }
        if let Some(function) = globals::function(name) {
            return Ok(Value::Function(function));
        }
        if &**name == "self" {
            refuse!("the variable \"self\", by which a template names its own blocks, is not supported");
        }
        Ok(Value::undefined(format!("'{name}' is undefined")))
    }

    fn evaluate_all(&mut self, items: &[Expression]) -> Outcome<Vec<Value>> {
        items.iter().map(|item| self.evaluate(item)).collect()
    }

    fn dict(&mut self, entries: &[(Expression, Expression)]) -> Outcome<Value> {
        let mut dict = Dict::default();
        for (key, value) in entries {
            let key = self.evaluate(key)?;
            self.spend_on_value(&key)?;
            dict.insert(key, self.evaluate(value)?)?;
        }
        Ok(Value::Dict(Rc::new(dict)))
    }

    fn slice(&mut self, of: &Expression, bounds: &[Option<Box<Expression>>; 3]) -> Outcome<Value> {
        let of = self.evaluate(of)?;
        let mut values = [const { None }; 3];
        for (value, bound) in values.iter_mut().zip(bounds) {
            if let Some(bound) = bound {
                *value = Some(self.evaluate(bound)?);
            }
        }
        self.sliced(&of, &values)
    }

    fn concatenation(&mut self, parts: &[Expression]) -> Outcome<Value> {
        let values = self.evaluate_all(parts)?;
        let mut text = String::new();
        for value in &values {
            text.push_str(&self.text_of(value)?);
            self.check_growth(&text)?;
        }
        self.made_text(text)
    }

    fn comparisons(&mut self, first: &Expression, others: &[(Comparison, Expression)]) -> Outcome<Value> {
        let mut left = self.evaluate(first)?;
        for (operator, right) in others {
            let right = self.evaluate(right)?;
            if !self.compared(*operator, &left, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }
}
