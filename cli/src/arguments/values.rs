//! Types and ranges of values on the command line.

use clap::builder::TypedValueParser;
use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Token ids, separated by commas; an empty text is an empty list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenList(pub Vec<u32>);

impl FromStr for TokenList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self(Vec::new()));
        }
        let token = |part: &str| part.trim().parse().map_err(|_| format!("{part:?} is no token id: give numbers like 1,403,407"));
        text.split(',').map(token).collect::<Result<_, _>>().map(Self)
    }
}

/// A whole number in a range.
pub fn integer<T>(range: RangeInclusive<u64>) -> impl TypedValueParser<Value = T>
where
    T: TryFrom<u64> + Clone + Send + Sync + 'static,
    T::Error: Send + Sync + std::error::Error + 'static,
{
    clap::builder::RangedU64ValueParser::<T>::new().range(range)
}

/// A count: 1 or more.
pub fn count<T>() -> impl TypedValueParser<Value = T>
where
    T: TryFrom<u64> + Clone + Send + Sync + 'static,
    T::Error: Send + Sync + std::error::Error + 'static,
{
    integer(1..=u32::MAX.into())
}

/// A finite number above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    real(text, |x| x > 0.0, "above 0")
}

/// A finite number of at least 0.
pub fn non_negative(text: &str) -> Result<f64, String> {
    real(text, |x| x >= 0.0, "at least 0")
}

/// A number in [0, 1).
pub fn below_one(text: &str) -> Result<f64, String> {
    real(text, |x| (0.0..1.0).contains(&x), "at least 0 and below 1")
}

/// A number in [0, 1/2).
pub fn below_half(text: &str) -> Result<f64, String> {
    real(text, |x| (0.0..0.5).contains(&x), "at least 0 and below 0.5")
}

/// A number in [0, 1].
pub fn unit(text: &str) -> Result<f64, String> {
    real(text, |x| (0.0..=1.0).contains(&x), "between 0 and 1")
}

/// A number in (0, 1].
pub fn share(text: &str) -> Result<f64, String> {
    real(text, |x| x > 0.0 && x <= 1.0, "above 0 and at most 1")
}

/// A number in [0, 1].
pub fn fraction(text: &str) -> Result<f64, String> {
    real(text, |x| (0.0..=1.0).contains(&x), "from 0 to 1")
}

fn real(text: &str, fits: impl Fn(f64) -> bool, range: &str) -> Result<f64, String> {
    let number: f64 = text.trim().parse().map_err(|_| "not a number".to_owned())?;
    if number.is_finite() && fits(number) { Ok(number) } else { Err(format!("must be {range}")) }
}

/// One of the presets' names.
pub fn preset() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(model::config::preset::PRESETS.map(|preset| preset.name))
}

/// A text in which `\n`, `\t` and `\\` are escapes.
pub fn escaped(text: &str) -> Result<String, Infallible> {
    let (mut out, mut characters) = (String::new(), text.chars());
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, true) => match characters.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('\\') | None => out.push('\\'),
                Some(other) => out.extend(['\\', other]),
            },
            (plain, false) => out.push(plain),
        }
    }
    Ok(out)
}
