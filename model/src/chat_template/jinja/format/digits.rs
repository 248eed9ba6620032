//! The digits of numbers, as C and Python write them.

use crate::chat_template::jinja::fault::Outcome;
use crate::chat_template::jinja::limits;
use crate::chat_template::jinja::numbers::exponent_text;

/// Decimal places after which every f64 has only zeros. The smallest f64 has 1074 places.
const LAST_PLACE: usize = 1100;

/// Writes the absolute value of a number with `places` decimal places.
pub fn fixed(value: f64, places: usize) -> Outcome<String> {
    limits::check_text(places as u128)?;
    if !value.is_finite() {
        return Ok(not_finite(value));
    }
    let near = places.min(LAST_PLACE);
    Ok(format!("{:.*}", near, value.abs()) + &"0".repeat(places - near))
}

/// Writes the absolute value of a number with an exponent and `places` decimal places.
pub fn scientific(value: f64, places: usize) -> Outcome<String> {
    limits::check_text(places as u128)?;
    if !value.is_finite() {
        return Ok(not_finite(value));
    }
    let near = places.min(LAST_PLACE);
    let text = format!("{:.*e}", near, value.abs());
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let zeros = "0".repeat(places - near);
    Ok(format!("{digits}{zeros}e{}", exponent_text(exponent.parse().unwrap_or_default())))
}

/// Writes the absolute value of a number with `precision` digits. An exponent is used below 10⁻⁴ or with more than `longest` digits before
/// the point. Zeros at the end are dropped unless `keeps_zeros` is true.
pub fn general(value: f64, precision: usize, longest: i32, keeps_zeros: bool) -> Outcome<String> {
    let precision = precision.max(1);
    let text = scientific(value, precision - 1)?;
    let Some((digits, exponent)) = text.split_once('e') else { return Ok(text) };
    let power: i32 = exponent.parse().unwrap_or_default();
    let without_zeros = |text: &str| match text.contains('.') && !keeps_zeros {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if power < -4 || power >= longest {
        return Ok(format!("{}e{}", without_zeros(digits), exponent_text(power)));
    }
    let places = (precision as i64 - 1 - i64::from(power)).max(0);
    Ok(without_zeros(&fixed(value, places as usize)?))
}

fn not_finite(value: f64) -> String {
    if value.is_nan() { "nan" } else { "inf" }.to_owned()
}

/// Writes the absolute value of a whole number in the radix of `kind`.
pub fn whole(value: i128, kind: char) -> String {
    let value = value.unsigned_abs();
    match kind {
        'b' => format!("{value:b}"),
        'o' => format!("{value:o}"),
        'x' => format!("{value:x}"),
        'X' => format!("{value:X}"),
        _ => value.to_string(),
    }
}
