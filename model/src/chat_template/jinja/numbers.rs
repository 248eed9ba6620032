//! Python's numbers: whole numbers (of 128 bits here) and f64.

use super::fault::{Outcome, refuse};
use super::syntax::Arithmetic;
use super::unicode::{is_decimal, is_space};
use super::value::Value;
use std::cmp::Ordering;

/// A number of either kind.
#[derive(Clone, Copy)]
pub enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    /// Returns the number that `value` is. True is 1.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Float(float) => Some(Self::Float(*float)),
            other => other.as_integer().map(Self::Integer),
        }
    }

    /// Converts to the nearest f64.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// Compares two numbers exactly, whatever their kinds. Returns `None` if one is NaN.
    pub fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Integer(a), Self::Float(b)) => compare_mixed(a, b),
            (Self::Float(a), Self::Integer(b)) => compare_mixed(b, a).map(Ordering::reverse),
        }
    }
}

fn compare_mixed(whole: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // Beyond 2¹²⁷ every f64 is larger than every i128.
    if float.abs() >= 1.7e38 {
        return Some(if float > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    let floor = float.floor();
    let order = whole.cmp(&(floor as i128));
    Some(if order == Ordering::Equal && float > floor { Ordering::Less } else { order })
}

/// Computes `left operator right` for two numbers.
///
/// # Errors
/// If the operation divides by zero, or the result has more than 128 bits.
pub fn arithmetic(operator: Arithmetic, left: Number, right: Number) -> Outcome<Value> {
    match (left, right) {
        (Number::Integer(a), Number::Integer(b)) => whole(operator, a, b),
        _ => Ok(Value::Float(floating(operator, left.as_f64(), right.as_f64())?)),
    }
}

fn whole(operator: Arithmetic, a: i128, b: i128) -> Outcome<Value> {
    let divides = matches!(operator, Arithmetic::Divide | Arithmetic::FloorDivide | Arithmetic::Modulo);
    if divides && b == 0 {
        refuse!("division by zero");
    }
    let result = match operator {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide => return Ok(Value::Float(quotient(a, b)?)),
        Arithmetic::FloorDivide => a.checked_div_euclid(b).map(|_| floor_divide(a, b)),
        Arithmetic::Modulo => a.checked_rem(b).map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }),
        Arithmetic::Power => return power(a, b),
    };
    match result {
        Some(value) => Ok(Value::Integer(value)),
        None => refuse!("a whole number of more than 128 bits, which this interpreter does not have"),
    }
}

fn floor_divide(a: i128, b: i128) -> i128 {
    let (quotient, rest) = (a / b, a % b);
    if rest != 0 && (rest < 0) != (b < 0) { quotient - 1 } else { quotient }
}

/// Divides two whole numbers. Refuses numbers that f64 may not hold exactly.
fn quotient(a: i128, b: i128) -> Outcome<f64> {
    const EXACT: u128 = 1 << 53;
    if a.unsigned_abs() <= EXACT && b.unsigned_abs() <= EXACT {
        return Ok(a as f64 / b as f64);
    }
    refuse!("the division of whole numbers of more than 53 bits is not supported")
}

fn power(base: i128, exponent: i128) -> Outcome<Value> {
    if exponent < 0 {
        if base == 0 {
            refuse!("zero to a negative power");
        }
        return Ok(Value::Float((base as f64).powf(exponent as f64)));
    }
    let result = match (base, u32::try_from(exponent)) {
        (0 | 1, _) => Some(if exponent == 0 { 1 } else { base }),
        (-1, _) => Some(if exponent % 2 == 0 { 1 } else { -1 }),
        (_, Ok(exponent)) => base.checked_pow(exponent),
        (_, Err(_)) => None,
    };
    match result {
        Some(value) => Ok(Value::Integer(value)),
        None => refuse!("a power of more than 128 bits, which this interpreter does not have"),
    }
}

fn floating(operator: Arithmetic, a: f64, b: f64) -> Outcome<f64> {
    let divides = matches!(operator, Arithmetic::Divide | Arithmetic::FloorDivide | Arithmetic::Modulo);
    if divides && b == 0.0 {
        refuse!("division by zero");
    }
    Ok(match operator {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide => a / b,
        Arithmetic::FloorDivide => floor_and_rest(a, b).0,
        Arithmetic::Modulo => floor_and_rest(a, b).1,
        Arithmetic::Power => return float_power(a, b),
    })
}

/// Computes Python's divmod of floats. The remainder has the sign of `b`.
fn floor_and_rest(a: f64, b: f64) -> (f64, f64) {
    let mut rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest == 0.0 {
        rest = 0.0_f64.copysign(b);
    } else if (b < 0.0) != (rest < 0.0) {
        rest += b;
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return (0.0_f64.copysign(a / b), rest);
    }
    let floor = quotient.floor();
    (if quotient - floor > 0.5 { floor + 1.0 } else { floor }, rest)
}

