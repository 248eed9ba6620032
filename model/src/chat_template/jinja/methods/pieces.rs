//! Methods of `str` that cut a text, strip its ends, or replace parts of it.

use crate::chat_template::jinja::arguments::{Arguments, integer, required, switch, text as text_argument};
use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::interpreter::Interpreter;
use crate::chat_template::jinja::limits;
use crate::chat_template::jinja::unicode::{is_line_end, is_space};
use crate::chat_template::jinja::value::Value;
use std::collections::HashSet;

/// Applies `strip`, `lstrip`, `rstrip`, `removeprefix` or `removesuffix`.
pub fn stripped(text: &str, name: &str, arguments: Arguments) -> Outcome<String> {
    let [what] = arguments.positional(name)?;
    if name.starts_with("remove") {
        let what = required(what, name)?;
        let what = text_argument(&what, name)?;
        let rest = if name == "removeprefix" { text.strip_prefix(&**what) } else { text.strip_suffix(&**what) };
        return Ok(rest.unwrap_or(text).to_owned());
    }
    Ok(trimmed(text, what.as_ref(), name != "rstrip", name != "lstrip")?.to_owned())
}

/// Strips the characters `what` from the start and the end of a text. Without `what`, strips white space.
///
/// # Errors
/// If `what` is not a text.
pub fn trimmed<'t>(text: &'t str, what: Option<&Value>, at_start: bool, at_end: bool) -> Outcome<&'t str> {
    let characters = match what {
        None | Some(Value::None) => None,
        Some(value) => Some(text_argument(value, "strip")?.clone()),
    };
    let characters: Option<HashSet<char>> = characters.map(|characters| characters.chars().collect());
    let is_taken = |c: char| characters.as_ref().map_or_else(|| is_space(c), |characters| characters.contains(&c));
    let text = if at_start { text.trim_start_matches(is_taken) } else { text };
    Ok(if at_end { text.trim_end_matches(is_taken) } else { text })
}

/// Applies the method `replace`.
pub fn replaced(text: &str, arguments: Arguments) -> Outcome<String> {
    let [old, new, count] = arguments.positional("replace")?;
    let (old, new) = (required(old, "replace")?, required(new, "replace")?);
    let count = count.map_or(Ok(-1), |count| integer(&count, "replace"))?;
    replaced_times(text, text_argument(&old, "replace")?, text_argument(&new, "replace")?, count)
}

/// Replaces the first `count` of `old` by `new`, or all if the count is negative.
///
/// # Errors
/// If the text would be too long.
pub fn replaced_times(text: &str, old: &str, new: &str, count: i128) -> Outcome<String> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let found = text.matches(old).take(count).count();
    limits::check_text(text.len() as u128 + found as u128 * new.len() as u128)?;
    Ok(text.replacen(old, new, count))
}

/// The most pieces that are cut. It is one more than a list may have, so that making the list is refused.
const MOST_PIECES: usize = limits::LARGEST_LIST + 1;

/// Splits a text from the left, with at most `most` cuts.
fn split<'t>(text: &'t str, separator: Option<&str>, most: usize) -> Vec<&'t str> {
    let Some(separator) = separator else { return split_at_space(text, most) };
    text.splitn(most.saturating_add(1), separator).take(MOST_PIECES).collect()
}

fn split_at_space(text: &str, most: usize) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), text.trim_start_matches(is_space));
    while !rest.is_empty() && pieces.len() < most.min(MOST_PIECES) {
        let end = rest.find(is_space).unwrap_or(rest.len());
        pieces.push(&rest[..end]);
        rest = rest[end..].trim_start_matches(is_space);
    }
    // The text after the last cut keeps the white space at its end.
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

/// Like [`split`], from the right.
fn split_back<'t>(text: &'t str, separator: Option<&str>, most: usize) -> Vec<&'t str> {
    let mut pieces: Vec<&str> = match separator {
        Some(separator) => text.rsplitn(most.saturating_add(1), separator).take(MOST_PIECES).collect(),
        None => {
            let (mut pieces, mut rest) = (Vec::new(), text.trim_end_matches(is_space));
            while !rest.is_empty() && pieces.len() < most.min(MOST_PIECES) {
                let start = rest.rfind(is_space).map_or(0, |at| at + rest[at..].chars().next().map_or(0, char::len_utf8));
                pieces.push(&rest[start..]);
                rest = rest[..start].trim_end_matches(is_space);
            }
            if !rest.is_empty() {
                pieces.push(rest);
            }
            pieces
        }
    };
    pieces.reverse();
    pieces
}

/// Splits a text into lines. Each keeps its line end if `keeps_ends` is true. "\r\n" is one line end.
///
/// # Errors
/// If there are more lines than a list may have.
pub fn lines(text: &str, keeps_ends: bool) -> Outcome<Vec<&str>> {
    let (mut lines, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find(is_line_end) {
        let end = if rest[at..].starts_with("\r\n") { 2 } else { rest[at..].chars().next().map_or(0, char::len_utf8) };
        lines.push(&rest[..if keeps_ends { at + end } else { at }]);
        limits::check_list(lines.len() as u128)?;
        rest = &rest[at + end..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    Ok(lines)
}

impl Interpreter<'_> {
    /// Applies `split`, `rsplit`, `splitlines`, `partition` or `rpartition`.
    pub(super) fn pieces(&mut self, text: &str, name: &str, arguments: Arguments) -> Outcome<Value> {
        match name {
            "splitlines" => {
                let [keeps_ends] = arguments.bind(name, ["keepends"])?;
                let keeps_ends = switch(keeps_ends, name)?;
                self.texts(lines(text, keeps_ends)?)
            }
            "partition" | "rpartition" => {
                let [separator] = arguments.positional(name)?;
                let separator = required(separator, name)?;
                partitioned(text, text_argument(&separator, name)?, name == "rpartition")
            }
            _ => {
                let [separator, most] = arguments.bind(name, ["sep", "maxsplit"])?;
                let most = most.map_or(Ok(-1), |most| integer(&most, name))?;
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                let separator = match &separator {
                    None | Some(Value::None) => None,
                    Some(value) => Some(&**text_argument(value, name)?),
                };
                if separator == Some("") {
                    refuse!("{name} with an empty separator");
                }
                self.texts(if name == "split" { split(text, separator, most) } else { split_back(text, separator, most) })
            }
        }
    }

    fn texts(&mut self, pieces: Vec<&str>) -> Outcome<Value> {
        limits::check_list(pieces.len() as u128)?;
        self.spend(pieces.len() as u64)?;
        Value::list(pieces.into_iter().map(Value::text).collect())
    }
}

fn partitioned(text: &str, separator: &str, cursor_at_end: bool) -> Outcome<Value> {
    if separator.is_empty() {
        refuse!("partition with an empty separator");
    }
    let cut = if cursor_at_end { text.rsplit_once(separator) } else { text.split_once(separator) };
    let parts = match (cut, cursor_at_end) {
        (Some((before, after)), _) => [before, separator, after],
        (None, false) => [text, "", ""],
        (None, true) => ["", "", text],
    };
    Value::tuple(parts.into_iter().map(Value::text).collect())
}
