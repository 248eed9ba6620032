//! Attributes, items and slices (`a.b`, `a[b]`, `a[b:c]`), found in the order in which jinja2's immutable sandbox looks for them.

use super::fault::Outcome;
use super::interpreter::Interpreter;
use super::methods::{self, like};
use super::types::Path;
use super::value::{Method, Range, Value};
use std::rc::Rc;
use std::sync::Arc;

/// The result of looking up an attribute by its name.
enum Attribute {
    Has(Value),
    /// The attribute exists, but the sandbox hides it: it would change the value, or it is internal to Python.
    Unsafe,
    Missing,
}

/// Attributes that every object of Python has.
const OF_OBJECTS: [&str; 24] = [
    "__class__",
    "__delattr__",
    "__dir__",
    "__doc__",
    "__eq__",
    "__format__",
    "__ge__",
    "__getattribute__",
    "__gt__",
    "__hash__",
    "__init__",
    "__init_subclass__",
    "__le__",
    "__lt__",
    "__module__",
    "__ne__",
    "__new__",
    "__reduce__",
    "__reduce_ex__",
    "__repr__",
    "__setattr__",
    "__sizeof__",
    "__str__",
    "__subclasshook__",
];
const CHANGES_LISTS: [&str; 8] = ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"];
const CHANGES_DICTS: [&str; 5] = ["clear", "pop", "popitem", "setdefault", "update"];

/// Splits an attribute into the parts of a path. A text is cut at its points, and parts made of digits become indices.
pub fn path(attribute: Option<&Value>) -> Path {
    let part = |part: &str| {
        let is_place = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse().ok().filter(|_| is_place).map_or_else(|| Value::text(part), Value::Integer)
    };
    match attribute {
        None | Some(Value::None) => Vec::new(),
        Some(value) => match value.as_text() {
            Some(text) => text.split('.').map(part).collect(),
            None => vec![value.clone()],
        },
    }
}

