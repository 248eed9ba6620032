//! The lexer: a template's text as tokens, with jinja2's rules for white space. `trim_blocks` and `lstrip_blocks` are on, line ends are
//! `\n`, and the last line end is dropped.

use super::fault::{Fault, Outcome, refuse};
use super::literals;
use super::token::{Kind, Token};
use super::unicode::is_space;
use std::sync::Arc;

/// All operators and brackets. The longer ones stand first, so that `//` is not read as two `/`.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";",
];

/// Splits `text` into tokens. The last one is a [`Kind::End`].
///
/// # Errors
/// If a tag or a string has no end, or a character is not allowed in a tag.
pub fn tokens(text: &str) -> Outcome<Vec<Token>> {
    let mut source = text.replace("\r\n", "\n").replace('\r', "\n");
    if source.ends_with('\n') {
        source.pop();
    }
    let mut lexer = Lexer { source: &source, position: 0, line: 1, is_line_start: true, tokens: Vec::new() };
    let outcome = lexer.run();
    let line = lexer.line;
    outcome.map_err(|fault| fault.at(line))?;
    lexer.push(Kind::End);
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    position: usize,
    line: u32,
    /// True if the text that was read last ended a line.
    is_line_start: bool,
    tokens: Vec<Token>,
}

/// Returns the number of bytes of white space at the start of `text`.
fn space(text: &str) -> usize {
    text.len() - text.trim_start_matches(is_space).len()
}

/// Returns the sign (`-` or `+`) at the start of `text`, which follows `{%` or the like.
fn sign(text: &str) -> Option<char> {
    text.chars().next().filter(|&c| c == '-' || c == '+')
}

/// Returns the start of the first tag in `text`.
fn first_tag(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    bytes.windows(2).position(|pair| pair[0] == b'{' && matches!(pair[1], b'%' | b'{' | b'#'))
}

/// Returns the length of `%}` at the start of `text`, with what it removes: a line end, or with `-` all white space.
fn block_end(text: &str, close: &str, trims: bool) -> Option<usize> {
    let plain = |text: &str| text.starts_with(close).then_some(close.len());
    if let Some(rest) = text.strip_prefix('-').filter(|rest| rest.starts_with(close)) {
        return Some(1 + close.len() + space(&rest[close.len()..]));
    }
    if trims {
        if let Some(rest) = text.strip_prefix('+').filter(|rest| rest.starts_with(close)) {
            return Some(text.len() - rest.len() + close.len());
        }
        return plain(text).map(|length| length + usize::from(text[length..].starts_with('\n')));
    }
    plain(text)
}

/// Returns the length of `word` at the start of `text`, with the white space around it.
fn spaced_word(text: &str, word: &str) -> Option<usize> {
    let before = space(text);
    let after = text[before..].strip_prefix(word)?;
    Some(before + word.len() + space(after))
}

/// Returns the length of `{% raw %}` at the start of `text`.
fn raw_begin(text: &str) -> Option<usize> {
    let start = 2 + sign(text.get(2..)?).map_or(0, char::len_utf8);
    let end = start + spaced_word(&text[start..], "raw")?;
    Some(end + block_end(&text[end..], "%}", false)?)
}

/// Returns the length of `{% endraw %}` at the start of `text`.
fn raw_end(text: &str) -> Option<usize> {
    let start = 2 + sign(text.get(2..)?).map_or(0, char::len_utf8);
    let end = start + spaced_word(&text[start..], "endraw")?;
    Some(end + block_end(&text[end..], "%}", true)?)
}

