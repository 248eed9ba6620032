//! `str.format` and `str.format_map`.

use super::spec;
use crate::chat_template::jinja::arguments::Arguments;
use crate::chat_template::jinja::dict::Dict;
use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::interpreter::Interpreter;
use crate::chat_template::jinja::value::Value;
use std::rc::Rc;
use std::sync::Arc;

/// The values for the fields of a format.
pub struct Values {
    positional: Vec<Value>,
    named: Named,
    /// The index for the next field without a number. `None` after a field with a number.
    next: Option<usize>,
    has_counted: bool,
}

enum Named {
    Arguments(Vec<(Arc<str>, Value)>),
    Map(Rc<Dict>),
}

impl Values {
    /// Takes the arguments of `format(…)`.
    pub fn of(arguments: Arguments) -> Self {
        Self { positional: arguments.positional, named: Named::Arguments(arguments.named), next: Some(0), has_counted: false }
    }

    /// Takes the dict of `format_map(map)`.
    ///
    /// # Errors
    /// If the argument is missing or is not a dict.
    pub fn map(map: Option<Value>) -> Outcome<Self> {
        match map {
            Some(Value::Dict(dict)) => Ok(Self { positional: Vec::new(), named: Named::Map(dict), next: Some(0), has_counted: false }),
            Some(other) => Err(other.misused("where format_map takes a dict")),
            None => refuse!("format_map takes a dict"),
        }
    }

    /// Returns the value for `name`, the first part of the field `whole`. Only an empty `whole` takes the next index.
    fn first(&mut self, name: &str, whole: &str) -> Outcome<Value> {
        let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        let place = if whole.is_empty() {
            let Some(next) = self.next else { refuse!("a format numbers some fields and not others") };
            (self.next, self.has_counted) = (Some(next + 1), true);
            Some(next)
        } else if is_number {
            if name == whole {
                if self.has_counted {
                    refuse!("a format numbers some fields and not others");
                }
                self.next = None;
            }
            Some(name.parse().unwrap_or(usize::MAX))
        } else {
            None
        };
        let value = match (place, &self.named) {
            (Some(place), _) => self.positional.get(place),
            (None, Named::Arguments(named)) => named.iter().find(|(own, _)| **own == *name).map(|(_, value)| value),
            (None, Named::Map(dict)) => dict.get(&Value::text(name)),
        };
        match value {
            Some(value) => Ok(value.clone()),
            None => refuse!("a format lacks a value for its field {name:?}"),
        }
    }
}

/// A field of a format: `name!conversion:spec`.
struct Field<'f> {
    name: &'f str,
    conversion: Option<char>,
    spec: &'f str,
}

/// Computes `format.format(values)`.
///
/// # Errors
/// If the values do not fit the format, or the text would be too long.
pub fn formatted(interpreter: &mut Interpreter<'_>, format: &str, mut values: Values) -> Outcome<String> {
    filled(interpreter, format, &mut values, 3)
}

fn filled(interpreter: &mut Interpreter<'_>, format: &str, values: &mut Values, levels: u32) -> Outcome<String> {
    if levels == 0 {
        refuse!("a format has fields within fields within fields");
    }
    let (mut out, mut rest) = (String::with_capacity(format.len()), format);
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            out.push_str(brace);
            rest = after;
        } else if brace == "}" {
            refuse!("a format has }} without {{");
        } else {
            let (field, after) = field(rest)?;
            rest = after;
            let text = field_text(interpreter, &field, values, levels)?;
            interpreter.spend_on(text.len())?;
            out.push_str(&text);
        }
        interpreter.check_growth(&out)?;
    }
    out.push_str(rest);
    Ok(out)
}

/// Reads the field at the start of `text`. Returns it and the text after it.
fn field(text: &str) -> Outcome<(Field<'_>, &str)> {
    let (mut level, mut in_brackets, mut name_end) = (1, false, None);
    for (at, character) in text.char_indices() {
        match character {
            '[' if name_end.is_none() => in_brackets = true,
            ']' if name_end.is_none() => in_brackets = false,
            '{' if name_end.is_none() && !in_brackets => refuse!("a format has {{ within the name of a field"),
            '!' | ':' if name_end.is_none() && !in_brackets => name_end = Some(at),
            '{' => level += 1,
            '}' if name_end.is_none() && in_brackets => {}
            '}' => level -= 1,
            _ => {}
        }
        if level == 0 {
            let name_end = name_end.unwrap_or(at);
            let (conversion, spec) = conversion(&text[name_end..at])?;
            return Ok((Field { name: &text[..name_end], conversion, spec }, &text[at + 1..]));
        }
    }
    refuse!("a format has {{ without }}")
}

/// Reads the conversion and the specification after a field's name: `!r:spec`.
fn conversion(text: &str) -> Outcome<(Option<char>, &str)> {
    let Some(converted) = text.strip_prefix('!') else { return Ok((None, text.strip_prefix(':').unwrap_or(text))) };
    let Some(kind) = converted.chars().next() else { refuse!("a format has ! without a conversion") };
    let rest = &converted[kind.len_utf8()..];
    match (rest.is_empty(), rest.strip_prefix(':')) {
        (true, _) => Ok((Some(kind), "")),
        (false, Some(spec)) => Ok((Some(kind), spec)),
        (false, None) => refuse!("a format has more than one character after !"),
    }
}

fn field_text(interpreter: &mut Interpreter<'_>, field: &Field<'_>, values: &mut Values, levels: u32) -> Outcome<String> {
    let value = looked_up(interpreter, field.name, values)?;
    let value = match field.conversion {
        None => value,
        Some('s') => Value::Text(interpreter.text_of(&value)?),
        Some('r') => Value::text(interpreter.repr(&value)?),
        Some('a') => refuse!("the conversion !a is not supported"),
        Some(other) => refuse!("!{other} is no conversion of a format"),
    };
    let spec = filled(interpreter, field.spec, values, levels - 1)?;
    spec::formatted(interpreter, &value, &spec)
}

/// Returns the value for a field's name: an argument, or a part of it (`.name`, `[key]`).
fn looked_up(interpreter: &mut Interpreter<'_>, name: &str, values: &mut Values) -> Outcome<Value> {
    let end = name.find(['.', '[']).unwrap_or(name.len());
    let mut value = values.first(&name[..end], name)?;
    let mut rest = &name[end..];
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            if end == 0 {
                refuse!("a format has an empty attribute");
            }
            value = interpreter.attribute(&value, &Arc::from(&after[..end]))?;
            rest = &after[end..];
        } else {
            let Some((key, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
                refuse!("a format has [ without ], or something after ]");
            };
            if key.is_empty() {
                refuse!("a format has an empty key");
            }
            let is_place = key.bytes().all(|byte| byte.is_ascii_digit());
            let key = key.parse().ok().filter(|_| is_place).map_or_else(|| Value::text(key), Value::Integer);
            value = interpreter.item(&value, &key)?;
            rest = after;
        }
    }
    Ok(value)
}
