//! The filter `tojson` as transformers defines it: Python's `json.dumps`, without escapes for HTML.

use super::arguments::{Arguments, text};
use super::fault::{Fault, Outcome, refuse};
use super::interpreter::Interpreter;
use super::limits;
use super::numbers::float_text;
use super::value::Value;

/// The options of `json.dumps`.
struct Style {
    /// True if everything beyond ASCII is escaped.
    is_ascii: bool,
    sorts_keys: bool,
    /// The text before an item at each level. Without it, everything is on one line.
    indent: Option<String>,
    between_items: String,
    after_keys: String,
}

impl Style {
    fn new(arguments: Arguments) -> Outcome<Self> {
        let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
        let [ascii, indent, separators, sort] = arguments.bind("tojson", names)?;
        let indent = match indent {
            None | Some(Value::None) => None,
            Some(Value::Text(indent)) => Some(indent.to_string()),
            Some(value) => {
                let spaces = value.as_integer().ok_or_else(|| value.misused("as the indent of tojson"))?;
                limits::check_text(spaces.max(0) as u128)?;
                Some(" ".repeat(spaces.max(0) as usize))
            }
        };
        let (between_items, after_keys) = match separators {
            None | Some(Value::None) => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
            Some(value) => separator_pair(&value)?,
        };
        let is_on = |value: Option<Value>| value.is_some_and(|value| value.is_true());
        Ok(Self { is_ascii: is_on(ascii), sorts_keys: is_on(sort), indent, between_items, after_keys })
    }

    fn new_line(&self, out: &mut String, level: usize) -> Outcome<()> {
        if let Some(indent) = &self.indent {
            limits::check_text(out.len() as u128 + indent.len() as u128 * level as u128)?;
            out.push('\n');
            out.push_str(&indent.repeat(level));
        }
        Ok(())
    }

    fn string(&self, out: &mut String, text: &str) {
        out.push('"');
        for character in text.chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if c < ' ' || (self.is_ascii && !(' '..='~').contains(&c)) => {
                    let mut units = [0; 2];
                    out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

fn separator_pair(value: &Value) -> Outcome<(String, String)> {
    let (Value::List(items) | Value::Tuple(items)) = value else { return Err(value.misused("as the separators of tojson")) };
    match items.values.as_slice() {
        [first, second] => Ok((text(first, "tojson")?.to_string(), text(second, "tojson")?.to_string())),
        _ => refuse!("tojson takes two separators"),
    }
}

impl Interpreter<'_> {
    /// Applies the filter `tojson`.
    ///
    /// # Errors
    /// If the value has no JSON form. An undefined value has none.
    pub fn dumped_json(&mut self, value: &Value, arguments: Arguments) -> Outcome<Value> {
        let style = Style::new(arguments)?;
        let mut out = String::new();
        self.write_json(&mut out, &style, value, 0)?;
        self.made_text(out)
    }

    fn write_json(&mut self, out: &mut String, style: &Style, value: &Value, level: usize) -> Outcome<()> {
        self.spend(1)?;
        self.check_growth(out)?;
        match value {
            Value::None => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Integer(value) => out.push_str(&value.to_string()),
            Value::Float(value) => out.push_str(&json_float(*value)),
            Value::Text(text) | Value::Markup(text) => {
                self.spend_on(text.len())?;
                style.string(out, text);
            }
            Value::List(items) | Value::Tuple(items) => {
                self.write_json_items(out, style, ['[', ']'], level, &items.values, |interpreter, out, item| {
                    interpreter.write_json(out, style, item, level + 1)
                })?;
            }
            Value::Dict(dict) => {
                let mut entries: Vec<(&Value, &Value)> = dict.iter().collect();
                if style.sorts_keys {
                    let keys = entries.iter().map(|(key, _)| (*key).clone()).collect();
                    let order = self.sorted_places(keys, false)?;
                    entries = order.into_iter().map(|place| entries[place]).collect();
                }
                self.write_json_items(out, style, ['{', '}'], level, &entries, |interpreter, out, (key, value)| {
                    style.string(out, &json_key(key)?);
                    out.push_str(&style.after_keys);
                    interpreter.write_json(out, style, value, level + 1)
                })?;
            }
            other => return Err(no_json(other)),
        }
        Ok(())
    }

    fn write_json_items<T>(
        &mut self,
        out: &mut String,
        style: &Style,
        [open, close]: [char; 2],
        level: usize,
        items: &[T],
        mut write: impl FnMut(&mut Self, &mut String, &T) -> Outcome<()>,
    ) -> Outcome<()> {
        out.push(open);
        for (place, item) in items.iter().enumerate() {
            if place > 0 {
                out.push_str(&style.between_items);
            }
            style.new_line(out, level + 1)?;
            write(self, out, item)?;
        }
        if !items.is_empty() {
            style.new_line(out, level)?;
        }
        out.push(close);
        Ok(())
    }
}

fn no_json(value: &Value) -> Fault {
    match value {
        Value::Undefined(undefined) => Fault::new(format!("tojson of a value that is undefined: {}", undefined.words)),
        other => Fault::new(format!("tojson: a value of type {} has no JSON", other.type_name())),
    }
}

fn json_float(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        value => float_text(value),
    }
}

/// Writes a key as `json.dumps` does, without its quotes.
fn json_key(key: &Value) -> Outcome<String> {
    Ok(match key {
        Value::Text(text) | Value::Markup(text) => text.to_string(),
        Value::None => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => json_float(*value),
        other => return Err(other.misused("as a key of JSON")),
    })
}
