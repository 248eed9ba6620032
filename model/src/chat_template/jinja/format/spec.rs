//! `format(value, spec)`, where `spec` is the text after the colon in `{:…}`.

use super::digits;
use crate::chat_template::jinja::fault::{Fault, Outcome, refuse};
use crate::chat_template::jinja::interpreter::Interpreter;
use crate::chat_template::jinja::limits;
use crate::chat_template::jinja::numbers::float_text;
use crate::chat_template::jinja::value::Value;

/// A specification: `[[fill]align][sign][z][#][0][width][grouping][.precision][type]`.
#[derive(Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    drops_negative_zero: bool,
    is_alternate: bool,
    is_zero_padded: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

const ALIGNS: [char; 4] = ['<', '>', '=', '^'];

impl Spec {
    fn parse(text: &str) -> Outcome<Self> {
        let mut rest: Vec<char> = text.chars().rev().collect();
        let mut spec = Self::default();
        let ahead = |rest: &[char], place: usize| rest.len().checked_sub(place + 1).map(|at| rest[at]);
        if ahead(&rest, 1).is_some_and(|c| ALIGNS.contains(&c)) {
            spec.fill = rest.pop();
            spec.align = rest.pop();
        } else if ahead(&rest, 0).is_some_and(|c| ALIGNS.contains(&c)) {
            spec.align = rest.pop();
        }
        let take = |rest: &mut Vec<char>, wanted: &[char]| match rest.last() {
            Some(last) if wanted.contains(last) => rest.pop(),
            _ => None,
        };
        spec.sign = take(&mut rest, &['+', '-', ' ']);
        spec.drops_negative_zero = take(&mut rest, &['z']).is_some();
        spec.is_alternate = take(&mut rest, &['#']).is_some();
        if spec.fill.is_none() {
            spec.is_zero_padded = take(&mut rest, &['0']).is_some();
        }
        spec.width = number(&mut rest)?.unwrap_or_default();
        spec.grouping = take(&mut rest, &[',', '_']);
        if take(&mut rest, &[',', '_']).is_some() {
            refuse!("the format {text:?} has two signs between thousands");
        }
        if take(&mut rest, &['.']).is_some() {
            spec.precision = number(&mut rest)?;
            if spec.precision.is_none() {
                refuse!("the format {text:?} lacks a precision after its point");
            }
        }
        spec.kind = rest.pop();
        if !rest.is_empty() {
            refuse!("{text:?} is no format");
        }
        Ok(spec)
    }

    /// Fills the text up to the width, aligned to `align` unless the specification has an alignment.
    fn padded(&self, before: &str, text: &str, align: char) -> Outcome<String> {
        let length = before.chars().count() + text.chars().count();
        let missing = self.width.saturating_sub(length);
        let fill = self.fill.unwrap_or(if self.is_zero_padded { '0' } else { ' ' });
        limits::check_text(missing as u128 * fill.len_utf8() as u128 + length as u128)?;
        let pad = |count: usize| fill.to_string().repeat(count);
        Ok(match self.align.unwrap_or(align) {
            '<' => format!("{before}{text}{}", pad(missing)),
            '^' => format!("{}{before}{text}{}", pad(missing / 2), pad(missing - missing / 2)),
            '=' => format!("{before}{}{text}", pad(missing)),
            _ => format!("{}{before}{text}", pad(missing)),
        })
    }

    fn sign(&self, is_negative: bool) -> &'static str {
        match (is_negative, self.sign) {
            (true, _) => "-",
            (false, Some('+')) => "+",
            (false, Some(' ')) => " ",
            _ => "",
        }
    }

    /// Writes a number: groups its digits, and places its sign.
    fn number(&self, is_negative: bool, prefix: &str, digits: &str) -> Outcome<String> {
        let before = format!("{}{prefix}", self.sign(is_negative));
        let align = if self.is_zero_padded { '=' } else { '>' };
        let Some(separator) = self.grouping else { return self.padded(&before, digits, align) };
        let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
        let end = if digits.contains('e') && !digits.contains('.') { digits.find('e').unwrap_or(end) } else { end };
        let (whole, rest) = digits.split_at(end);
        let group = if matches!(self.kind, Some('b' | 'o' | 'x' | 'X')) { 4 } else { 3 };
        let is_zero_filled = self.align.unwrap_or(align) == '=' && (self.is_zero_padded || self.fill == Some('0'));
        let least = if is_zero_filled { self.width.saturating_sub(before.len() + rest.len()) } else { 0 };
        limits::check_text(least as u128)?;
        self.padded(&before, &(grouped(whole, separator, group, least) + rest), align)
    }
}

/// Groups digits with a separator, after adding zeros in front until the result is at least `least` long.
fn grouped(digits: &str, separator: char, group: usize, least: usize) -> String {
    let mut count = digits.len();
    let length = |count: usize| count + count.saturating_sub(1) / group;
    while length(count) < least {
        count += 1;
    }
    let all = format!("{}{digits}", "0".repeat(count - digits.len()));
    let mut out = String::new();
    for (place, digit) in all.chars().enumerate() {
        if place > 0 && (count - place).is_multiple_of(group) {
            out.push(separator);
        }
        out.push(digit);
    }
    out
}

