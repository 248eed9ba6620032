//! Typed access to the keys of a `config.json`, with messages that name the key.

use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// The keys of one JSON object. A key whose value is `null` counts as missing.
pub struct Keys<'a>(pub &'a Map<String, Value>);

impl<'a> Keys<'a> {
    pub fn new(map: &'a Map<String, Value>) -> Self {
        Self(map)
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn typed<T>(&self, key: &str, what: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let wrong = || Error::bad_config(format!("{key} must be {what}, not {value}"));
        read(value).map(Some).ok_or_else(wrong)
    }

    /// A whole number from 0, where the key is there.
    pub fn size(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a whole number", |value| usize::try_from(value.as_u64()?).ok())
    }

    /// A whole number from 0 that must be there.
    pub fn required_size(&self, key: &str) -> Result<usize> {
        self.size(key)?.ok_or_else(|| Error::bad_config(format!("{key} is missing")))
    }

    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", Value::as_f64)
    }

    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.typed(key, "a string", Value::as_str)
    }

    pub fn object(&self, key: &str) -> Result<Option<&'a Map<String, Value>>> {
        self.typed(key, "an object", Value::as_object)
    }

    /// One token id, or a list of them; an id of −1 means none.
    pub fn token_ids(&self, key: &str) -> Result<Vec<u32>> {
        let one = |value: &Value| match value.as_i64()? {
            -1 => Some(None),
            id => u32::try_from(id).ok().map(Some),
        };
        let ids = self.typed(key, "a token id or a list of them", |value| match value {
            Value::Array(list) => list.iter().map(one).collect::<Option<Vec<_>>>(),
            single => Some(vec![one(single)?]),
        })?;
        Ok(ids.unwrap_or_default().into_iter().flatten().collect())
    }

    /// Whether the file has the key at all, `null` included.
    pub fn mentions(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// An error where `key` has a value.
    pub fn refuse_present(&self, key: &str, supported: &str) -> Result<()> {
        match self.get(key) {
            Some(_) => Err(unsupported(key, supported)),
            None => Ok(()),
        }
    }

    /// An error where the flag `key` has the value that this program cannot compute.
    pub fn refuse_flag(&self, key: &str, refused: bool) -> Result<()> {
        if self.flag(key)? == Some(refused) {
            return Err(unsupported(format!("{key} {refused}"), &format!("{}", !refused)));
        }
        Ok(())
    }
}

/// An [`Error::Unsupported`] with no file yet.
pub fn unsupported(what: impl Into<String>, supported: &str) -> Error {
    Error::Unsupported { path: None, what: what.into(), supported: supported.to_owned() }
}