impl Lexer<'_> {
    fn push(&mut self, kind: Kind) {
        self.tokens.push(Token { kind, line: self.line });
    }

    fn rest(&self) -> &str {
        &self.source[self.position..]
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.source[self.position..self.position + bytes];
        self.line += passed.bytes().filter(|&byte| byte == b'\n').count() as u32;
        self.is_line_start = passed.ends_with('\n');
        self.position += bytes;
    }

    fn run(&mut self) -> Outcome<()> {
        while !self.rest().is_empty() {
            let Some(at) = first_tag(self.rest()) else {
                self.data(self.rest().len());
                return Ok(());
            };
            let tag = &self.rest()[at..];
            let (is_variable, raw) = (tag.starts_with("{{"), raw_begin(tag));
            let sign = sign(&tag[2..]);
            let opening = 2 + usize::from(sign.is_some());
            self.stripped_data(at, sign, is_variable);
            match (raw, self.rest().as_bytes()[1]) {
                (Some(length), _) => {
                    self.advance(length);
                    self.raw()?;
                }
                (None, b'#') => self.comment(opening)?,
                (None, _) => self.tag(opening, !is_variable)?,
            }
        }
        Ok(())
    }

    fn data(&mut self, bytes: usize) {
        if bytes > 0 {
            let text = Arc::from(&self.rest()[..bytes]);
            self.push(Kind::Data(text));
        }
        self.advance(bytes);
    }

    /// Reads the text before a tag. The white space that the tag removes is left out.
    fn stripped_data(&mut self, bytes: usize, sign: Option<char>, is_variable: bool) {
        let text = &self.rest()[..bytes];
        let line_start = text.rfind('\n').map_or(0, |at| at + 1);
        let last_line = &text[line_start..];
        let kept = match sign {
            Some('-') => text.trim_end_matches(is_space).len(),
            None if !is_variable && (line_start > 0 || self.is_line_start) && last_line.chars().all(is_space) => line_start,
            _ => bytes,
        };
        let position = self.position;
        self.data(kept);
        self.advance(position + bytes - self.position);
    }

    fn comment(&mut self, opening: usize) -> Outcome<()> {
        self.advance(opening);
        if self.rest().is_empty() {
            return Ok(());
        }
        let Some(close) = self.rest().find("#}") else { refuse!("a comment without an end") };
        let signed = close.checked_sub(1).filter(|&at| matches!(self.rest().as_bytes()[at], b'-' | b'+'));
        let start = signed.unwrap_or(close);
        let length = block_end(&self.rest()[start..], "#}", true).unwrap_or_default();
        self.advance(start + length);
        Ok(())
    }

    fn raw(&mut self) -> Outcome<()> {
        let rest = self.rest();
        if rest.is_empty() {
            return Ok(());
        }
        let ends = rest.match_indices("{%").find_map(|(at, _)| Some((at, raw_end(&rest[at..])?)));
        let Some((at, length)) = ends else { refuse!("{{% raw %}} without an end") };
        let sign = sign(&rest[at + 2..]);
        self.stripped_data(at, sign, false);
        self.advance(length);
        Ok(())
    }

    /// Reads a tag up to its end. An end within brackets does not count.
    fn tag(&mut self, opening: usize, is_block: bool) -> Outcome<()> {
        let (begin, end, close) =
            if is_block { (Kind::BlockBegin, Kind::BlockEnd, "%}") } else { (Kind::VariableBegin, Kind::VariableEnd, "}}") };
        self.push(begin);
        self.advance(opening);
        let mut brackets = Vec::new();
        while !self.rest().is_empty() {
            let ending = if brackets.is_empty() { block_end(self.rest(), close, is_block) } else { None };
            if let Some(length) = ending {
                self.push(end);
                self.advance(length);
                return Ok(());
            }
            self.token(&mut brackets)?;
        }
        Ok(())
    }

    fn token(&mut self, brackets: &mut Vec<&'static str>) -> Outcome<()> {
        let rest = self.rest();
        let white = space(rest);
        if white > 0 {
            self.advance(white);
            return Ok(());
        }
        let follows_point = self.source[..self.position].ends_with('.');
        let (length, kind) = match literals::number(rest, follows_point)? {
            Some(number) => number,
            None => match name_length(rest) {
                0 => match literals::quoted(rest) {
                    Some(length) => (length, Kind::Text(literals::unescaped(&rest[1..length - 1])?.into())),
                    None => operator(rest, brackets)?,
                },
                length => (length, name(&rest[..length])?),
            },
        };
        self.push(kind);
        self.advance(length);
        Ok(())
    }
}

fn name_length(text: &str) -> usize {
    text.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(text.len())
}

fn name(text: &str) -> Outcome<Kind> {
    if text.starts_with(|c: char| c != '_' && !c.is_alphabetic()) {
        refuse!("{text:?} is no name");
    }
    Ok(Kind::Name(Arc::from(text)))
}

fn operator(text: &str, brackets: &mut Vec<&'static str>) -> Outcome<(usize, Kind)> {
    let Some(operator) = OPERATORS.into_iter().find(|operator| text.starts_with(operator)) else {
        return Err(Fault::new(format!("the character {:?} has no place in a tag", text.chars().next().unwrap_or_default())));
    };
    match operator {
        "{" => brackets.push("}"),
        "(" => brackets.push(")"),
        "[" => brackets.push("]"),
        "}" | ")" | "]" => match brackets.pop() {
            Some(open) if open == operator => {}
            Some(open) => refuse!("{operator:?} where {open:?} was expected"),
            None => refuse!("{operator:?} closes nothing"),
        },
        _ => {}
    }
    Ok((operator.len(), Kind::Operator(operator)))
}
