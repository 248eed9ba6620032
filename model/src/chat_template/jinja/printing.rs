//! Values as Python writes them: `str` and `repr`.

use super::fault::{Outcome, refuse};
use super::interpreter::Interpreter;
use super::numbers::float_text;
use super::unicode::is_printable;
use super::value::{Range, Value, View};
use std::sync::Arc;

impl Interpreter<'_> {
    /// Computes `str(value)`.
    ///
    /// # Errors
    /// If the value has no text that is the same in every run. A function has none.
    pub fn text_of(&mut self, value: &Value) -> Outcome<Arc<str>> {
        if let Some(text) = value.as_text() {
            return Ok(text.clone());
        }
        if value.is_undefined() {
            return Ok(Arc::from(""));
        }
        let mut out = String::new();
        self.write_repr(&mut out, value)?;
        Ok(out.into())
    }

    /// Computes `repr(value)`.
    ///
    /// # Errors
    /// As [`Interpreter::text_of`].
    pub fn repr(&mut self, value: &Value) -> Outcome<String> {
        let mut out = String::new();
        self.write_repr(&mut out, value)?;
        Ok(out)
    }

    fn write_repr(&mut self, out: &mut String, value: &Value) -> Outcome<()> {
        self.spend(1)?;
        self.check_growth(out)?;
        self.deeper(|interpreter| interpreter.write_repr_inner(out, value))
    }

    fn write_repr_inner(&mut self, out: &mut String, value: &Value) -> Outcome<()> {
        match value {
            Value::Undefined(_) => out.push_str("Undefined"),
            Value::None => out.push_str("None"),
            Value::Bool(value) => out.push_str(if *value { "True" } else { "False" }),
            Value::Integer(value) => out.push_str(&value.to_string()),
            Value::Float(value) => out.push_str(&float_text(*value)),
            Value::Text(text) => self.write_quoted(out, text)?,
            Value::Markup(text) => {
                out.push_str("Markup(");
                self.write_quoted(out, text)?;
                out.push(')');
            }
            Value::List(items) => self.write_items(out, "[", &items.values, "]")?,
            Value::Tuple(items) => self.write_items(out, "(", &items.values, if items.values.len() == 1 { ",)" } else { ")" })?,
            Value::Dict(dict) => {
                out.push('{');
                self.write_entries(out, dict.iter())?;
                out.push('}');
            }
            Value::Range(Range { start, stop, step: 1 }) => out.push_str(&format!("range({start}, {stop})")),
            Value::Range(Range { start, stop, step }) => out.push_str(&format!("range({start}, {stop}, {step})")),
            Value::View(dict, view) => {
                let name = value.type_name();
                out.push_str(&format!("{name}(["));
                for (place, (key, value)) in dict.iter().enumerate() {
                    out.push_str(if place > 0 { ", " } else { "" });
                    match view {
                        View::Keys => self.write_repr(out, key)?,
                        View::Values => self.write_repr(out, value)?,
                        View::Items => self.write_items(out, "(", &[key.clone(), value.clone()], ")")?,
                    }
                }
                out.push_str("])");
            }
            Value::Namespace(place) => {
                out.push_str("<Namespace {");
                let entries: Vec<(Value, Value)> = self.namespace(*place).iter().map(|(key, value)| (key.clone(), value.clone())).collect();
                self.write_entries(out, entries.iter().map(|(key, value)| (key, value)))?;
                out.push_str("}>");
            }
            Value::Loop(state) => {
                let length = self.loop_length(state)?;
                out.push_str(&format!("<LoopContext {}/{length}>", state.index()));
            }
            Value::Macro(closure) => match &closure.syntax.name {
                Some(name) => {
                    out.push_str("<Macro ");
                    self.write_quoted(out, name)?;
                    out.push('>');
                }
                None => out.push_str("<Macro anonymous>"),
            },
            Value::Generator(_) | Value::Cycler(_) | Value::Joiner(_) | Value::Function(_) | Value::Method(_) => {
                refuse!("a {} is written as text: Python writes its address in memory, which no run has twice", value.type_name());
            }
        }
        Ok(())
    }

    fn write_items(&mut self, out: &mut String, open: &str, items: &[Value], close: &str) -> Outcome<()> {
        out.push_str(open);
        for (place, item) in items.iter().enumerate() {
            out.push_str(if place > 0 { ", " } else { "" });
            self.write_repr(out, item)?;
        }
        out.push_str(close);
        Ok(())
    }

    fn write_entries<'v>(&mut self, out: &mut String, entries: impl Iterator<Item = (&'v Value, &'v Value)>) -> Outcome<()> {
        for (place, (key, value)) in entries.enumerate() {
            out.push_str(if place > 0 { ", " } else { "" });
            self.write_repr(out, key)?;
            out.push_str(": ");
            self.write_repr(out, value)?;
        }
        Ok(())
    }

    fn write_quoted(&mut self, out: &mut String, text: &str) -> Outcome<()> {
        self.spend_on(text.len())?;
        quote(text, out);
        Ok(())
    }
}

/// Writes `text` in single quotes, or in double quotes if it contains only single ones. Escapes characters that cannot be printed.
pub fn quote(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if is_printable(c) => out.push(c),
            c => match u32::from(c) {
                code @ 0..=0xff => out.push_str(&format!("\\x{code:02x}")),
                code @ 0x100..=0xffff => out.push_str(&format!("\\u{code:04x}")),
                code => out.push_str(&format!("\\U{code:08x}")),
            },
        }
    }
    out.push(quote);
}
