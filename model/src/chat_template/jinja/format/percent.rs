//! The operator `%` on texts.

use super::digits;
use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::interpreter::Interpreter;
use crate::chat_template::jinja::limits;
use crate::chat_template::jinja::numbers::{Number, truncated};
use crate::chat_template::jinja::value::Value;
use std::iter::Peekable;
use std::str::Chars;

/// The values of a format, taken in order or by name.
struct Values<'v> {
    all: &'v Value,
    next: usize,
    is_by_name: bool,
}

impl Values<'_> {
    fn next(&mut self) -> Outcome<Value> {
        let value = match self.all {
            _ if self.is_by_name => None,
            Value::Tuple(items) => items.values.get(self.next).cloned(),
            only => (self.next == 0).then(|| only.clone()),
        };
        self.next += 1;
        match value {
            Some(value) => Ok(value),
            None => refuse!("% has not enough values for its format"),
        }
    }

    fn named(&mut self, name: &str) -> Outcome<Value> {
        self.is_by_name = true;
        let Value::Dict(dict) = self.all else { refuse!("a format with names after % takes a dict") };
        match dict.get(&Value::text(name)) {
            Some(value) => Ok(value.clone()),
            None => refuse!("% lacks a value called {name:?}"),
        }
    }

    /// True if a value was given and not used. A dict may have unused values.
    fn has_more(&self) -> bool {
        match self.all {
            Value::Tuple(items) => self.next < items.values.len(),
            Value::Dict(_) | Value::List(_) | Value::Range(_) | Value::Undefined(_) => false,
            _ => self.next == 0 && !self.is_by_name,
        }
    }
}

/// One placeholder of a format.
#[derive(Default)]
struct Place {
    is_alternate: bool,
    is_zero_padded: bool,
    is_left: bool,
    sign: Option<char>,
    width: usize,
    precision: Option<usize>,
}

/// Computes `format % values`.
///
/// # Errors
/// If the values do not fit the format, or the text would be too long.
pub fn formatted(interpreter: &mut Interpreter<'_>, format: &str, values: &Value) -> Outcome<String> {
    let mut values = Values { all: values, next: 0, is_by_name: false };
    let (mut out, mut rest) = (String::with_capacity(format.len()), format.chars().peekable());
    while let Some(character) = rest.next() {
        if character == '%' {
            let text = place(interpreter, &mut rest, &mut values)?;
            out.push_str(&text);
        } else {
            out.push(character);
        }
        interpreter.check_growth(&out)?;
    }
    if values.has_more() {
        refuse!("% has more values than its format takes");
    }
    Ok(out)
}

fn place(interpreter: &mut Interpreter<'_>, rest: &mut Peekable<Chars<'_>>, values: &mut Values<'_>) -> Outcome<String> {
    if rest.next_if_eq(&'%').is_some() {
        return Ok("%".to_owned());
    }
    let name = if rest.next_if_eq(&'(').is_some() { Some(bracketed(rest)?) } else { None };
    let mut place = Place::default();
    while let Some(flag) = rest.next_if(|c| matches!(c, '-' | '+' | ' ' | '#' | '0')) {
        match flag {
            '-' => place.is_left = true,
            '#' => place.is_alternate = true,
            '0' => place.is_zero_padded = true,
            '+' => place.sign = Some('+'),
            _ => place.sign = place.sign.or(Some(' ')),
        }
    }
    if let Some(width) = number(rest, values)? {
        place.is_left |= width < 0;
        place.width = size(width.saturating_abs())?;
    }
    if rest.next_if_eq(&'.').is_some() {
        place.precision = Some(size(number(rest, values)?.unwrap_or(0).max(0))?);
    }
    rest.next_if(|c| matches!(c, 'h' | 'l' | 'L'));
    let Some(kind) = rest.next() else { refuse!("a format ends with %") };
    let value = match &name {
        Some(name) => values.named(name)?,
        None => values.next()?,
    };
    place.formatted(interpreter, kind, &value)
}

fn size(value: i128) -> Outcome<usize> {
    limits::check_text(value as u128)?;
    Ok(value as usize)
}

