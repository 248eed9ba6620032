//! The keys of a JSON object from a file: typed access, and an account of every key. It serves the readers of configurations.
//!
//! A reader opens an object with [`Keys::read`], asks for the keys that it computes with, and names lists of [`Known`] keys. It may also
//! open objects inside. When it is done, each key of an opened object is one of four:
//!
//! 1. read: the reader asked for it;
//! 2. harmless: a list says that it does not change what is computed;
//! 3. not implemented: a list says that it changes what is computed, and which values leave the computation unchanged;
//! 4. unknown.
//!
//! The [`Account`] holds keys of the third kind whose value changes the computation, and keys of the fourth kind. A key whose value is
//! `null` counts as missing.

use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

/// Keys that a reader knows without computing with them.
#[derive(Debug)]
pub struct Known {
    /// Keys that do not change what is computed. A name that ends in `*` stands for all keys that begin so.
    pub harmless: &'static [&'static str],
    /// Keys of features that are not implemented, each with the values that leave the computation unchanged.
    pub neutral: &'static [(&'static str, &'static [Neutral])],
}

/// A value that leaves the computation unchanged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Neutral {
    /// True or false.
    Flag(bool),
    /// A number.
    Number(f64),
    /// A string.
    Text(&'static str),
    /// An empty string, list or object.
    Empty,
    /// A list of any length that holds this string and nothing else.
    All(&'static str),
}

impl Neutral {
    fn is(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Flag(flag), Value::Bool(value)) => flag == *value,
            (Self::Number(number), Value::Number(value)) => value.as_f64() == Some(number),
            (Self::Text(text), Value::String(value)) => text == value,
            (Self::Empty, Value::String(value)) => value.is_empty(),
            (Self::Empty, Value::Array(list)) => list.is_empty(),
            (Self::Empty, Value::Object(map)) => map.is_empty(),
            (Self::All(text), Value::Array(list)) => list.iter().all(|value| value == text),
            _ => false,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => format!("{text:?}"),
            Self::Empty => "none".to_owned(),
            Self::All(text) => format!("{text:?} throughout"),
        }
    }
}

/// The part of a file that a reader did not use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Account {
    /// Keys that no list names, as `key` or `object.key`.
    pub unknown: Vec<String>,
    /// Keys of features that are not implemented, with their values and the values that would be accepted.
    pub unsupported: Vec<Unsupported>,
}

/// A key of a feature that is not implemented.
#[derive(Debug, Clone, PartialEq)]
pub struct Unsupported {
    /// The key, as `key` or `object.key`.
    pub key: String,
    /// Its value, shortened.
    pub value: String,
    /// The values that leave the computation unchanged.
    pub supported: String,
}

impl Account {
    /// Returns one sentence that names the unknown keys, if there are any.
    ///
    /// # Errors
    /// [`Error::Unsupported`] naming the first key of a feature that is not implemented.
    pub fn remarks(self) -> Result<Vec<String>> {
        match self.unsupported.into_iter().next() {
            Some(first) => Err(unsupported(format!("{} {}", first.key, first.value), &first.supported)),
            None => Ok(unknown_remark(&self.unknown).into_iter().collect()),
        }
    }
}

/// Returns the sentence about unknown keys.
pub fn unknown_remark(names: &[String]) -> Option<String> {
    let (keys, them) = if names.len() == 1 { ("key", "it") } else { ("keys", "one of them") };
    (!names.is_empty())
        .then(|| format!("unknown {keys} ignored: {}; if {them} changes what is computed, the results differ", names.join(", ")))
}

/// Makes an [`Error::Unsupported`] without a file.
pub fn unsupported(what: impl Into<String>, supported: &str) -> Error {
    Error::Unsupported { path: None, what: what.into(), supported: supported.to_owned() }
}

/// Takes the map out of a `json!({...})`.
pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Writes a value for a message: on one line, and shortened.
pub fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= LONGEST { text } else { text.chars().take(LONGEST).chain(['…']).collect() }
}

/// The keys of one JSON object, during its reading.
pub struct Keys<'a> {
    map: &'a Map<String, Value>,
    /// The text before a key's name in messages: the names of the objects around this one.
    prefix: String,
    asked: RefCell<BTreeSet<&'a str>>,
    known: RefCell<Vec<&'static Known>>,
    account: Rc<RefCell<Account>>,
}

