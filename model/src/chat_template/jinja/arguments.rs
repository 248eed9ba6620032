//! What a function, a method or a filter is called with.

use super::fault::{Outcome, refuse};
pub use super::types::Arguments;
use super::value::Value;
use std::sync::Arc;

impl Arguments {
    /// Positional arguments alone.
    pub fn of(positional: Vec<Value>) -> Self {
        Self { positional, named: Vec::new() }
    }

    /// The values of the parameters `names` of `function`, in their order.
    ///
    /// # Errors
    /// Where there are more arguments than parameters, a name is none of theirs, or a parameter is given twice.
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

    /// As [`Arguments::bind`], for parameters without names.
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
    /// Where there is one.
    pub fn none(self, function: &str) -> Outcome<()> {
        self.positional::<0>(function).map(|_| ())
    }
}

/// The whole number of an argument.
///
/// # Errors
/// Where it is none.
pub fn integer(value: &Value, function: &str) -> Outcome<i128> {
    value.as_integer().ok_or_else(|| value.misused(&format!("where {function} takes a whole number")))
}

/// A switch that Python takes as a whole number; off where it is missing.
///
/// # Errors
/// Where it is none.
pub fn switch(value: Option<Value>, function: &str) -> Outcome<bool> {
    value.map_or(Ok(false), |value| Ok(integer(&value, function)? != 0))
}

/// The text of an argument.
///
/// # Errors
/// Where it is none.
pub fn text<'v>(value: &'v Value, function: &str) -> Outcome<&'v Arc<str>> {
    value.as_text().ok_or_else(|| value.misused(&format!("where {function} takes a text")))
}

/// The argument that `function` cannot do without.
///
/// # Errors
/// Where it is missing.
pub fn required(value: Option<Value>, function: &str) -> Outcome<Value> {
    match value {
        Some(value) => Ok(value),
        None => refuse!("{function} lacks an argument"),
    }
}