fn bracketed(rest: &mut Peekable<Chars<'_>>) -> Outcome<String> {
    let (mut name, mut level) = (String::new(), 1);
    for character in rest.by_ref() {
        level += match character {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if level == 0 {
            return Ok(name);
        }
        name.push(character);
    }
    refuse!("a name in a format after % has no end")
}

/// Reads a width or a precision: digits, or `*` for the next value.
fn number(rest: &mut Peekable<Chars<'_>>, values: &mut Values<'_>) -> Outcome<Option<i128>> {
    if rest.next_if_eq(&'*').is_some() {
        let value = values.next()?;
        return value.as_integer().map(Some).ok_or_else(|| value.misused("for * in a format"));
    }
    let mut number: Option<i128> = None;
    while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
        rest.next();
        number = Some(number.unwrap_or_default().saturating_mul(10).saturating_add(i128::from(digit)));
    }
    Ok(number)
}

impl Place {
    fn formatted(&self, interpreter: &mut Interpreter<'_>, kind: char, value: &Value) -> Outcome<String> {
        match kind {
            's' => self.text(interpreter.text_of(value)?.as_ref()),
            'r' => self.text(&interpreter.repr(value)?),
            'c' => self.character(value),
            'd' | 'i' | 'u' => self.whole(decimal(value)?, 'd'),
            'x' | 'X' | 'o' => match value.as_integer() {
                Some(whole) => self.whole(whole, kind),
                None => Err(value.misused(&format!("where %{kind} takes a whole number"))),
            },
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => match Number::of(value) {
                Some(number) => self.float(number.as_f64(), kind),
                None => Err(value.misused(&format!("where %{kind} takes a number"))),
            },
            'a' => refuse!("%a is not supported"),
            other => refuse!("%{other} is no format"),
        }
    }

    fn padded(&self, before: &str, text: &str, has_zeros: bool) -> String {
        let missing = self.width.saturating_sub(before.chars().count() + text.chars().count());
        match (self.is_left, has_zeros && self.is_zero_padded) {
            (true, _) => format!("{before}{text}{}", " ".repeat(missing)),
            (false, true) => format!("{before}{}{text}", "0".repeat(missing)),
            (false, false) => format!("{}{before}{text}", " ".repeat(missing)),
        }
    }

    fn text(&self, text: &str) -> Outcome<String> {
        let cut: String = text.chars().take(self.precision.unwrap_or(usize::MAX)).collect();
        Ok(self.padded("", &cut, false))
    }

    fn character(&self, value: &Value) -> Outcome<String> {
        if let Some(text) = value.as_text() {
            let mut characters = text.chars();
            return match (characters.next(), characters.next()) {
                (Some(only), None) => Ok(self.padded("", &only.to_string(), false)),
                _ => refuse!("%c takes one character"),
            };
        }
        let code = value.as_integer().and_then(|code| u32::try_from(code).ok()).and_then(char::from_u32);
        match code {
            Some(character) => Ok(self.padded("", &character.to_string(), false)),
            None => Err(value.misused("where %c takes a character")),
        }
    }

    fn sign(&self, is_negative: bool) -> String {
        if is_negative { "-".to_owned() } else { self.sign.map(String::from).unwrap_or_default() }
    }

    fn whole(&self, value: i128, kind: char) -> Outcome<String> {
        let digits = digits::whole(value, kind);
        let zeros = "0".repeat(self.precision.unwrap_or_default().saturating_sub(digits.len()));
        let prefix = match kind {
            'x' if self.is_alternate => "0x",
            'X' if self.is_alternate => "0X",
            'o' if self.is_alternate => "0o",
            _ => "",
        };
        Ok(self.padded(&format!("{}{prefix}", self.sign(value < 0)), &format!("{zeros}{digits}"), true))
    }

    fn float(&self, value: f64, kind: char) -> Outcome<String> {
        let precision = self.precision.unwrap_or(6);
        let mut text = match kind.to_ascii_lowercase() {
            'f' => digits::fixed(value, precision)?,
            'e' => digits::scientific(value, precision)?,
            _ => digits::general(value, precision, precision.clamp(1, i32::MAX as usize) as i32, self.is_alternate)?,
        };
        if self.is_alternate && value.is_finite() && !text.contains('.') {
            let at = text.find('e').unwrap_or(text.len());
            text.insert(at, '.');
        }
        if kind.is_ascii_uppercase() {
            text.make_ascii_uppercase();
        }
        Ok(self.padded(&self.sign(value.is_sign_negative() && !value.is_nan()), &text, true))
    }
}

/// Returns the whole number that `%d` writes.
fn decimal(value: &Value) -> Outcome<i128> {
    match Number::of(value) {
        Some(Number::Integer(whole)) => Ok(whole),
        Some(Number::Float(float)) => match truncated(float) {
            Some(whole) => Ok(whole),
            None => refuse!("%d of a number that has no whole part of 128 bits"),
        },
        None => Err(value.misused("where %d takes a number")),
    }
}
