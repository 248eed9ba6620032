//! Values as Python writes them: `json.dumps` and `repr`.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

/// The options of Python's `json.dumps`.
pub struct JsonStyle {
    /// Whether everything beyond ASCII is escaped.
    pub ensure_ascii: bool,
    /// Whether the keys of an object are sorted.
    pub sort_keys: bool,
    /// Spaces a level, each item on its own line; all on one line where there is none.
    pub indent: Option<usize>,
    /// Between items, and between a key and its value.
    pub separators: (String, String),
}

/// Nesting at most: conversations are shallow.
const DEEPEST: usize = 128;

impl JsonStyle {
    /// The value as JSON.
    ///
    /// # Errors
    /// Where the value has no JSON, as a function has none.
    pub fn dumps(&self, value: &Value) -> Result<String, Error> {
        let mut out = String::new();
        self.write(&mut out, value, 0)?;
        Ok(out)
    }

    fn write(&self, out: &mut String, value: &Value, level: usize) -> Result<(), Error> {
        if level > DEEPEST {
            return Err(Error::new(ErrorKind::InvalidOperation, "tojson: the value is nested too deeply"));
        }
        match value.kind() {
            ValueKind::None | ValueKind::Undefined => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&value.to_string()),
            ValueKind::String => self.string(out, value.as_str().unwrap_or_default()),
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                self.items(out, ['{', '}'], level, &keys, |out, key| {
                    self.string(out, &key.to_string());
                    out.push_str(&self.separators.1);
                    self.write(out, &value.get_item(key)?, level + 1)
                })?;
            }
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.items(out, ['[', ']'], level, &items, |out, item| self.write(out, item, level + 1))?;
            }
            other => return Err(Error::new(ErrorKind::InvalidOperation, format!("tojson: {other} has no JSON"))),
        }
        Ok(())
    }

    fn items(
        &self,
        out: &mut String,
        [open, close]: [char; 2],
        level: usize,
        items: &[Value],
        mut write: impl FnMut(&mut String, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let new_line = |out: &mut String, level: usize| {
            if let Some(indent) = self.indent {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent.min(DEEPEST) * level));
            }
        };
        out.push(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push_str(&self.separators.0);
            }
            new_line(out, level + 1);
            write(out, item)?;
        }
        if !items.is_empty() {
            new_line(out, level);
        }
        out.push(close);
        Ok(())
    }

    fn string(&self, out: &mut String, text: &str) {
        let quoted = serde_json::Value::from(text).to_string();
        for character in quoted.chars() {
            match character {
                beyond if self.ensure_ascii && !beyond.is_ascii() => {
                    let mut units = [0; 2];
                    out.extend(beyond.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
                }
                plain => out.push(plain),
            }
        }
    }
}

/// The value in Python's own notation.
pub fn repr(value: &Value) -> String {
    let list = |value: &Value| value.try_iter().map(|items| items.map(|item| repr(&item)).collect::<Vec<_>>()).unwrap_or_default();
    match value.kind() {
        ValueKind::None => "None".to_owned(),
        ValueKind::Bool => if value.is_true() { "True" } else { "False" }.to_owned(),
        ValueKind::String => repr_text(value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Iterable => format!("[{}]", list(value).join(", ")),
        ValueKind::Map => {
            let entry = |key: Value| format!("{}: {}", repr(&key), repr(&value.get_item(&key).unwrap_or_default()));
            let entries = value.try_iter().map(|keys| keys.map(entry).collect::<Vec<_>>()).unwrap_or_default();
            format!("{{{}}}", entries.join(", "))
        }
        _ => value.to_string(),
    }
}

/// In single quotes, unless the text has those and no double ones.
fn repr_text(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}
