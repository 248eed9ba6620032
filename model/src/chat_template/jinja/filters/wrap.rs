//! The filter `wordwrap`: Python's `textwrap.wrap` of each line.

use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::limits;
use crate::chat_template::jinja::methods;

/// True if textwrap takes the character for white space.
fn is_blank(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// Wraps each line of `text` to `width` characters and joins the results with `end`. A longer word is broken only if `breaks_words` is
/// true.
pub fn wrapped(text: &str, width: i128, breaks_words: bool, breaks_hyphens: bool, end: &str) -> Outcome<String> {
    if breaks_hyphens && text.contains(['-', '\u{2014}']) {
        refuse!("the filter wordwrap breaks lines at hyphens, which is not supported: give it break_on_hyphens=false");
    }
    let mut out: Vec<String> = Vec::new();
    for line in methods::lines(text)? {
        if width <= 0 && !line.is_empty() {
            refuse!("wordwrap to a width of {width}");
        }
        out.push(wrap_line(line, usize::try_from(width).unwrap_or_default(), breaks_words)?.join(end));
    }
    limits::check_text(out.iter().map(|line| line.len() as u128 + end.len() as u128).sum())?;
    Ok(out.join(end))
}

/// Splits a line into words and the white space between them.
fn chunks(line: &str) -> Outcome<Vec<&str>> {
    let (mut chunks, mut rest) = (Vec::new(), line);
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_blank(c) != is_blank(first)).unwrap_or(rest.len());
        chunks.push(&rest[..end]);
        rest = &rest[end..];
        limits::check_list(chunks.len() as u128)?;
    }
    Ok(chunks)
}

fn wrap_line(line: &str, width: usize, breaks_words: bool) -> Outcome<Vec<String>> {
    let mut chunks: Vec<&str> = chunks(line)?;
    chunks.reverse();
    // Counting stops after `width + 1` characters. A longer word does not fit on a line anyway.
    let length = |text: &str| text.chars().take(width + 1).count();
    let is_white = |text: &str| text.trim_matches(crate::chat_template::jinja::unicode::is_space).is_empty();
    let mut lines: Vec<String> = Vec::new();
    while let Some(first) = chunks.last() {
        if is_white(first) && !lines.is_empty() {
            chunks.pop();
        }
        let (mut current, mut used): (Vec<&str>, usize) = (Vec::new(), 0);
        while let Some(chunk) = chunks.last().copied().filter(|chunk| used + length(chunk) <= width) {
            current.push(chunk);
            used += length(chunk);
            chunks.pop();
        }
        if let Some(long) = chunks.last().copied().filter(|chunk| length(chunk) > width) {
            if breaks_words {
                let room = if width < 1 { 1 } else { width - used };
                let at = long.char_indices().nth(room).map_or(long.len(), |(at, _)| at);
                current.push(&long[..at]);
                if let Some(last) = chunks.last_mut() {
                    *last = &long[at..];
                }
            } else if current.is_empty() {
                current.push(long);
                chunks.pop();
            }
        }
        if current.last().is_some_and(|last| is_white(last)) {
            current.pop();
        }
        if !current.is_empty() {
            lines.push(current.concat());
            limits::check_list(lines.len() as u128)?;
        }
    }
    Ok(lines)
}
