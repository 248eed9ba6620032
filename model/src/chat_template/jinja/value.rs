//! Values as Python has them. As in jinja2's immutable sandbox, lists, tuples and dicts do not change after they are made. Each knows its
//! number of levels, so that no nesting overflows the stack when a value is compared, written or dropped.

use super::fault::{Fault, Outcome, refuse};
use super::limits::{self, DEEPEST_VALUE};
use super::syntax::Constant;
use super::types::Dict;
pub use super::types::{Closure, Cycler, Function, Items, Joiner, Method, Range, Undefined, Value, View};
use std::rc::Rc;
use std::sync::Arc;

impl Items {
    /// Makes items that are not a group.
    ///
    /// # Errors
    /// If there are too many items or too many levels.
    pub fn new(values: Vec<Value>) -> Outcome<Self> {
        limits::check_list(values.len() as u128)?;
        let depth = deeper(values.iter())?;
        Ok(Self { values, depth, is_group: false })
    }
}

/// Returns one level more than the deepest of `values`.
///
/// # Errors
/// If the result is more than [`DEEPEST_VALUE`].
pub fn deeper<'v>(values: impl Iterator<Item = &'v Value>) -> Outcome<u32> {
    let depth = values.map(Value::depth).max().unwrap_or_default() + 1;
    if depth > DEEPEST_VALUE {
        refuse!("a value of more than {DEEPEST_VALUE} levels");
    }
    Ok(depth)
}

impl Range {
    /// Returns the indices of a slice of a sequence of `length` items, bounded as in Python.
    ///
    /// # Errors
    /// If the step is zero or a bound is not a whole number.
    pub fn of_slice(bounds: &[Option<Value>; 3], length: i128) -> Outcome<Self> {
        let bound = |place: usize| match &bounds[place] {
            None | Some(Value::None) => Ok(None),
            Some(value) => value.as_integer().map(Some).ok_or_else(|| value.misused("as a bound of a slice")),
        };
        let step = bound(2)?.unwrap_or(1);
        if step == 0 {
            refuse!("a slice with a step of zero");
        }
        let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
        let within = |value: i128| (if value < 0 { value.saturating_add(length) } else { value }).clamp(low, high);
        let start = bound(0)?.map_or(if step > 0 { low } else { high }, within);
        let stop = bound(1)?.map_or(if step > 0 { high } else { low }, within);
        Ok(Self { start, stop, step })
    }

    /// Returns how many numbers the range has.
    pub fn len(&self) -> i128 {
        let (low, high, step) =
            if self.step > 0 { (self.start, self.stop, self.step) } else { (self.stop, self.start, self.step.saturating_neg()) };
        if low >= high { 0 } else { (high.saturating_sub(low).saturating_sub(1)) / step + 1 }
    }

    /// Returns the number at index `place`, which must be less than the length.
    pub fn at(&self, place: i128) -> i128 {
        self.start.saturating_add(place.saturating_mul(self.step))
    }

    /// True if `number` is in the range.
    pub fn contains(&self, number: i128) -> bool {
        let within = if self.step > 0 { self.start <= number && number < self.stop } else { self.stop < number && number <= self.start };
        within && number.saturating_sub(self.start) % self.step == 0
    }
}

impl Value {
    /// Converts a text to lower case. Returns any other value unchanged.
    pub fn without_case(self) -> Self {
        match &self {
            Self::Text(text) => Self::text(text.to_lowercase()),
            Self::Markup(text) => Self::Markup(text.to_lowercase().into()),
            _ => self,
        }
    }