impl<'a> Keys<'a> {
    /// Runs `read` on an object. Returns its result and the account of the object's keys.
    ///
    /// # Errors
    /// The errors of `read`.
    pub fn read<T>(map: &'a Map<String, Value>, read: impl FnOnce(&Keys<'a>) -> Result<T>) -> Result<(T, Account)> {
        Self::read_within(map, String::new(), read)
    }

    /// Like [`Keys::read`]. In messages, `prefix` stands before the name of each key.
    ///
    /// # Errors
    /// The errors of `read`.
    pub fn read_within<T>(map: &'a Map<String, Value>, prefix: String, read: impl FnOnce(&Keys<'a>) -> Result<T>) -> Result<(T, Account)> {
        let account = Rc::default();
        let value = Self::opened(map, prefix, &account, read)?;
        let account = account.take();
        Ok((value, account))
    }

    fn opened<T>(
        map: &'a Map<String, Value>,
        prefix: String,
        account: &Rc<RefCell<Account>>,
        read: impl FnOnce(&Keys<'a>) -> Result<T>,
    ) -> Result<T> {
        let keys = Self { map, prefix, asked: RefCell::default(), known: RefCell::default(), account: account.clone() };
        let value = read(&keys)?;
        keys.close();
        Ok(value)
    }

    /// Adds a list of keys that the reader does not ask for.
    pub fn know(&self, known: &'static Known) {
        self.known.borrow_mut().push(known);
    }

    /// Adds the keys that the reader did not ask for to the account.
    fn close(self) {
        let (asked, known) = (self.asked.borrow(), self.known.borrow());
        let mut account = self.account.borrow_mut();
        for (key, value) in self.map.iter().filter(|(key, value)| !value.is_null() && !asked.contains(key.as_str())) {
            let name = self.name(key);
            let neutral = known.iter().flat_map(|known| known.neutral).find(|(neutral, _)| is_listed(&[neutral], key));
            match neutral {
                Some((_, neutral)) if neutral.iter().any(|neutral| neutral.is(value)) => {}
                Some((_, neutral)) => account.unsupported.push(Unsupported { key: name, value: shown(value), supported: names(neutral) }),
                None if known.iter().any(|known| is_listed(known.harmless, key)) => {}
                None => account.unknown.push(name),
            }
        }
    }

    /// Returns a key's name for messages. It comes from a file, so characters that would control a terminal are escaped.
    pub fn name(&self, key: &str) -> String {
        format!("{}{}", self.prefix, key.escape_debug())
    }

    /// Returns the value of `key` unchanged.
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        let (key, value) = self.map.get_key_value(key)?;
        self.asked.borrow_mut().insert(key);
        Some(value).filter(|value| !value.is_null())
    }

    /// Returns the value of `key`, converted by `read`. `what` says what the value should be.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the key, if `read` returns `None`.
    pub fn typed<T>(&self, key: &str, what: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let wrong = || Error::bad_config(format!("{} must be {what}, not {}", self.name(key), shown(value)));
        read(value).map(Some).ok_or_else(wrong)
    }

    /// Returns a whole number from 0, if the key is present.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the key.
    pub fn size(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a whole number", |value| usize::try_from(value.as_u64()?).ok())
    }

    /// Returns a whole number from 0. The key must be present.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the key.
    pub fn required_size(&self, key: &str) -> Result<usize> {
        self.size(key)?.ok_or_else(|| self.missing(key))
    }

    /// Makes the error for a missing key.
    pub fn missing(&self, key: &str) -> Error {
        Error::bad_config(format!("{} is missing", self.name(key)))
    }

    /// Returns any number, if the key is present.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the key.
    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", Value::as_f64)
    }

    /// Returns true or false, if the key is present.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the key.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// Returns a string, if the key is present.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the key.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.typed(key, "a string", Value::as_str)
    }

    /// Runs `read` on the object at `key`, if the key is present. The object's keys are part of the account.
    ///
    /// # Errors
    /// [`Error::BadConfig`] if the value is not an object, and the errors of `read`.
    pub fn object<T>(&self, key: &str, read: impl FnOnce(&Keys<'a>) -> Result<T>) -> Result<Option<T>> {
        let Some(map) = self.typed(key, "an object", Value::as_object)? else { return Ok(None) };
        Self::opened(map, format!("{}.", self.name(key)), &self.account, read).map(Some)
    }

    /// Returns one token id, or a list of them. An id of −1 means none.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the key.
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

    /// Iterates over the object's keys in their order.
    pub fn all(&self) -> impl Iterator<Item = &'a str> {
        self.map.keys().map(String::as_str)
    }

    /// True if the file has the key, `null` included.
    pub fn mentions(&self, key: &str) -> bool {
        self.value(key).is_some() || self.map.contains_key(key)
    }

    /// Returns an error if `key` has a value.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    pub fn refuse_present(&self, key: &str, supported: &str) -> Result<()> {
        match self.value(key) {
            Some(_) => Err(unsupported(self.name(key), supported)),
            None => Ok(()),
        }
    }

    /// Returns an error if the flag `key` has the value that is not implemented.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    pub fn refuse_flag(&self, key: &str, refused: bool) -> Result<()> {
        if self.flag(key)? == Some(refused) {
            return Err(unsupported(format!("{} {refused}", self.name(key)), &format!("{}", !refused)));
        }
        Ok(())
    }

    /// Returns an error if the number `key` is present and is not `only`, the one value that is implemented.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    pub fn refuse_other_than(&self, key: &str, only: f64) -> Result<()> {
        match self.number(key)? {
            Some(value) if value != only => Err(unsupported(format!("{} {value}", self.name(key)), &only.to_string())),
            _ => Ok(()),
        }
    }
}

