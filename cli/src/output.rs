//! What a command prints: text for a person, or one JSON object for a program.

use crate::failure::Failure;
use crate::terminal::{self, Shown};
use serde::{Serialize, Serializer};
use std::io::{self, IsTerminal, Write};

/// The form in which a command prints its results on standard output.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    raw: bool,
}

impl Output {
    /// Prints JSON, or text in which every control character is shown instead of obeyed.
    pub fn new(json: bool) -> Self {
        Self { json, raw: false }
    }

    /// As [`Output::new`], for text that a model writes. On a terminal, control characters are shown unless `raw` asks for the bytes. A
    /// file or another program always gets the bytes.
    pub fn of_model(json: bool, raw: bool) -> Self {
        Self { json, raw: raw || !io::stdout().is_terminal() }
    }

    /// Prints a result: `value` as one line of JSON, or the text that `human` writes.
    ///
    /// # Errors
    /// [`Failure::Output`] if standard output cannot be written.
    pub fn result(self, value: &impl Serialize, human: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        let raw = self.raw;
        self.print(value, |out| if raw { human(out) } else { human(&mut Shown::new(out)) })
    }

    /// As [`Output::result`], for text with this program's colours (see [`Shown::painted`]).
    ///
    /// # Errors
    /// As [`Output::result`].
    pub fn painted(self, value: &impl Serialize, human: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        self.print(value, |out| human(&mut Shown::painted(out)))
    }

    fn print(self, value: &impl Serialize, human: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.json {
            serde_json::to_writer(&mut out, value).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        } else {
            human(&mut out)?;
        }
        Ok(out.flush()?)
    }

    /// Prints a piece of text at once, for a person who reads along. Prints nothing if the output is JSON.
    ///
    /// # Errors
    /// [`Failure::Output`] if standard output cannot be written.
    pub fn stream(self, text: &str) -> Result<(), Failure> {
        if self.json || text.is_empty() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        match self.raw {
            true => out.write_all(text.as_bytes())?,
            false => out.write_all(terminal::shown(text).as_bytes())?,
        }
        Ok(out.flush()?)
    }
}

/// A number in JSON. A number that is not finite becomes `"NaN"`, `"inf"` or `"-inf"`, because JSON has no such numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(pub f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() { serializer.serialize_f64(self.0) } else { serializer.collect_str(&self.0) }
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self(value)
    }
}

/// A list of numbers in JSON.
pub fn numbers(values: &[f64]) -> Vec<Number> {
    values.iter().copied().map(Number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_does_not_have_are_strings() {
        let text = serde_json::to_string(&numbers(&[1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY])).unwrap();
        assert_eq!(text, r#"[1.5,"NaN","inf","-inf"]"#);
    }
}
