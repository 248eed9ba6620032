//! Filters of HTML. A text that they mark as HTML stays HTML: other text is escaped before it is added, as by markupsafe.

use crate::chat_template::jinja::arguments::Arguments;
use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::interpreter::Interpreter;
use crate::chat_template::jinja::limits;
use crate::chat_template::jinja::unicode::is_space;
use crate::chat_template::jinja::value::Value;
use std::sync::Arc;

/// Escapes the characters of HTML in a string, unless it counts as HTML already.
pub fn escaped(value: &Value) -> Arc<str> {
    match value {
        Value::Markup(text) => text.clone(),
        other => escape(other.as_text().map_or("", |text| text)).into(),
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        }
    }
    out
}

impl Interpreter<'_> {
    pub(super) fn html_filter(&mut self, name: &str, value: &Value, arguments: Arguments) -> Outcome<Value> {
        if name == "xmlattr" {
            return self.attributes_text(value, arguments);
        }
        arguments.none(name)?;
        let text = self.text_of(value)?;
        self.spend_on(text.len())?;
        Ok(match (name, value) {
            ("safe", _) | ("e" | "escape", Value::Markup(_)) => Value::Markup(text),
            ("e" | "escape" | "forceescape", _) => {
                limits::check_text(text.len() as u128 * 5)?;
                Value::Markup(escape(&text).into())
            }
            ("striptags", _) => Value::text(without_tags(&text)?),
            _ => {
                let encoded = self.url_encoded(value)?;
                return self.made_text(encoded);
            }
        })
    }

    fn attributes_text(&mut self, value: &Value, arguments: Arguments) -> Outcome<Value> {
        let [with_space] = arguments.bind("xmlattr", ["autospace"])?;
        let Value::Dict(dict) = value else { return Err(value.misused("where xmlattr takes a dict")) };
        let mut parts = Vec::new();
        for (key, value) in dict.iter().filter(|(_, value)| !matches!(value, Value::None | Value::Undefined(_))) {
            let Some(name) = key.as_text() else { return Err(key.misused("as the name of an attribute")) };
            if name.contains(['/', '>', '=', ' ', '\t', '\n', '\r', '\u{b}', '\u{c}']) {
                refuse!("xmlattr: {name:?} is no name of an attribute");
            }
            let text = match value {
                Value::Text(_) | Value::Markup(_) => escaped(value),
                other => Arc::from(escape(&self.text_of(other)?)),
            };
            parts.push(format!("{}=\"{text}\"", escaped(key)));
        }
        let has_space = with_space.is_none_or(|flag| flag.is_true()) && !parts.is_empty();
        self.made_text(format!("{}{}", if has_space { " " } else { "" }, parts.join(" ")))
    }

    fn url_encoded(&mut self, value: &Value) -> Outcome<String> {
        let is_single = value.as_text().is_some() || self.iterate(value).is_err();
        if is_single {
            let text = self.text_of(value)?;
            return Ok(quoted(&text, false));
        }
        let pairs = match value {
            Value::Dict(dict) => dict.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            other => {
                let mut pairs = Vec::new();
                for pair in self.collected(other)? {
                    let mut pair = self.collected(&pair)?;
                    let (Some(value), Some(key), true) = (pair.pop(), pair.pop(), pair.is_empty()) else {
                        refuse!("urlencode takes pairs")
                    };
                    pairs.push((key, value));
                }
                pairs
            }
        };
        let mut parts = Vec::new();
        for (key, value) in &pairs {
            parts.push(format!("{}={}", quoted(&self.text_of(key)?, true), quoted(&self.text_of(value)?, true)));
        }
        Ok(parts.join("&"))
    }
}

/// Writes the text in percent encoding. In a query, "/" is encoded too, and a space becomes "+".
fn quoted(text: &str, is_query: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'/' if !is_query => out.push('/'),
            b' ' if is_query => out.push('+'),
            byte if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Removes everything from each `open` to the next `close`.
fn without(text: &str, open: &str, close: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((start, end)) = rest.find(open).and_then(|start| Some((start, start + rest[start..].find(close)?))) {
        plain.push_str(&rest[..start]);
        rest = &rest[end + close.len()..];
    }
    plain + rest
}

/// Removes comments and tags, joins the words with single spaces, and replaces the plain entities by their characters.
fn without_tags(text: &str) -> Outcome<String> {
    let plain = without(&without(text, "<!--", "-->"), "<", ">");
    let words: Vec<&str> = plain.split(is_space).filter(|word| !word.is_empty()).collect();
    unescape(&words.join(" "))
}

fn unescape(text: &str) -> Outcome<String> {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let entity = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&#39;", '\''), ("&#34;", '"'), ("&quot;", '"')];
        match entity.into_iter().find(|(name, _)| rest[at..].starts_with(name)) {
            Some((name, character)) => {
                out.push(character);
                rest = &rest[at + name.len()..];
            }
            None if rest[at + 1..].starts_with(|c: char| c == '#' || c.is_ascii_alphabetic()) => {
                refuse!("striptags of an entity of HTML other than &amp; &lt; &gt; &quot; &#34; and &#39; is not supported")
            }
            None => {
                out.push('&');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}