fn number(rest: &mut Vec<char>) -> Outcome<Option<usize>> {
    let mut value: Option<usize> = None;
    while let Some(digit) = rest.last().and_then(|c| c.to_digit(10)) {
        rest.pop();
        value = Some(value.unwrap_or_default().saturating_mul(10).saturating_add(digit as usize));
    }
    if let Some(value) = value {
        limits::check_text(value as u128)?;
    }
    Ok(value)
}

fn unknown(spec: &Spec, value: &Value) -> Fault {
    let kind = spec.kind.map_or_else(|| "that format".to_owned(), |kind| format!("the format {kind:?}"));
    Fault::new(format!("a value of type {} has no {}", value.type_name(), kind.trim_start_matches("the ")))
}

/// Computes `format(value, spec)`.
///
/// # Errors
/// If the value has no such format, or the text would be too long.
pub fn formatted(interpreter: &mut Interpreter<'_>, value: &Value, text: &str) -> Outcome<String> {
    if text.is_empty() {
        return Ok(interpreter.text_of(value)?.to_string());
    }
    match value {
        Value::Text(own) => of_text(own, &Spec::parse(text)?, value),
        Value::Bool(_) | Value::Integer(_) => of_integer(value, &Spec::parse(text)?),
        Value::Float(float) => of_float(*float, &Spec::parse(text)?, value),
        other => Err(other.misused(&format!("has no format {text:?}"))),
    }
}

fn of_text(text: &str, spec: &Spec, value: &Value) -> Outcome<String> {
    let is_wrong =
        spec.sign.is_some() || spec.is_alternate || spec.drops_negative_zero || spec.align == Some('=') || spec.grouping.is_some();
    if is_wrong || !matches!(spec.kind, None | Some('s')) {
        return Err(unknown(spec, value));
    }
    let cut: String = text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
    spec.padded("", &cut, '<')
}

fn of_integer(value: &Value, spec: &Spec) -> Outcome<String> {
    let whole = value.as_integer().unwrap_or_default();
    let kind = spec.kind.unwrap_or('d');
    if matches!(kind, 'e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%') {
        return of_float(whole as f64, spec, value);
    }
    let is_wrong = spec.precision.is_some()
        || spec.drops_negative_zero
        || !matches!(kind, 'b' | 'c' | 'd' | 'n' | 'o' | 'x' | 'X')
        || (spec.grouping == Some(',') && kind != 'd')
        || (spec.grouping.is_some() && matches!(kind, 'c' | 'n'));
    if is_wrong {
        return Err(unknown(spec, value));
    }
    if kind == 'c' {
        if spec.sign.is_some() || spec.is_alternate {
            return Err(unknown(spec, value));
        }
        let character = u32::try_from(whole).ok().and_then(char::from_u32);
        let Some(character) = character else { refuse!("{whole} is no character") };
        return spec.padded("", &character.to_string(), '>');
    }
    let prefix = match kind {
        'b' if spec.is_alternate => "0b",
        'o' if spec.is_alternate => "0o",
        'x' if spec.is_alternate => "0x",
        'X' if spec.is_alternate => "0X",
        _ => "",
    };
    spec.number(whole < 0, prefix, &digits::whole(whole, kind))
}

fn of_float(value: f64, spec: &Spec, of: &Value) -> Outcome<String> {
    let precision = spec.precision.unwrap_or(6);
    let keeps = spec.is_alternate;
    let mut text = match spec.kind {
        Some('f' | 'F') => digits::fixed(value, precision)?,
        Some('e' | 'E') => digits::scientific(value, precision)?,
        Some('g' | 'G' | 'n') => digits::general(value, precision, precision.max(1).min(i32::MAX as usize) as i32, keeps)?,
        Some('%') => digits::fixed(value * 100.0, precision)? + "%",
        None => match spec.precision {
            None => float_text(value.abs()),
            Some(precision) => with_point(digits::general(value, precision, precision.clamp(1, i32::MAX as usize) as i32 - 1, keeps)?),
        },
        Some(_) => return Err(unknown(spec, of)),
    };
    if spec.grouping.is_some() && spec.kind == Some('n') {
        return Err(unknown(spec, of));
    }
    if keeps && value.is_finite() {
        text = with_bare_point(text);
    }
    let is_zero = !text.bytes().any(|byte| matches!(byte, b'1'..=b'9' | b'i' | b'n'));
    let is_negative = value.is_sign_negative() && !value.is_nan() && !(spec.drops_negative_zero && is_zero);
    if matches!(spec.kind, Some('F' | 'E' | 'G')) {
        text.make_ascii_uppercase();
    }
    spec.number(is_negative, "", &text)
}

/// Adds ".0" to a number without a point, as `str` does.
fn with_point(text: String) -> String {
    if text.contains(['.', 'e', 'n', 'i']) { text } else { text + ".0" }
}

/// Adds a point, even if no digit follows it.
fn with_bare_point(text: String) -> String {
    if text.contains('.') {
        return text;
    }
    match text.find(['e', '%']) {
        Some(at) => format!("{}.{}", &text[..at], &text[at..]),
        None => text + ".",
    }
}