fn names(neutral: &[Neutral]) -> String {
    let names: Vec<String> = neutral.iter().map(|neutral| neutral.name()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn is_listed(list: &[&str], key: &str) -> bool {
    list.iter().any(|listed| match listed.strip_suffix('*') {
        Some(start) => key.starts_with(start),
        None => *listed == key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KNOWN: Known = Known {
        harmless: &["name", "note_*"],
        neutral: &[("scale", &[Neutral::Number(1.0)]), ("kinds", &[Neutral::All("full"), Neutral::Empty]), ("odd", &[])],
    };

    fn account(value: &Value) -> Account {
        let map = value.as_object().unwrap();
        let read = |keys: &Keys| {
            keys.know(&KNOWN);
            keys.size("width")?;
            keys.object("inner", |inner| {
                inner.know(&KNOWN);
                inner.size("depth")
            })
        };
        Keys::read(map, read).unwrap().1
    }

    #[test]
    fn every_key_is_read_or_known_or_named_with_its_place() {
        let clean = json!({"width": 3, "name": "x", "note_1": 4, "scale": 1, "kinds": ["full", "full"], "odd": null,
            "inner": {"depth": 2, "name": 5, "scale": 1.0}});
        assert_eq!(account(&clean), Account::default());
        let found = account(&json!({"widht": 3, "inner": {"depth": 1, "deptn": 2, "scale": 2}, "kinds": ["full", "half"], "odd": 0}));
        assert_eq!(found.unknown, ["inner.deptn", "widht"]);
        let unsupported: Vec<&str> = found.unsupported.iter().map(|one| one.key.as_str()).collect();
        assert_eq!(unsupported, ["inner.scale", "kinds", "odd"]);
    }

    #[test]
    fn a_setting_that_is_not_implemented_is_an_error_and_an_unknown_key_a_remark() {
        let message = account(&json!({"scale": 2})).remarks().unwrap_err().to_string();
        assert!(message.contains("scale 2 is not supported; supported: 1"), "{message}");
        let remarks = account(&json!({"a\u{1b}[2J": 1, "b": 2})).remarks().unwrap();
        assert_eq!(remarks.len(), 1);
        assert!(remarks[0].contains("a\\u{1b}[2J, b") && remarks[0].starts_with("unknown keys"), "{}", remarks[0]);
        assert!(account(&json!({"width": 1})).remarks().unwrap().is_empty());
    }
}
