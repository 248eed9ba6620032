//! Numbers and strings in the source of a template.

use super::fault::{Fault, Outcome, refuse};
use super::token::Kind;

/// Returns the length of the digits at the start of `text`, with single underscores between them.
fn digits(text: &str, is_digit: fn(u8) -> bool) -> usize {
    let bytes = text.as_bytes();
    let mut length = 0;
    loop {
        let skip = usize::from(length > 0 && bytes.get(length) == Some(&b'_'));
        match bytes.get(length + skip) {
            Some(&byte) if is_digit(byte) => length += skip + 1,
            _ => return length,
        }
    }
}

fn is_decimal(byte: u8) -> bool {
    byte.is_ascii_digit()
}

/// Reads the number at the start of `text`; returns its length and its token. Right after a point, only a whole number is read.
pub fn number(text: &str, follows_point: bool) -> Outcome<Option<(usize, Kind)>> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(None);
    }
    match float(text).filter(|_| !follows_point) {
        Some(length) => {
            let value: f64 = text[..length].replace('_', "").parse().map_err(|_| Fault::new("a number that cannot be read"))?;
            Ok(Some((length, Kind::Float(value))))
        }
        None => integer(text).map(Some),
    }
}

fn float(text: &str) -> Option<usize> {
    let whole = digits(text, is_decimal);
    let fraction = text[whole..].strip_prefix('.').map(|rest| digits(rest, is_decimal)).filter(|&length| length > 0);
    let end = whole + fraction.map_or(0, |length| length + 1);
    let exponent = text[end..].strip_prefix(['e', 'E']).and_then(|rest| {
        let sign = usize::from(rest.starts_with(['+', '-']));
        let length = digits(&rest[sign..], is_decimal);
        (length > 0).then_some(1 + sign + length)
    });
    (fraction.is_some() || exponent.is_some()).then_some(end + exponent.unwrap_or_default())
}

fn integer(text: &str) -> Outcome<(usize, Kind)> {
    let radix = match text.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0b") => Some((2, (|byte| matches!(byte, b'0' | b'1')) as fn(u8) -> bool)),
        Some("0o") => Some((8, (|byte| matches!(byte, b'0'..=b'7')) as fn(u8) -> bool)),
        Some("0x") => Some((16, (|byte: u8| byte.is_ascii_hexdigit()) as fn(u8) -> bool)),
        _ => None,
    };
    let value = |digits: &str, radix| {
        let number = i128::from_str_radix(&digits.replace('_', ""), radix);
        number.map(Kind::Integer).map_err(|_| Fault::new("a whole number of more than 128 bits, which this interpreter does not have"))
    };
    if let Some((radix, is_digit)) = radix {
        let underscore = usize::from(text[2..].starts_with('_'));
        let length = digits(&text[2 + underscore..], is_digit);
        if length > 0 {
            let start = 2 + underscore;
            return Ok((start + length, value(&text[start..start + length], radix)?));
        }
    }
    let is_zero: fn(u8) -> bool = |byte| byte == b'0';
    let length = if text.starts_with('0') { digits(text, is_zero) } else { digits(text, is_decimal) };
    Ok((length, value(&text[..length], 10)?))
}

/// Returns the length of the string in quotes at the start of `text`.
pub fn quoted(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|&c| c == '\'' || c == '"')?;
    let mut is_escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Replaces Python's escapes in `text`. As in jinja2, a backslash before a character beyond ASCII leaves that character's escape as text.
pub fn unescaped(text: &str) -> Outcome<String> {
    let mut ascii = String::with_capacity(text.len());
    for character in text.chars() {
        match u32::from(character) {
            0..=0x7f => ascii.push(character),
            code @ 0x80..=0xff => ascii.push_str(&format!("\\x{code:02x}")),
            code @ 0x100..=0xffff => ascii.push_str(&format!("\\u{code:04x}")),
            code => ascii.push_str(&format!("\\U{code:08x}")),
        }
    }
    let (mut out, mut rest) = (String::with_capacity(text.len()), ascii.as_str());
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = &rest[at + 1..];
        rest = &escape[escaped(escape, &mut out)?..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Writes the character for `escape`, the text after a backslash. Returns how many bytes of `escape` it used.
fn escaped(escape: &str, out: &mut String) -> Outcome<usize> {
    let Some(first) = escape.chars().next() else { refuse!("a string ends with a backslash") };
    let plain = match first {
        '\n' => return Ok(1),
        '\\' | '\'' | '"' => first,
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '0'..='7' => {
            let length = escape.bytes().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
            out.push(character(&escape[..length], 8)?);
            return Ok(length);
        }
        'x' => return coded(escape, 2, out),
        'u' => return coded(escape, 4, out),
        'U' => return coded(escape, 8, out),
        'N' => refuse!("the escape \\N{{…}}, a character by its name, is not supported"),
        other => {
            out.extend(['\\', other]);
            return Ok(other.len_utf8());
        }
    };
    out.push(plain);
    Ok(1)
}

fn coded(escape: &str, digits: usize, out: &mut String) -> Outcome<usize> {
    match escape.get(1..=digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        Some(text) => {
            out.push(character(text, 16)?);
            Ok(1 + digits)
        }
        None => refuse!("an escape that is cut short: \\{}", escape.chars().take(1 + digits).collect::<String>()),
    }
}

fn character(digits: &str, radix: u32) -> Outcome<char> {
    let code = u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
    code.ok_or_else(|| Fault::new(format!("the escape of {digits} is no character (half of a surrogate pair is none)")))
}
