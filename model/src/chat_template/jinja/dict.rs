//! Python's dict: entries in the order in which their keys were added, found by key.

use super::fault::{Fault, Outcome};
pub use super::types::{Dict, Key};
use super::value::{Value, deeper};
use indexmap::map::Entry;

/// The most items of a tuple that is a key. The limit bounds the time for its hash.
const LONGEST_KEY: usize = 32;

impl Dict {
    /// Makes the dict of `entries`. The last entry with a key counts.
    ///
    /// # Errors
    /// If a key is of a type that has no hash, or the dict has too many levels.
    pub fn new(entries: Vec<(Value, Value)>) -> Outcome<Self> {
        let mut dict = Self::default();
        for (key, value) in entries {
            dict.insert(key, value)?;
        }
        Ok(dict)
    }

    /// Sets the value of `key`.
    ///
    /// # Errors
    /// As [`Dict::new`].
    pub fn insert(&mut self, key: Value, value: Value) -> Outcome<()> {
        let hashed = hashed(&key)?;
        self.depth = self.depth.max(deeper([&key, &value].into_iter())?);
        match self.entries.entry(hashed) {
            Entry::Occupied(mut entry) => entry.get_mut().1 = value,
            Entry::Vacant(entry) => {
                entry.insert((key, value));
            }
        }
        Ok(())
    }

    /// Returns the value of `key`; `None` if the key is missing or has no hash.
    pub fn get(&self, key: &Value) -> Option<&Value> {
        Some(&self.entries.get(&hashed(key).ok()?)?.1)
    }

    /// Returns the entry at index `place`.
    pub fn entry(&self, place: usize) -> Option<(&Value, &Value)> {
        self.entries.get_index(place).map(|(_, (key, value))| (key, value))
    }

    /// Iterates over the keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (&Value, &Value)> {
        self.entries.values().map(|(key, value)| (key, value))
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the number of levels of values within the dict, at least one.
    pub fn depth(&self) -> u32 {
        self.depth.max(1)
    }
}

/// Converts a value to a key.
///
/// # Errors
/// If its type has no hash.
pub fn hashed(value: &Value) -> Outcome<Key> {
    Ok(match value {
        Value::None => Key::None,
        Value::Undefined(_) => Key::Undefined,
        Value::Bool(value) => Key::Integer(i128::from(*value)),
        Value::Integer(value) => Key::Integer(*value),
        Value::Float(value) if value.fract() == 0.0 && value.abs() < 1e38 => Key::Integer(*value as i128),
        Value::Float(value) => Key::Float(value.to_bits()),
        Value::Text(text) | Value::Markup(text) => Key::Text(text.clone()),
        Value::Tuple(items) if value.depth() > 3 || items.values.len() > LONGEST_KEY => {
            return Err(Fault::new(format!(
                "a tuple of more than {LONGEST_KEY} items, or of more than 3 levels, as a key is not supported"
            )));
        }
        Value::Tuple(items) => Key::Tuple(items.values.iter().map(hashed).collect::<Outcome<_>>()?),
        Value::Namespace(place) => Key::Object(*place),
        other => return Err(Fault::new(format!("unhashable type: {:?}", other.type_name()))),
    })
}
