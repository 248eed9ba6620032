//! Filters of texts.

use super::wrap;
use crate::chat_template::jinja::arguments::{Arguments, integer, required, text as text_argument};
use crate::chat_template::jinja::attributes::path;
use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::format::percent;
use crate::chat_template::jinja::interpreter::Interpreter;
use crate::chat_template::jinja::limits;
use crate::chat_template::jinja::methods::{self, like};
use crate::chat_template::jinja::unicode::{is_space, is_word};
use crate::chat_template::jinja::value::Value;

impl Interpreter<'_> {
    /// Converts a value to a text. A text that counts as HTML still does.
    fn soft_text(&mut self, value: &Value) -> Outcome<Value> {
        match value {
            Value::Text(_) | Value::Markup(_) => Ok(value.clone()),
            other => Ok(Value::Text(self.text_of(other)?)),
        }
    }

    pub(super) fn text_filter(&mut self, name: &str, value: &Value, arguments: Arguments) -> Outcome<Value> {
        match name {
            "capitalize" | "lower" | "upper" => {
                arguments.none(name)?;
                self.by_method(value, name, Arguments::default())
            }
            "trim" => {
                let [characters] = arguments.bind(name, ["chars"])?;
                self.by_method(value, "strip", Arguments::of(characters.into_iter().collect()))
            }
            "center" => {
                let [width] = arguments.bind(name, ["width"])?;
                self.by_method(value, "center", Arguments::of(vec![width.unwrap_or(Value::Integer(80))]))
            }
            "string" => {
                arguments.none(name)?;
                self.soft_text(value)
            }
            "title" => {
                arguments.none(name)?;
                let text = self.text_of(value)?;
                self.made_text(titled(&text))
            }
            "wordcount" => {
                arguments.none(name)?;
                let text = self.text_of(value)?;
                self.spend_on(text.len())?;
                let words = text.split(|c| !is_word(c)).filter(|word| !word.is_empty());
                Ok(Value::Integer(words.count() as i128))
            }
            "replace" => self.replace(value, arguments),
            "join" => self.join(value, arguments),
            "format" => self.format(value, arguments),
            "indent" => self.indent(value, arguments),
            "truncate" => self.truncate(value, arguments),
            _ => self.wordwrap(value, arguments),
        }
    }

    fn by_method(&mut self, value: &Value, name: &str, arguments: Arguments) -> Outcome<Value> {
        let of = self.soft_text(value)?;
        let Some(name) = methods::known(&of, name) else { return Ok(of) };
        self.call_method(&crate::chat_template::jinja::value::Method { of, name }, arguments)
    }

    fn replace(&mut self, value: &Value, arguments: Arguments) -> Outcome<Value> {
        let [old, new, count] = arguments.bind("replace", ["old", "new", "count"])?;
        let (old, new) = (required(old, "replace")?, required(new, "replace")?);
        let (text, old, new) = (self.text_of(value)?, self.text_of(&old)?, self.text_of(&new)?);
        let count = count.filter(|count| !matches!(count, Value::None)).unwrap_or(Value::Integer(-1));
        let arguments = Arguments::of(vec![Value::Text(old), Value::Text(new), count]);
        self.by_method(&Value::Text(text), "replace", arguments)
    }

    fn join(&mut self, value: &Value, arguments: Arguments) -> Outcome<Value> {
        let [separator, attribute] = arguments.bind("join", ["d", "attribute"])?;
        let separator = match separator {
            Some(separator) => self.text_of(&separator)?,
            None => "".into(),
        };
        let path = path(attribute.as_ref());
        let mut joined = String::new();
        let mut cursor = self.iterate(value)?;
        let mut is_first = true;
        while let Some(item) = self.next_of(&mut cursor)? {
            let item = self.at_path(&item, &path, None)?;
            joined.push_str(if is_first { "" } else { &separator });
            is_first = false;
            joined.push_str(&self.text_of(&item)?);
            self.check_growth(&joined)?;
        }
        self.made_text(joined)
    }

    fn format(&mut self, value: &Value, arguments: Arguments) -> Outcome<Value> {
        if !arguments.named.is_empty() && !arguments.positional.is_empty() {
            refuse!("format takes values in turn or by name, not both");
        }
        let format = self.soft_text(value)?;
        let Value::Text(format) = &format else { refuse!("format of a text that counts as HTML is not supported") };
        let values = if arguments.named.is_empty() {
            Value::tuple(arguments.positional)?
        } else {
            let entries = arguments.named.into_iter().map(|(name, value)| (Value::Text(name), value)).collect();
            Value::Dict(std::rc::Rc::new(crate::chat_template::jinja::dict::Dict::new(entries)?))
        };
        let text = percent::formatted(self, format, &values)?;
        self.made_text(text)
    }

    fn indent(&mut self, value: &Value, arguments: Arguments) -> Outcome<Value> {
        let [width, first, blank] = arguments.bind("indent", ["width", "first", "blank"])?;
        let text = text_argument(value, "indent")?;
        let indent = match &width {
            None => "    ".to_owned(),
            Some(Value::Text(indent)) => indent.to_string(),
            Some(width) => {
                let width = integer(width, "indent")?.max(0);
                limits::check_text(width as u128)?;
                " ".repeat(width as usize)
            }
        };
        let is_on = |flag: &Option<Value>| flag.as_ref().is_some_and(Value::is_true);
        let whole = format!("{text}\n");
        let lines = methods::lines(&whole)?;
        limits::check_text(text.len() as u128 + lines.len() as u128 * (indent.len() as u128 + 1))?;
        let mut out = String::new();
        for (place, line) in lines.iter().enumerate() {
            let is_indented = if place == 0 { is_on(&first) } else { is_on(&blank) || !line.is_empty() };
            out.push_str(if place > 0 { "\n" } else { "" });
            out.push_str(if is_indented { &indent } else { "" });
            out.push_str(line);
        }
        self.spend_on(out.len())?;
        Ok(like(value, out))
    }

    fn truncate(&mut self, value: &Value, arguments: Arguments) -> Outcome<Value> {
        let [length, cuts_words, end, leeway] = arguments.bind("truncate", ["length", "killwords", "end", "leeway"])?;
        let length = length.map_or(Ok(255), |length| integer(&length, "truncate"))?;
        let end = end.unwrap_or_else(|| Value::text("..."));
        let end = text_argument(&end, "truncate")?;
        let leeway = match leeway {
            None | Some(Value::None) => 5,
            Some(leeway) => integer(&leeway, "truncate")?,
        };
        let kept = length - end.chars().count() as i128;
        if kept < 0 || leeway < 0 {
            refuse!("truncate: the length is shorter than the end, or the leeway is negative");
        }
        self.spend_on_value(value)?;
        if value.len().is_some_and(|own| own as i128 <= length.saturating_add(leeway))
            && !matches!(value, Value::Text(_) | Value::Markup(_))
        {
            return Ok(value.clone());
        }
        let text = text_argument(value, "truncate")?;
        if text.chars().count() as i128 <= length.saturating_add(leeway) {
            return Ok(value.clone());
        }
        let mut cut: String = text.chars().take(kept as usize).collect();
        if !cuts_words.is_some_and(|flag| flag.is_true())
            && let Some(at) = cut.rfind(' ')
        {
            cut.truncate(at);
        }
        cut.push_str(end);
        Ok(like(value, cut))
    }

    fn wordwrap(&mut self, value: &Value, arguments: Arguments) -> Outcome<Value> {
        let names = ["width", "break_long_words", "wrapstring", "break_on_hyphens"];
        let [width, long, wrap_text, hyphens] = arguments.bind("wordwrap", names)?;
        let Value::Text(text) = value else { return Err(value.misused("where wordwrap takes a text")) };
        let width = width.map_or(Ok(79), |width| integer(&width, "wordwrap"))?;
        let is_on = |flag: Option<Value>| flag.is_none_or(|flag| flag.is_true());
        let end = match &wrap_text {
            None | Some(Value::None) => "\n",
            Some(end) => text_argument(end, "wordwrap")?,
        };
        let wrapped = wrap::wrapped(text, width, is_on(long), is_on(hyphens), end)?;
        self.made_text(wrapped)
    }
}

/// Converts to jinja2's own title case: a word begins after white space, a hyphen or an opening bracket.
fn titled(text: &str) -> String {
    let is_gap = |c: char| is_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let gap = rest.starts_with(is_gap);
        let end = rest.find(|c| is_gap(c) != gap).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        let first = piece.chars().next().map_or(0, char::len_utf8);
        out.push_str(&piece[..first].to_uppercase());
        out.push_str(&piece[first..].to_lowercase());
        rest = after;
    }
    out
}