fn float_power(a: f64, b: f64) -> Outcome<f64> {
    if a == 0.0 && b < 0.0 {
        refuse!("zero to a negative power");
    }
    if a < 0.0 && a.is_finite() && b.is_finite() && b.fract() != 0.0 {
        refuse!("a power of a negative number that is no whole one: complex numbers are not supported");
    }
    let result = a.powf(b);
    if result.is_infinite() && a.is_finite() && b.is_finite() {
        refuse!("a power that is beyond f64");
    }
    Ok(result)
}

/// Writes a float as Python's `repr` does: with the fewest digits that give the same float back.
pub fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let text = format!("{value}");
        return if text.contains('.') { text } else { text + ".0" };
    }
    format!("{digits}e{}", exponent_text(exponent))
}

/// Writes an exponent as C does: a sign and at least two digits.
pub fn exponent_text(exponent: i32) -> String {
    format!("{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs())
}

/// Rounds `value` to `places` decimal places like Python's `round`. Halves go to even, as far as f64 holds them exactly.
pub fn rounded(value: f64, places: i128) -> f64 {
    if !value.is_finite() || places > 330 {
        return value;
    }
    if places < -330 {
        return 0.0_f64.copysign(value);
    }
    if places >= 0 {
        return format!("{value:.*}", places as usize).parse().unwrap_or(value);
    }
    let unit = 10_f64.powi(places.unsigned_abs() as i32);
    (value / unit).round_ties_even() * unit
}

/// Rounds `value` to a multiple of 10^`-places`. Halves go to even.
pub fn rounded_whole(value: i128, places: i128) -> i128 {
    let unit = u32::try_from(places.unsigned_abs()).ok().and_then(|power| 10_i128.checked_pow(power));
    let Some(unit) = unit else { return 0 };
    let down = value.rem_euclid(unit);
    let floor = value.saturating_sub(down);
    let is_up = down > unit - down || (down == unit - down && (floor / unit) % 2 != 0);
    if is_up { floor.saturating_add(unit) } else { floor }
}

/// Returns a number's text without the white space around it and the underscores within. Returns `None` if an underscore is misplaced, a
/// digit is not ASCII, or nothing is left.
fn plain_digits(text: &str) -> Option<String> {
    let trimmed = text.trim_matches(is_space);
    let mut out = String::with_capacity(trimmed.len());
    let mut previous = '_';
    for character in trimmed.chars() {
        if character == '_' && !previous.is_ascii_alphanumeric() {
            return None;
        }
        match character {
            '_' => {}
            c if !c.is_ascii() && is_decimal(c) => return None,
            c => {
                if previous == '_' && !out.is_empty() && !c.is_ascii_alphanumeric() {
                    return None;
                }
                out.push(c);
            }
        }
        previous = character;
    }
    (previous != '_' && !out.is_empty()).then_some(out)
}

/// Computes `int(text, base)`. Returns `None` if Python finds no number.
///
/// # Errors
/// If the number has more than 128 bits, or digits beyond ASCII.
pub fn parsed_integer(text: &str, base: i128) -> Outcome<Option<i128>> {
    if !(base == 0 || (2..=36).contains(&base)) {
        return Ok(None);
    }
    if text.chars().any(|c| !c.is_ascii() && is_decimal(c)) {
        refuse!("a number in digits beyond ASCII, which is not supported");
    }
    let trimmed = text.trim_matches(is_space);
    let (sign, unsigned) = match trimmed.strip_prefix(['+', '-']) {
        Some(rest) => (if trimmed.starts_with('-') { -1 } else { 1 }, rest),
        None => (1, trimmed),
    };
    let lower = unsigned.to_ascii_lowercase();
    let prefixed =
        [("0x", 16), ("0o", 8), ("0b", 2)].into_iter().find(|(prefix, own)| (base == 0 || base == *own) && lower.starts_with(prefix));
    let (digits, base) = match prefixed {
        Some((prefix, own)) => (lower[prefix.len()..].strip_prefix('_').unwrap_or(&lower[prefix.len()..]), own),
        None if base == 0 && lower.starts_with('0') && lower.chars().any(|c| c != '0' && c != '_') => return Ok(None),
        None => (lower.as_str(), if base == 0 { 10 } else { base }),
    };
    let Some(plain) = plain_digits(digits).filter(|_| !digits.starts_with(is_space) && !digits.ends_with(is_space)) else {
        return Ok(None);
    };
    if !plain.chars().all(|c| c.is_digit(base as u32)) {
        return Ok(None);
    }
    match i128::from_str_radix(&plain, base as u32) {
        Ok(value) => Ok(Some(sign * value)),
        Err(_) => refuse!("a whole number of more than 128 bits, which this interpreter does not have"),
    }
}

/// Computes `float(text)`. Returns `None` if Python finds no number, or if a digit is not ASCII.
pub fn parsed_float(text: &str) -> Option<f64> {
    let plain = plain_digits(text)?;
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain).to_ascii_lowercase();
    let is_name = matches!(unsigned.as_str(), "inf" | "infinity" | "nan");
    let is_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | '+' | '-'));
    if is_name || is_number { plain.parse().ok() } else { None }
}

/// Returns the whole part of a float, as `int(value)` does. Returns `None` if it is not finite or has more than 128 bits.
pub fn truncated(value: f64) -> Option<i128> {
    (value.is_finite() && value.abs() < 1.7e38).then_some(value as i128)
}
