//! Methods of `str` that search for a text within another.

use crate::chat_template::jinja::arguments::{Arguments, required, text as text_argument};
use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::value::{Range, Value};

/// Returns the part of a text between two bounds, and how many characters are before it. Returns `None` if the start is past the end.
fn part(text: &str, start: Option<Value>, end: Option<Value>) -> Outcome<Option<(&str, usize)>> {
    let length = text.chars().count() as i128;
    let is_behind = matches!(&start, Some(start) if start.as_integer().is_some_and(|start| start > length));
    let bounds = Range::of_slice(&[start, end, None], length)?;
    if is_behind || bounds.start > bounds.stop {
        return Ok(None);
    }
    let byte = |characters: i128| text.char_indices().nth(characters as usize).map_or(text.len(), |(at, _)| at);
    Ok(Some((&text[byte(bounds.start)..byte(bounds.stop)], bounds.start as usize)))
}

/// Applies `count`, `find`, `index`, `rfind` or `rindex`.
pub fn place(text: &str, name: &str, arguments: Arguments) -> Outcome<Value> {
    let [wanted, start, end] = arguments.positional(name)?;
    let wanted = required(wanted, name)?;
    let wanted = text_argument(&wanted, name)?;
    let part = part(text, start, end)?;
    if name == "count" {
        let count = part.map_or(0, |(part, _)| part.matches(&**wanted).count());
        return Ok(Value::Integer(count as i128));
    }
    let place = part.and_then(|(part, before)| {
        let byte = if name.starts_with('r') { part.rfind(&**wanted) } else { part.find(&**wanted) }?;
        Some((before + part[..byte].chars().count()) as i128)
    });
    match place {
        Some(place) => Ok(Value::Integer(place)),
        None if name.ends_with("index") => refuse!("{name}: the text is not found"),
        None => Ok(Value::Integer(-1)),
    }
}

/// Applies `startswith` or `endswith`.
pub fn begins_or_ends(text: &str, name: &str, arguments: Arguments) -> Outcome<Value> {
    let [wanted, start, end] = arguments.positional(name)?;
    let wanted = required(wanted, name)?;
    let part = part(text, start, end)?;
    let has = |wanted: &Value| -> Outcome<bool> {
        let wanted = text_argument(wanted, name)?;
        Ok(part.is_some_and(|(part, _)| if name == "startswith" { part.starts_with(&**wanted) } else { part.ends_with(&**wanted) }))
    };
    let Value::Tuple(several) = &wanted else { return has(&wanted).map(Value::Bool) };
    for one in &several.values {
        if has(one)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}
