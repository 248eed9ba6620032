//! Methods of `str` that widen a text.

use crate::chat_template::jinja::arguments::{Arguments, integer, required, text as text_argument};
use crate::chat_template::jinja::fault::{Outcome, refuse};
use crate::chat_template::jinja::limits;
use crate::chat_template::jinja::value::Value;

/// Applies the method `name`, one of those that pad.
pub fn padded(text: &str, name: &str, arguments: Arguments) -> Outcome<String> {
    match name {
        "expandtabs" => {
            let [size] = arguments.bind(name, ["tabsize"])?;
            return with_spaces(text, size.map_or(Ok(8), |size| integer(&size, name))?);
        }
        "zfill" => {
            let [width] = arguments.positional(name)?;
            return filled(text, integer(&required(width, name)?, name)?);
        }
        _ => {}
    }
    let [width, fill] = arguments.positional(name)?;
    let width = integer(&required(width, name)?, name)?;
    let fill = fill_character(fill, name)?;
    let missing = missing(text, width, fill.len_utf8())?;
    let left = match name {
        "ljust" => 0,
        "rjust" => missing,
        // Python puts the odd character to the left if the width is odd.
        _ => missing / 2 + (missing as i128 & width & 1) as usize,
    };
    let pad = |count: usize| std::iter::repeat_n(fill, count);
    Ok(pad(left).chain(text.chars()).chain(pad(missing - left)).collect())
}

fn fill_character(fill: Option<Value>, name: &str) -> Outcome<char> {
    let Some(fill) = fill else { return Ok(' ') };
    let mut characters = text_argument(&fill, name)?.chars();
    match (characters.next(), characters.next()) {
        (Some(only), None) => Ok(only),
        _ => refuse!("{name} takes one character to fill with"),
    }
}

/// Returns how many characters are missing to `width`, each of `bytes` bytes.
fn missing(text: &str, width: i128, bytes: usize) -> Outcome<usize> {
    let missing = width.saturating_sub(text.chars().count() as i128).max(0);
    limits::check_text((missing as u128).saturating_mul(bytes as u128).saturating_add(text.len() as u128))?;
    Ok(missing as usize)
}

fn filled(text: &str, width: i128) -> Outcome<String> {
    let missing = missing(text, width, 1)?;
    let sign = usize::from(text.starts_with(['+', '-']));
    Ok(format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..]))
}

fn with_spaces(text: &str, size: i128) -> Outcome<String> {
    let (mut out, mut column) = (String::with_capacity(text.len()), 0_i128);
    for character in text.chars() {
        match character {
            '\t' if size > 0 => {
                let spaces = size - column % size;
                limits::check_text(out.len() as u128 + spaces as u128)?;
                out.push_str(&" ".repeat(spaces as usize));
                column += spaces;
            }
            '\t' => {}
            '\n' | '\r' => {
                out.push(character);
                column = 0;
            }
            _ => {
                out.push(character);
                column += 1;
            }
        }
    }
    Ok(out)
}
