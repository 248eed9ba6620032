//! Filters of numbers.

use crate::chat_template::jinja::arguments::Arguments;
use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::interpreter::Interpreter;
use crate::chat_template::jinja::numbers::{Number, float_text, parsed_float, parsed_integer, rounded, rounded_whole, truncated};
use crate::chat_template::jinja::value::Value;

impl Interpreter<'_> {
    pub(super) fn number_filter(&mut self, name: &str, value: &Value, arguments: Arguments) -> Outcome<Value> {
        match name {
            "abs" => {
                arguments.none(name)?;
                match Number::of(value) {
                    Some(Number::Integer(whole)) => Ok(Value::Integer(whole.saturating_abs())),
                    Some(Number::Float(float)) => Ok(Value::Float(float.abs())),
                    None => Err(value.misused("where abs takes a number")),
                }
            }
            "float" => {
                let [default] = arguments.bind(name, ["default"])?;
                Ok(as_float(value)?.map_or_else(|| default.unwrap_or(Value::Float(0.0)), Value::Float))
            }
            "int" => as_integer(value, arguments),
            "round" => round(value, arguments),
            _ => self.file_size(value, arguments),
        }
    }

    fn file_size(&mut self, value: &Value, arguments: Arguments) -> Outcome<Value> {
        let [binary] = arguments.bind("filesizeformat", ["binary"])?;
        let is_binary = binary.is_some_and(|value| value.is_true());
        let Some(bytes) = as_float(value)? else { return Err(value.misused("where filesizeformat takes a number")) };
        self.made_text(size_text(bytes, is_binary)?)
    }
}

fn size_text(bytes: f64, is_binary: bool) -> Outcome<String> {
    let base: f64 = if is_binary { 1024.0 } else { 1000.0 };
    if bytes == 1.0 {
        return Ok("1 Byte".to_owned());
    }
    if bytes < base {
        let Some(whole) = truncated(bytes) else { refuse!("filesizeformat of {}", float_text(bytes)) };
        return Ok(format!("{whole} Bytes"));
    }
    let (mut unit, prefixes) = (base, ['k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y']);
    let mut prefix = 'k';
    for next in prefixes {
        unit *= base;
        prefix = next;
        if bytes < unit {
            break;
        }
    }
    let prefix = if is_binary { format!("{}i", prefix.to_ascii_uppercase()) } else { prefix.to_string() };
    if !bytes.is_finite() {
        refuse!("filesizeformat of {}", float_text(bytes));
    }
    Ok(format!("{:.1} {prefix}B", base * bytes / unit))
}

/// Computes `float(value)`. Returns `None` if Python finds no number.
fn as_float(value: &Value) -> Outcome<Option<f64>> {
    match (value, Number::of(value)) {
        (Value::Undefined(_), _) => Err(value.misused("")),
        (_, Some(number)) => Ok(Some(number.as_f64())),
        (_, None) => Ok(value.as_text().and_then(|text| parsed_float(text))),
    }
}

fn as_integer(value: &Value, arguments: Arguments) -> Outcome<Value> {
    let [default, base] = arguments.bind("int", ["default", "base"])?;
    let base = || base.map_or(Ok(10), |base| base.as_integer().ok_or_else(|| base.misused("as the base of int")));
    let whole = match (value.as_text(), value) {
        (Some(text), _) => parsed_integer(text, base()?)?,
        (None, Value::Float(float)) if float.is_infinite() => refuse!("int of a number that is infinite"),
        (None, Value::Float(float)) => truncated(*float),
        (None, other) => other.as_integer(),
    };
    if let Some(whole) = whole {
        return Ok(Value::Integer(whole));
    }
    // "42.9" is 42.
    let by_float = as_float(value)?;
    if by_float.is_some_and(|float| float.is_finite() && truncated(float).is_none()) {
        refuse!("a whole number of more than 128 bits, which this interpreter does not have");
    }
    Ok(by_float.and_then(truncated).map_or_else(|| default.unwrap_or(Value::Integer(0)), Value::Integer))
}

fn round(value: &Value, arguments: Arguments) -> Outcome<Value> {
    let [precision, method] = arguments.bind("round", ["precision", "method"])?;
    let method = method.unwrap_or_else(|| Value::text("common"));
    let method = method.as_text().map(|text| &**text);
    let places = match &precision {
        None => 0,
        Some(precision) => precision.as_integer().ok_or_else(|| precision.misused("as the precision of round"))?,
    };
    let Some(number) = Number::of(value) else { return Err(value.misused("where round takes a number")) };
    match (method, number) {
        (Some("common"), Number::Integer(whole)) => Ok(Value::Integer(if places >= 0 { whole } else { rounded_whole(whole, places) })),
        (Some("common"), Number::Float(float)) => Ok(Value::Float(rounded(float, places))),
        (Some("ceil" | "floor"), _) => {
            if !(-300..=300).contains(&places) {
                refuse!("round to {places} places");
            }
            let unit = 10_f64.powi(places as i32);
            let scaled = number.as_f64() * unit;
            let whole = if method == Some("ceil") { scaled.ceil() } else { scaled.floor() };
            if !whole.is_finite() {
                refuse!("round of a number that is not finite");
            }
            Ok(Value::Float(whole / unit))
        }
        _ => refuse!("the method of round is common, ceil or floor"),
    }
}