impl Interpreter<'_> {
    /// Evaluates `of.name`: the attribute, or else the item.
    ///
    /// # Errors
    /// If `of` is undefined.
    pub fn attribute(&mut self, of: &Value, name: &Arc<str>) -> Outcome<Value> {
        match self.own_attribute(of, name)? {
            Attribute::Has(value) => return Ok(value),
            Attribute::Unsafe => return Ok(unsafe_attribute(of, name)),
            Attribute::Missing => {}
        }
        let item = self.own_item(of, &Value::Text(name.clone()))?;
        Ok(item.unwrap_or_else(|| missing_attribute(of, name)))
    }

    /// Evaluates `of[key]`: the item, or else the attribute.
    ///
    /// # Errors
    /// If `of` is undefined.
    pub fn item(&mut self, of: &Value, key: &Value) -> Outcome<Value> {
        if let Some(item) = self.own_item(of, key)? {
            return Ok(item);
        }
        let Some(name) = key.as_text() else {
            return Ok(Value::undefined(format!("a value of type {} has no such element", of.type_name())));
        };
        Ok(match self.own_attribute(of, name)? {
            Attribute::Has(value) => value,
            Attribute::Unsafe => unsafe_attribute(of, name),
            Attribute::Missing => missing_attribute(of, name),
        })
    }

    /// Evaluates the filter `attr`: the attribute, never an item.
    ///
    /// # Errors
    /// If `of` is undefined.
    pub fn only_attribute(&mut self, of: &Value, name: &Arc<str>) -> Outcome<Value> {
        Ok(match self.own_attribute(of, name)? {
            Attribute::Has(value) => value,
            Attribute::Unsafe => unsafe_attribute(of, name),
            Attribute::Missing => missing_attribute(of, name),
        })
    }

    /// Returns the value at `path` within `of`. `default` replaces each undefined value on the way.
    ///
    /// # Errors
    /// If a part before the last is undefined and has no default.
    pub fn at_path(&mut self, of: &Value, path: &Path, default: Option<&Value>) -> Outcome<Value> {
        let mut value = of.clone();
        for part in path {
            value = self.item(&value, part)?;
            if let Some(default) = default.filter(|_| value.is_undefined()) {
                value = default.clone();
            }
        }
        Ok(value)
    }

    fn own_item(&mut self, of: &Value, key: &Value) -> Outcome<Option<Value>> {
        let place = |length: usize| {
            let index = key.as_integer()?;
            usize::try_from(if index < 0 { index + length as i128 } else { index }).ok().filter(|&place| place < length)
        };
        Ok(match of {
            Value::Undefined(_) => return Err(of.misused("")),
            Value::Dict(dict) => {
                self.spend_on_value(key)?;
                dict.get(key).cloned()
            }
            Value::List(items) | Value::Tuple(items) => place(items.values.len()).map(|place| items.values[place].clone()),
            Value::Text(text) | Value::Markup(text) => {
                if key.as_integer().is_none() {
                    return Ok(None);
                }
                self.spend_on(text.len())?;
                let character = place(text.chars().count()).and_then(|place| text.chars().nth(place));
                character.map(|character| like(of, character.to_string()))
            }
            Value::Range(range) => {
                let length = usize::try_from(range.len()).unwrap_or(usize::MAX);
                place(length).map(|place| Value::Integer(range.at(place as i128)))
            }
            _ => None,
        })
    }

    fn own_attribute(&mut self, of: &Value, name: &str) -> Outcome<Attribute> {
        if OF_OBJECTS.contains(&name) {
            return Ok(Attribute::Unsafe);
        }
        if let Some(name) = methods::known(of, name) {
            return Ok(Attribute::Has(Value::Method(Rc::new(Method { of: of.clone(), name }))));
        }
        let has = |value: Option<Value>| value.map_or(Attribute::Missing, Attribute::Has);
        Ok(match of {
            Value::Undefined(_) => return Err(of.misused("")),
            Value::List(_) if CHANGES_LISTS.contains(&name) => Attribute::Unsafe,
            Value::Dict(_) if CHANGES_DICTS.contains(&name) => Attribute::Unsafe,
            Value::Tuple(items) if items.is_group => match name {
                "grouper" => Attribute::Has(items.values[0].clone()),
                "list" => Attribute::Has(items.values[1].clone()),
                _ => Attribute::Missing,
            },
            Value::Bool(_) | Value::Integer(_) => has(of_integer(of.as_integer().unwrap_or_default(), name)),
            Value::Float(value) => has(match name {
                "real" => Some(Value::Float(*value)),
                "imag" => Some(Value::Float(0.0)),
                _ => None,
            }),
            Value::Range(range) => has(match name {
                "start" => Some(Value::Integer(range.start)),
                "stop" => Some(Value::Integer(range.stop)),
                "step" => Some(Value::Integer(range.step)),
                _ => None,
            }),
            Value::Namespace(place) => has(self.namespace(*place).get(&Value::text(name)).cloned()),
            Value::Loop(state) => has(self.loop_attribute(&state.clone(), name)?),
            Value::Macro(closure) => {
                let syntax = closure.syntax.clone();
                has(of_macro(&syntax, name)?)
            }
            Value::Cycler(cycler) => has(match name {
                "items" => Some(Value::Tuple(cycler.items.clone())),
                "pos" => Some(Value::Integer(cycler.place.get() as i128)),
                "current" => cycler.items.values.get(cycler.place.get()).cloned(),
                _ => None,
            }),
            Value::Joiner(joiner) => has(match name {
                "sep" => Some(joiner.separator.clone()),
                "used" => Some(Value::Bool(joiner.is_used.get())),
                _ => None,
            }),
            _ => Attribute::Missing,
        })
    }

    /// Evaluates `of[start:stop:step]`.
    ///
    /// # Errors
    /// If `of` has no slices or a bound is not a whole number.
    pub fn sliced(&mut self, of: &Value, bounds: &[Option<Value>; 3]) -> Outcome<Value> {
        self.spend_on_value(of)?;
        let Some(length) =
            of.len().filter(|_| matches!(of, Value::Text(_) | Value::Markup(_) | Value::List(_) | Value::Tuple(_) | Value::Range(_)))
        else {
            return Err(of.misused("has no slices"));
        };
        let slice = Range::of_slice(bounds, length as i128)?;
        if !matches!(of, Value::Text(_) | Value::Markup(_)) {
            self.spend(slice.len() as u64)?;
        }
        let places = (0..slice.len()).map(|place| slice.at(place) as usize);
        Ok(match of {
            Value::Text(text) | Value::Markup(text) => {
                if slice.step == 1 {
                    let byte = |place: i128| text.char_indices().nth(place as usize).map_or(text.len(), |(at, _)| at);
                    let part = text.get(byte(slice.start)..byte(slice.stop.max(slice.start))).unwrap_or_default();
                    return Ok(like(of, part));
                }
                let characters: Vec<char> = text.chars().collect();
                like(of, places.map(|place| characters[place]).collect::<String>())
            }
            Value::List(items) => Value::list(places.map(|place| items.values[place].clone()).collect())?,
            Value::Tuple(items) => Value::tuple(places.map(|place| items.values[place].clone()).collect())?,
            Value::Range(range) => Value::Range(Range {
                start: range.at(slice.start),
                stop: range.at(slice.stop),
                step: range.step.saturating_mul(slice.step),
            }),
            _ => Value::None,
        })
    }
}

fn of_integer(value: i128, name: &str) -> Option<Value> {
    match name {
        "real" | "numerator" => Some(Value::Integer(value)),
        "imag" => Some(Value::Integer(0)),
        "denominator" => Some(Value::Integer(1)),
        _ => None,
    }
}

fn of_macro(syntax: &super::syntax::Macro, name: &str) -> Outcome<Option<Value>> {
    Ok(Some(match name {
        "name" => syntax.name.as_ref().map_or(Value::None, |name| Value::Text(name.clone())),
        "arguments" => Value::tuple(syntax.parameters.iter().map(|(name, _)| Value::Text(name.clone())).collect())?,
        "catch_kwargs" => Value::Bool(syntax.reads_kwargs),
        "catch_varargs" => Value::Bool(syntax.reads_varargs),
        "caller" => Value::Bool(syntax.reads_caller),
        "explicit_caller" => Value::Bool(syntax.parameters.iter().any(|(name, _)| &**name == "caller")),
        _ => return Ok(None),
    }))
}

fn missing_attribute(of: &Value, name: &str) -> Value {
    Value::undefined(format!("'{} object' has no attribute '{name}'", of.type_name()))
}

fn unsafe_attribute(of: &Value, name: &str) -> Value {
    Value::undefined(format!("access to attribute '{name}' of '{}' object is unsafe", of.type_name()))
}
