//! The arguments of a function, a method or a filter.

use super::fault::{Outcome, refuse};
pub use super::types::Arguments;
use super::value::Value;
use std::sync::Arc;

impl Arguments {
    /// Makes arguments that are all positional.
    pub fn of(positional: Vec<Value>) -> Self {
        Self { positional, named: Vec::new() }
    }

    /// Returns the values of the parameters `names` of `function`, in the order of `names`.
    ///
    /// # Errors
    /// If there are more arguments than parameters, an argument's name is not in `names`, or a parameter is given twice.
    pub fn bind<const N: usize>(self, function: &str, names: [&str; N]) -> Outcome<[Option<Value>; N]> {
        if self.positional.len() > N {
            refuse!("{function} takes {N} arguments at most, and was given {}", self.positional.len());
        }
        let mut values = [const { None }; N];
        for (place, value) in values.iter_mut().zip(self.positional) {
            *place = Some(value);
        }
        for (name, value) in self.named {
            match names.iter().position(|own| **own == *name) {
                Some(place) if values[place].is_none() => values[place] = Some(value),
                Some(_) => refuse!("{function} was given {name} twice"),
                None => refuse!("{function} has no argument called {name}"),
            }
        }
        Ok(values)
    }

    /// Like [`Arguments::bind`], for parameters without names.
    ///
    /// # Errors
    /// As [`Arguments::bind`].
    pub fn positional<const N: usize>(self, function: &str) -> Outcome<[Option<Value>; N]> {
        if let Some((name, _)) = self.named.first() {
            refuse!("{function} takes no argument called {name}");
        }
        self.bind(function, [""; N])
    }

    /// Refuses any argument.
    ///
    /// # Errors
    /// If there is an argument.
    pub fn none(self, function: &str) -> Outcome<()> {
        self.positional::<0>(function).map(|_| ())
    }
}

/// Returns the whole number in an argument.
///
/// # Errors
/// If the argument is not a whole number.
pub fn integer(value: &Value, function: &str) -> Outcome<i128> {
    value.as_integer().ok_or_else(|| value.misused(&format!("where {function} takes a whole number")))
}

/// Reads a switch, which Python takes as a whole number. A missing switch is off.
///
/// # Errors
/// If the argument is not a whole number.
pub fn switch(value: Option<Value>, function: &str) -> Outcome<bool> {
    value.map_or(Ok(false), |value| Ok(integer(&value, function)? != 0))
}

/// Returns the text in an argument.
///
/// # Errors
/// If the argument is not a text.
pub fn text<'v>(value: &'v Value, function: &str) -> Outcome<&'v Arc<str>> {
    value.as_text().ok_or_else(|| value.misused(&format!("where {function} takes a text")))
}

/// Returns an argument that `function` requires.
///
/// # Errors
/// If the argument is missing.
pub fn required(value: Option<Value>, function: &str) -> Outcome<Value> {
    match value {
        Some(value) => Ok(value),
        None => refuse!("{function} lacks an argument"),
    }
}
