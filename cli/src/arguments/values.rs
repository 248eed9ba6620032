//! Types and ranges of values on the command line.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use losses::{Loss, PRESETS, Preset};
use std::convert::Infallible;
use std::ffi::OsStr;
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

/// Parses a whole number in a range. `1e4` is a whole number too.
pub fn integer<T>(range: RangeInclusive<u64>) -> impl TypedValueParser<Value = T>
where
    T: TryFrom<u64> + Clone + Send + Sync + 'static,
{
    move |text: &str| -> Result<T, String> {
        let number = whole(text.trim())?;
        if number < *range.start() {
            return Err(format!("must be at least {}", range.start()));
        }
        let too_large = || format!("must be at most {}", range.end());
        let fits = (number <= *range.end()).then(|| T::try_from(number).ok()).flatten();
        fits.ok_or_else(too_large)
    }
}

/// Below this number, f64 represents every whole number.
const WHOLE_IN_F64: f64 = 9_007_199_254_740_992.0;

fn whole(text: &str) -> Result<u64, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match text.parse::<f64>() {
        Ok(number) if number.fract() != 0.0 => Err("must be a whole number".to_owned()),
        Ok(number) if number < 0.0 => Err("must be at least 0".to_owned()),
        Ok(number) if number <= WHOLE_IN_F64 => Ok(number as u64),
        Ok(_) => Err(format!("must be at most {}", u64::MAX)),
        Err(_) => Err("not a whole number".to_owned()),
    }
}

/// Parses a count: 1 or more.
pub fn count<T>() -> impl TypedValueParser<Value = T>
where
    T: TryFrom<u64> + Clone + Send + Sync + 'static,
{
    integer(1..=u32::MAX.into())
}

/// Parses a number that f32 can hold.
pub fn number(text: &str) -> Result<f64, String> {
    real(text, |_| true, "a number")
}

/// Parses a number above 0 that f32 can hold.
pub fn positive(text: &str) -> Result<f64, String> {
    real(text, |x| x > 0.0, "above 0")
}

/// Parses a number of at least 0 that f32 can hold.
pub fn non_negative(text: &str) -> Result<f64, String> {
    real(text, |x| x >= 0.0, "at least 0")
}

/// Parses a number in [0, 1).
pub fn below_one(text: &str) -> Result<f64, String> {
    real(text, |x| (0.0..1.0).contains(&x) && (x as f32) < 1.0, "at least 0 and below 1")
}

/// Parses a number in (0, 1].
pub fn share(text: &str) -> Result<f64, String> {
    real(text, |x| x > 0.0 && x <= 1.0, "above 0 and at most 1")
}

/// Parses a number in [0, 1].
pub fn fraction(text: &str) -> Result<f64, String> {
    real(text, |x| (0.0..=1.0).contains(&x), "from 0 to 1")
}

/// Parses a number that `fits`. Numbers too large or too close to 0 for f32 are refused, because everything is computed in f32.
fn real(text: &str, fits: impl Fn(f64) -> bool, range: &str) -> Result<f64, String> {
    let number: f64 = text.trim().parse().map_err(|_| "not a number".to_owned())?;
    if number.is_nan() || !fits(number) {
        return Err(format!("must be {range}"));
    }
    if number.abs() > f64::from(f32::MAX) {
        return Err(format!("must be at most {:.1e}: f32 holds no larger number", f32::MAX));
    }
    if number != 0.0 && number.abs() < f64::from(f32::MIN_POSITIVE) {
        return Err(format!("must be at least {:.1e}, or 0 where that is allowed: f32 holds no smaller number", f32::MIN_POSITIVE));
    }
    Ok(number)
}

/// Parses the name or an alias of a loss, as [`Loss`] reads it. Returns its [`Loss::name`].
pub fn loss() -> impl TypedValueParser<Value = String> {
    LossName
}

#[derive(Clone)]
struct LossName;

impl TypedValueParser for LossName {
    type Value = String;

    fn parse_ref(&self, command: &clap::Command, argument: Option<&clap::Arg>, value: &OsStr) -> Result<String, clap::Error> {
        let read = value.to_str().and_then(|name| name.parse::<Loss>().ok());
        read.map_or_else(|| known_losses().parse_ref(command, argument, value), |loss| Ok(loss.name().to_owned()))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(losses_with_aliases()))
    }
}

fn losses_with_aliases() -> impl Iterator<Item = PossibleValue> {
    Loss::ALL.into_iter().map(|loss| PossibleValue::new(loss.name()).aliases(loss.aliases().iter().copied()))
}

/// Refuses a name with the list of those that are known.
fn known_losses() -> PossibleValuesParser {
    PossibleValuesParser::new(losses_with_aliases().collect::<Vec<_>>())
}

/// Parses names of losses with commas between them.
pub fn losses() -> impl TypedValueParser<Value = String> {
    LossNames
}

#[derive(Clone)]
struct LossNames;

impl TypedValueParser for LossNames {
    type Value = String;

    fn parse_ref(&self, command: &clap::Command, argument: Option<&clap::Arg>, value: &OsStr) -> Result<String, clap::Error> {
        if let Some(preset) = value.to_str().and_then(Preset::named) {
            return Ok(preset.name.to_owned());
        }
        let Some(text) = value.to_str().filter(|text| text.contains(',')) else { return loss().parse_ref(command, argument, value) };
        let names = text.split(',').map(|name| loss().parse_ref(command, argument, OsStr::new(name.trim())));
        Ok(names.collect::<Result<Vec<String>, _>>()?.join(","))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let names = Loss::ALL.into_iter().map(Loss::name).chain(PRESETS.iter().map(|preset| preset.name));
        Some(Box::new(names.map(PossibleValue::new)))
    }
}

/// Parses the name of a preset.
pub fn preset() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(model::config::preset::PRESETS.map(|preset| preset.name)).map(|name| name.to_lowercase())
}

/// Parses a text in which `\n`, `\t` and `\\` are escapes.
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
