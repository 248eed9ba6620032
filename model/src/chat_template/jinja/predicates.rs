//! jinja2's tests: the names that follow `is`.

use super::arguments::{Arguments, required};
use super::fault::{Outcome, refuse};
use super::filters;
use super::interpreter::Interpreter;
use super::numbers::{self, Number};
use super::operators::same_object;
use super::syntax::{Arithmetic, Comparison};
use super::value::Value;

const NAMES: [&str; 39] = [
    "boolean",
    "callable",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "==",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    ">=",
    "gt",
    "greaterthan",
    ">",
    "in",
    "integer",
    "iterable",
    "le",
    "<=",
    "lower",
    "lt",
    "lessthan",
    "<",
    "mapping",
    "ne",
    "!=",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];

/// True if there is a test called `name`.
pub fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Returns the operator of a test that compares.
fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        "eq" | "equalto" | "==" => Comparison::Equal,
        "ne" | "!=" => Comparison::NotEqual,
        "lt" | "lessthan" | "<" => Comparison::Less,
        "le" | "<=" => Comparison::LessOrEqual,
        "gt" | "greaterthan" | ">" => Comparison::Greater,
        "ge" | ">=" => Comparison::GreaterOrEqual,
        "in" => Comparison::In,
        _ => return None,
    })
}

impl Interpreter<'_> {
    /// True if `value` passes the test `name`.
    ///
    /// # Errors
    /// If there is no such test, or it does not accept the value or the arguments.
    pub fn tested(&mut self, name: &str, value: Value, arguments: Arguments) -> Outcome<bool> {
        self.spend(1)?;
        if let Some(operator) = comparison(name) {
            let [other] = arguments.bind(name, [if name == "in" { "seq" } else { "" }])?;
            return self.compared(operator, &value, &required(other, name)?);
        }
        match name {
            "divisibleby" => {
                let [number] = arguments.bind(name, ["num"])?;
                self.is_multiple(&value, &required(number, name)?)
            }
            "sameas" => {
                let [other] = arguments.bind(name, ["other"])?;
                same(&value, &required(other, name)?)
            }
            _ => {
                arguments.none(name)?;
                self.is_plainly(name, &value)
            }
        }
    }

    fn is_plainly(&mut self, name: &str, value: &Value) -> Outcome<bool> {
        Ok(match name {
            "boolean" => matches!(value, Value::Bool(_)),
            "callable" => is_callable(value),
            "defined" => !value.is_undefined(),
            "escaped" => matches!(value, Value::Markup(_)),
            "even" => self.is_multiple(value, &Value::Integer(2))?,
            "odd" => {
                let Some(number) = Number::of(value) else { return self.is_multiple(value, &Value::Integer(2)) };
                let rest = numbers::arithmetic(Arithmetic::Modulo, number, Number::Integer(2))?;
                self.equal(&rest, &Value::Integer(1))?
            }
            "false" => matches!(value, Value::Bool(false)),
            "filter" => named(value, name)?.is_some_and(|name| filters::is_known(&name)),
            "float" => matches!(value, Value::Float(_)),
            "integer" => matches!(value, Value::Integer(_)),
            "iterable" => matches!(value, Value::Loop(_)) || self.iterate(value).is_ok(),
            "lower" | "upper" => {
                let text = self.text_of(value)?;
                let method = if name == "lower" { "islower" } else { "isupper" };
                super::methods::is_all(&text, method)
            }
            "mapping" => matches!(value, Value::Dict(_)),
            "none" => matches!(value, Value::None),
            "number" => Number::of(value).is_some(),
            "sequence" => value.as_text().is_some() || (value.len().is_some() && !matches!(value, Value::View(..))),
            "string" => value.as_text().is_some(),
            "test" => named(value, name)?.is_some_and(|name| is_known(&name)),
            "true" => matches!(value, Value::Bool(true)),
            "undefined" => value.is_undefined(),
            other => refuse!("there is no test called {other:?}"),
        })
    }

    fn is_multiple(&mut self, value: &Value, of: &Value) -> Outcome<bool> {
        let rest = self.arithmetic(Arithmetic::Modulo, value, of)?;
        self.equal(&rest, &Value::Integer(0))
    }
}

fn is_callable(value: &Value) -> bool {
    match value {
        Value::Undefined(_) | Value::Macro(_) | Value::Loop(_) | Value::Joiner(_) | Value::Function(_) => true,
        Value::Method(method) => method.name != "mapping",
        _ => false,
    }
}

/// Returns the text of a name; `None` if the value cannot be a name.
fn named(value: &Value, test: &str) -> Outcome<Option<std::sync::Arc<str>>> {
    match value {
        Value::List(_) | Value::Dict(_) => Err(value.misused(&format!("where the test {test} takes a name"))),
        other => Ok(other.as_text().cloned()),
    }
}

/// Evaluates `value is other`. Refuses values for which Python's answer depends on how it stores them.
fn same(value: &Value, other: &Value) -> Outcome<bool> {
    let is_plain =
        |value: &Value| matches!(value, Value::Integer(_) | Value::Float(_) | Value::Text(_) | Value::Markup(_) | Value::Tuple(_));
    if is_plain(value) && value.type_name() == other.type_name() {
        refuse!("sameas of two values of type {}: what Python says depends on its version", value.type_name());
    }
    Ok(same_object(value, other))
}
