//! The methods of Python's types.

mod cases;
mod containers;
mod padding;
mod pieces;
mod search;
mod translation;

use super::arguments::{Arguments, text};
use super::fault::{Outcome, refuse};
use super::format::braces;
use super::interpreter::Interpreter;
use super::value::{Function, Method, Value};
use std::sync::Arc;

/// The methods of `str`. The last one is known, but refused.
const OF_TEXTS: [&str; 47] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "maketrans",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
    "encode",
];

/// Returns the methods that the type of `of` has.
fn names(of: &Value) -> &'static [&'static str] {
    match of {
        Value::Text(_) => &OF_TEXTS,
        Value::Markup(_) => &OF_TEXTS,
        Value::List(_) => &["copy", "count", "index"],
        Value::Tuple(_) | Value::Range(_) => &["count", "index"],
        Value::Dict(_) => &["copy", "fromkeys", "get", "items", "keys", "values"],
        Value::Bool(_) | Value::Integer(_) => &["bit_length", "bit_count", "conjugate", "as_integer_ratio", "to_bytes", "from_bytes"],
        Value::Float(_) => &["is_integer", "conjugate", "as_integer_ratio", "hex", "fromhex"],
        Value::View(..) => &["isdisjoint", "mapping"],
        Value::Generator(_) => &["send", "throw", "close"],
        Value::Loop(_) => &["cycle", "changed"],
        Value::Cycler(_) => &["next", "reset"],
        Value::Function(Function::Dict) => &["fromkeys"],
        _ => &[],
    }
}

/// Returns the method `name` of `of`, if its type has one.
pub fn known(of: &Value, name: &str) -> Option<&'static str> {
    names(of).iter().copied().find(|own| *own == name)
}

/// Makes `text` a value of the same kind as `of`: a text made from HTML counts as HTML.
pub fn like(of: &Value, text: impl Into<Arc<str>>) -> Value {
    if matches!(of, Value::Markup(_)) { Value::Markup(text.into()) } else { Value::Text(text.into()) }
}

impl Interpreter<'_> {
    /// Calls a method.
    ///
    /// # Errors
    /// If its arguments are wrong, or the method is not supported.
    pub fn call_method(&mut self, method: &Method, arguments: Arguments) -> Outcome<Value> {
        let name = method.name;
        match &method.of {
            Value::Text(text) => self.text_method(text, name, arguments),
            Value::Markup(text) => self.markup_method(text, name, arguments),
            Value::Loop(state) => match name {
                "cycle" => Self::loop_cycle(state, arguments),
                _ => self.loop_changed(state, arguments),
            },
            Value::Cycler(cycler) => {
                arguments.none(name)?;
                let place = cycler.place.get();
                let is_reset = name == "reset";
                cycler.place.set(if is_reset { 0 } else { (place + 1) % cycler.items.values.len().max(1) });
                Ok(if is_reset { Value::None } else { cycler.items.values.get(place).cloned().unwrap_or(Value::None) })
            }
            of => self.container_method(of, name, arguments),
        }
    }

    /// Calls a method of `str`.
    fn text_method(&mut self, text: &Arc<str>, name: &'static str, arguments: Arguments) -> Outcome<Value> {
        self.spend_on(text.len())?;
        match name {
            "capitalize" | "casefold" | "lower" | "swapcase" | "title" | "upper" => {
                arguments.none(name)?;
                let changed = cases::changed(text, name);
                self.made_text(changed)
            }
            "center" | "ljust" | "rjust" | "zfill" | "expandtabs" => {
                let padded = padding::padded(text, name, arguments)?;
                self.made_text(padded)
            }
            "count" | "find" | "index" | "rfind" | "rindex" => search::place(text, name, arguments),
            "startswith" | "endswith" => search::begins_or_ends(text, name, arguments),
            "strip" | "lstrip" | "rstrip" | "removeprefix" | "removesuffix" => {
                let stripped = pieces::stripped(text, name, arguments)?;
                self.made_text(stripped)
            }
            "split" | "rsplit" | "splitlines" | "partition" | "rpartition" => self.pieces(text, name, arguments),
            "replace" => {
                let replaced = pieces::replaced(text, arguments)?;
                self.made_text(replaced)
            }
            "join" => self.joined_texts(text, arguments),
            "format" => {
                let formatted = braces::formatted(self, text, braces::Values::of(arguments))?;
                self.made_text(formatted)
            }
            "format_map" => {
                let [map] = arguments.positional(name)?;
                let formatted = braces::formatted(self, text, braces::Values::map(map)?)?;
                self.made_text(formatted)
            }
            "maketrans" => translation::table(arguments),
            "translate" => {
                let translated = translation::translated(text, arguments)?;
                self.made_text(translated)
            }
            "encode" => refuse!("the method encode is not supported: a template has no bytes"),
            _ => {
                arguments.none(name)?;
                Ok(Value::Bool(cases::is_all(text, name)))
            }
        }
    }

    /// Calls a method of a text that counts as HTML. Refuses methods and arguments for which the result differs from that of `str`.
    fn markup_method(&mut self, content: &Arc<str>, name: &'static str, arguments: Arguments) -> Outcome<Value> {
        let is_plain = |value: &Value| value.as_text().is_none_or(|text| !text.contains(['&', '<', '>', '\'', '"']));
        if matches!(name, "join" | "format" | "format_map" | "translate" | "encode") || !arguments.positional.iter().all(is_plain) {
            refuse!("the method {name} of a text that counts as HTML (by the filters safe or escape) is not supported");
        }
        let value = self.text_method(content, name, arguments)?;
        let marked = |value: &Value| value.as_text().map_or_else(|| value.clone(), |text| Value::Markup(text.clone()));
        Ok(match &value {
            Value::List(items) => Value::list(items.values.iter().map(marked).collect())?,
            Value::Tuple(items) => Value::tuple(items.values.iter().map(marked).collect())?,
            other => marked(other),
        })
    }

    fn joined_texts(&mut self, separator: &Arc<str>, arguments: Arguments) -> Outcome<Value> {
        let [items] = arguments.positional("join")?;
        let items = super::arguments::required(items, "join")?;
        let mut joined = String::new();
        for (place, item) in self.collected(&items)?.iter().enumerate() {
            joined.push_str(if place > 0 { separator } else { "" });
            joined.push_str(text(item, "join")?);
            self.check_growth(&joined)?;
        }
        self.made_text(joined)
    }
}

/// Splits a text into lines as `splitlines` does, without the line ends.
///
/// # Errors
/// If there are more lines than a list may have.
pub fn lines(text: &str) -> Outcome<Vec<&str>> {
    pieces::lines(text, false)
}

/// Evaluates the method `name`, whose name begins with "is".
pub fn is_all(text: &str, name: &str) -> bool {
    cases::is_all(text, name)
}
