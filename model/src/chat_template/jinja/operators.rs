//! Operators: arithmetic, comparison and membership.

use super::fault::{Fault, Outcome, refuse};
use super::filters::escaped;
use super::format::percent;
use super::interpreter::Interpreter;
use super::limits;
use super::numbers::{self, Number};
use super::syntax::{Arithmetic, Comparison};
use super::value::{Items, Value};
use std::cmp::Ordering;
use std::rc::Rc;

impl Interpreter<'_> {
    /// Computes `-value`.
    ///
    /// # Errors
    /// If the value is not a number.
    pub fn negative(&mut self, value: &Value) -> Outcome<Value> {
        match Number::of(value) {
            Some(Number::Integer(_)) => {
                numbers::arithmetic(Arithmetic::Subtract, Number::Integer(0), Number::Integer(value.as_integer().unwrap_or_default()))
            }
            Some(Number::Float(float)) => Ok(Value::Float(-float)),
            None => Err(value.misused("after a minus sign")),
        }
    }

    /// Computes `+value`.
    ///
    /// # Errors
    /// If the value is not a number.
    pub fn positive(&mut self, value: &Value) -> Outcome<Value> {
        match Number::of(value) {
            Some(Number::Integer(whole)) => Ok(Value::Integer(whole)),
            Some(Number::Float(float)) => Ok(Value::Float(float)),
            None => Err(value.misused("after a plus sign")),
        }
    }

    /// Computes `left operator right`.
    ///
    /// # Errors
    /// If Python has no such operation, or the result is beyond the limits.
    pub fn arithmetic(&mut self, operator: Arithmetic, left: &Value, right: &Value) -> Outcome<Value> {
        if let (Some(a), Some(b)) = (Number::of(left), Number::of(right)) {
            return numbers::arithmetic(operator, a, b);
        }
        for value in [left, right] {
            if value.is_undefined() && !(operator == Arithmetic::Modulo && left.as_text().is_some()) {
                return Err(value.misused(""));
            }
        }
        match (operator, left, right) {
            (Arithmetic::Add, Value::Text(a), Value::Text(b)) => self.joined(a, b, Value::Text),
            (Arithmetic::Add, _, _) if left.as_text().is_some() && right.as_text().is_some() => {
                let (a, b) = (escaped(left), escaped(right));
                self.joined(&a, &b, Value::Markup)
            }
            (Arithmetic::Add, Value::List(a), Value::List(b)) => Value::list(self.joined_items(a, b)?),
            (Arithmetic::Add, Value::Tuple(a), Value::Tuple(b)) => Value::tuple(self.joined_items(a, b)?),
            (Arithmetic::Multiply, sequence, count) if count.as_integer().is_some() => {
                self.repeated(sequence, count.as_integer().unwrap_or_default())
            }
            (Arithmetic::Multiply, count, sequence) if count.as_integer().is_some() => {
                self.repeated(sequence, count.as_integer().unwrap_or_default())
            }
            (Arithmetic::Modulo, Value::Text(format), values) => {
                let text = percent::formatted(self, format, values)?;
                self.made_text(text)
            }
            (Arithmetic::Modulo, Value::Markup(_), _) => refuse!("% of a text that counts as HTML is not supported"),
            _ => refuse!("{} has no meaning between values of types {} and {}", symbol(operator), left.type_name(), right.type_name()),
        }
    }

    fn joined(&mut self, a: &str, b: &str, make: fn(std::sync::Arc<str>) -> Value) -> Outcome<Value> {
        limits::check_text(a.len() as u128 + b.len() as u128)?;
        self.spend_on(a.len() + b.len())?;
        Ok(make([a, b].concat().into()))
    }

    fn joined_items(&mut self, a: &Rc<Items>, b: &Rc<Items>) -> Outcome<Vec<Value>> {
        let count = a.values.len() + b.values.len();
        limits::check_list(count as u128)?;
        self.spend(count as u64)?;
        Ok([a.values.as_slice(), b.values.as_slice()].concat())
    }

    fn repeated(&mut self, sequence: &Value, count: i128) -> Outcome<Value> {
        let count = count.max(0) as u128;
        let size = |length: usize| (length as u128).saturating_mul(count);
        match sequence {
            Value::Text(text) | Value::Markup(text) => {
                limits::check_text(size(text.len()))?;
                let repeated = if text.is_empty() { String::new() } else { text.repeat(count as usize) };
                self.spend_on(repeated.len())?;
                Ok(super::methods::like(sequence, repeated))
            }
            Value::List(items) | Value::Tuple(items) => {
                limits::check_list(size(items.values.len()))?;
                let count = if items.values.is_empty() { 0 } else { count as usize };
                self.spend((items.values.len() * count) as u64)?;
                let values = items.values.iter().cycle().take(items.values.len() * count).cloned().collect();
                if matches!(sequence, Value::List(_)) { Value::list(values) } else { Value::tuple(values) }
            }
            other => Err(other.misused("cannot be repeated")),
        }
    }

    /// Evaluates `left operator right` for a comparison.
    ///
    /// # Errors
    /// If Python has no order for the two values.
    pub fn compared(&mut self, operator: Comparison, left: &Value, right: &Value) -> Outcome<bool> {
        match operator {
            Comparison::Equal => self.equal(left, right),
            Comparison::NotEqual => Ok(!self.equal(left, right)?),
            Comparison::In => self.contains(right, left),
            Comparison::NotIn => Ok(!self.contains(right, left)?),
            Comparison::Less => Ok(self.order(left, right)? == Some(Ordering::Less)),
            Comparison::Greater => Ok(self.order(left, right)? == Some(Ordering::Greater)),
            Comparison::LessOrEqual => Ok(matches!(self.order(left, right)?, Some(Ordering::Less | Ordering::Equal))),
            Comparison::GreaterOrEqual => Ok(matches!(self.order(left, right)?, Some(Ordering::Greater | Ordering::Equal))),
        }
    }

    /// Evaluates `left == right`.
    ///
    /// # Errors
    /// If the values have too many levels, or the comparison is not supported.
    pub fn equal(&mut self, left: &Value, right: &Value) -> Outcome<bool> {
        self.spend(1)?;
        if let (Some(a), Some(b)) = (Number::of(left), Number::of(right)) {
            return Ok(a.compare(b) == Some(Ordering::Equal));
        }
        if let (Some(a), Some(b)) = (left.as_text(), right.as_text()) {
            self.spend_on(a.len().min(b.len()))?;
            return Ok(a == b);
        }
        Ok(match (left, right) {
            (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
            (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
                Rc::ptr_eq(a, b) || self.deeper(|interpreter| interpreter.equal_items(&a.values, &b.values))?
            }
            (Value::Dict(a), Value::Dict(b)) => {
                if Rc::ptr_eq(a, b) {
                    return Ok(true);
                }
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (key, value) in a.iter() {
                    let Some(other) = b.get(key) else { return Ok(false) };
                    if !self.deeper(|interpreter| interpreter.equal(value, other))? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Range(a), Value::Range(b)) => {
                let length = a.len();
                length == b.len() && (length == 0 || (a.start == b.start && (length == 1 || a.step == b.step)))
            }
            (Value::View(..), Value::View(..)) | (Value::Method(_), Value::Method(_)) => {
                return Err(Fault::new(format!("the comparison of values of type {} is not supported", left.type_name())));
            }
            _ => same_object(left, right),
        })
    }

    /// True if two sequences have equal items.
    ///
    /// # Errors
    /// As [`Interpreter::equal`].
    pub fn equal_items(&mut self, left: &[Value], right: &[Value]) -> Outcome<bool> {
        if left.len() != right.len() {
            return Ok(false);
        }
        for (a, b) in left.iter().zip(right) {
            if !self.equal(a, b)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Compares two values. Returns `None` if one is NaN.
    ///
    /// # Errors
    /// If Python has no order for the two values.
    pub fn order(&mut self, left: &Value, right: &Value) -> Outcome<Option<Ordering>> {
        self.spend(1)?;
        if let (Some(a), Some(b)) = (Number::of(left), Number::of(right)) {
            return Ok(a.compare(b));
        }
        if let (Some(a), Some(b)) = (left.as_text(), right.as_text()) {
            self.spend_on(a.len().min(b.len()))?;
            return Ok(Some(a.cmp(b)));
        }
        match (left, right) {
            (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
                for (x, y) in a.values.iter().zip(&b.values) {
                    if !self.deeper(|interpreter| interpreter.equal(x, y))? {
                        return self.deeper(|interpreter| interpreter.order(x, y));
                    }
                }
                Ok(Some(a.values.len().cmp(&b.values.len())))
            }
            (undefined @ Value::Undefined(_), _) | (_, undefined @ Value::Undefined(_)) => Err(undefined.misused("")),
            _ => refuse!("values of types {} and {} have no order", left.type_name(), right.type_name()),
        }
    }

    /// Evaluates `item in whole`.
    ///
    /// # Errors
    /// If `whole` cannot be searched for such an item.
    pub fn contains(&mut self, whole: &Value, item: &Value) -> Outcome<bool> {
        match whole {
            Value::Text(text) | Value::Markup(text) => {
                let Some(part) = item.as_text() else { return Err(item.misused("is looked for in a text")) };
                self.spend_on(text.len())?;
                Ok(text.contains(&**part))
            }
            Value::Dict(dict) | Value::View(dict, super::value::View::Keys) => {
                self.spend_on_value(item)?;
                super::dict::hashed(item)?;
                Ok(dict.get(item).is_some())
            }
            Value::Range(range) => match Number::of(item) {
                Some(Number::Integer(whole)) => Ok(range.contains(whole)),
                Some(Number::Float(float)) => {
                    Ok(float.fract() == 0.0 && numbers::truncated(float).is_some_and(|whole| range.contains(whole)))
                }
                None => Ok(false),
            },
            _ => {
                let mut cursor = self.iterate(whole)?;
                while let Some(own) = self.next_of(&mut cursor)? {
                    if self.equal(&own, item)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

/// Evaluates `left is right` for objects that keep their identity. For numbers, texts, ranges, views and methods it is false.
pub fn same_object(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::None, Value::None) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => Rc::ptr_eq(a, b),
        (Value::Dict(a), Value::Dict(b)) => Rc::ptr_eq(a, b),
        (Value::Namespace(a), Value::Namespace(b)) => a == b,
        (Value::Loop(a), Value::Loop(b)) => Rc::ptr_eq(a, b),
        (Value::Macro(a), Value::Macro(b)) => Rc::ptr_eq(a, b),
        (Value::Generator(a), Value::Generator(b)) => Rc::ptr_eq(a, b),
        (Value::Cycler(a), Value::Cycler(b)) => Rc::ptr_eq(a, b),
        (Value::Joiner(a), Value::Joiner(b)) => Rc::ptr_eq(a, b),
        (Value::Undefined(a), Value::Undefined(b)) => Rc::ptr_eq(a, b),
        (Value::Function(a), Value::Function(b)) => a == b,
        _ => false,
    }
}

fn symbol(operator: Arithmetic) -> &'static str {
    match operator {
        Arithmetic::Add => "+",
        Arithmetic::Subtract => "-",
        Arithmetic::Multiply => "*",
        Arithmetic::Divide => "/",
        Arithmetic::FloorDivide => "//",
        Arithmetic::Modulo => "%",
        Arithmetic::Power => "**",
    }
}