    /// Makes a text.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(text.into())
    }

    /// Makes a list.
    ///
    /// # Errors
    /// As [`Items::new`].
    pub fn list(values: Vec<Self>) -> Outcome<Self> {
        Ok(Self::List(Rc::new(Items::new(values)?)))
    }

    /// Makes a tuple.
    ///
    /// # Errors
    /// As [`Items::new`].
    pub fn tuple(values: Vec<Self>) -> Outcome<Self> {
        Ok(Self::Tuple(Rc::new(Items::new(values)?)))
    }

    /// Makes a pair of `groupby`.
    ///
    /// # Errors
    /// As [`Items::new`].
    pub fn group(key: Self, members: Self) -> Outcome<Self> {
        Ok(Self::Tuple(Rc::new(Items { is_group: true, ..Items::new(vec![key, members])? })))
    }

    /// Makes an undefined value. `words` say why it is undefined.
    pub fn undefined(words: impl Into<String>) -> Self {
        Self::Undefined(Rc::new(Undefined { words: words.into() }))
    }

    /// Converts a literal.
    pub fn constant(constant: &Constant) -> Self {
        match constant {
            Constant::None => Self::None,
            Constant::Bool(value) => Self::Bool(*value),
            Constant::Integer(value) => Self::Integer(*value),
            Constant::Float(value) => Self::Float(*value),
            Constant::Text(text) => Self::Text(text.clone()),
        }
    }

    /// Converts a JSON value.
    ///
    /// # Errors
    /// As [`Items::new`].
    pub fn from_json(json: &serde_json::Value) -> Outcome<Self> {
        Self::from_json_at(json, 0)
    }

    fn from_json_at(json: &serde_json::Value, level: u32) -> Outcome<Self> {
        if level > DEEPEST_VALUE {
            refuse!("a value of more than {DEEPEST_VALUE} levels");
        }
        Ok(match json {
            serde_json::Value::Null => Self::None,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => from_number(number)?,
            serde_json::Value::String(text) => Self::text(text.as_str()),
            serde_json::Value::Array(items) => {
                Self::list(items.iter().map(|item| Self::from_json_at(item, level + 1)).collect::<Outcome<_>>()?)?
            }
            serde_json::Value::Object(map) => {
                let entry = |(key, value): (&String, _)| Ok((Self::text(key.as_str()), Self::from_json_at(value, level + 1)?));
                Self::Dict(Rc::new(Dict::new(map.iter().map(entry).collect::<Outcome<_>>()?)?))
            }
        })
    }

    /// Returns the number of levels of values within this one.
    pub fn depth(&self) -> u32 {
        match self {
            Self::List(items) | Self::Tuple(items) => items.depth,
            Self::Dict(dict) | Self::View(dict, _) => dict.depth(),
            Self::Generator(generator) => generator.depth,
            Self::Loop(state) => state.depth,
            Self::Cycler(cycler) => cycler.items.depth + 1,
            Self::Joiner(joiner) => joiner.separator.depth() + 1,
            Self::Method(method) => method.of.depth() + 1,
            _ => 0,
        }
    }

    /// Returns the text of a string.
    pub fn as_text(&self) -> Option<&Arc<str>> {
        match self {
            Self::Text(text) | Self::Markup(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the whole number that this value is. True is 1.
    pub fn as_integer(&self) -> Option<i128> {
        match self {
            Self::Integer(value) => Some(*value),
            Self::Bool(value) => Some(i128::from(*value)),
            _ => None,
        }
    }

    /// True if the value is undefined.
    pub fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined(_))
    }

    /// Returns Python's name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Integer(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
            Self::Markup(_) => "Markup",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Range(_) => "range",
            Self::View(_, View::Keys) => "dict_keys",
            Self::View(_, View::Values) => "dict_values",
            Self::View(_, View::Items) => "dict_items",
            Self::Generator(_) => "generator",
            Self::Namespace(_) => "Namespace",
            Self::Loop(_) => "LoopContext",
            Self::Macro(_) => "Macro",
            Self::Cycler(_) => "Cycler",
            Self::Joiner(_) => "Joiner",
            Self::Function(_) | Self::Method(_) => "function",
        }
    }

    /// Returns Python's `len`, if the type has one.
    pub fn len(&self) -> Option<usize> {
        match self {
            Self::Undefined(_) => Some(0),
            Self::Text(text) | Self::Markup(text) => Some(text.chars().count()),
            Self::List(items) | Self::Tuple(items) => Some(items.values.len()),
            Self::Dict(dict) | Self::View(dict, _) => Some(dict.len()),
            Self::Range(range) => usize::try_from(range.len()).ok(),
            _ => None,
        }
    }

    /// True if the value counts as true.
    pub fn is_true(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(value) => *value,
            Self::Integer(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) | Self::Markup(text) => !text.is_empty(),
            other => other.len() != Some(0),
        }
    }

    /// Makes the error for using this value wrongly. For an undefined value, the error says why it is undefined.
    pub fn misused(&self, how: &str) -> Fault {
        match self {
            Self::Undefined(undefined) => Fault::new(undefined.words.clone()),
            other => Fault::new(format!("a value of type {} {how}", other.type_name())),
        }
    }
}

fn from_number(number: &serde_json::Number) -> Outcome<Value> {
    match (number.as_i128(), number.as_f64()) {
        (Some(value), _) => Ok(Value::Integer(value)),
        (None, Some(value)) => Ok(Value::Float(value)),
        (None, None) => refuse!("the number {number} has no place in f64"),
    }
}
