//! The keys of a JSON object from a file: typed access, and an account of every key. For the readers of configurations.
//!
//! A reader opens an object with [`Keys::read`], asks for the keys it computes with, and names lists of [`Known`] keys. When it is done,
//! each key of the object and of every object inside that was opened is one of four:
//!
//! 1. read: the reader asked for it;
//! 2. harmless: a list says that it does not change what is computed;
//! 3. not implemented: a list says that it changes what is computed, and which values leave the computation as it is;
//! 4. unknown.
//!
//! The [`Account`] holds the third kind, where a value is another one, and the fourth. A key whose value is `null` counts as missing.

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
    /// Keys of what is not implemented, each with the values that leave the computation as it is.
    pub neutral: &'static [(&'static str, &'static [Neutral])],
}

/// A value that leaves the computation as it is.
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

/// What a reader did not use of a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Account {
    /// Keys that no list names, as `key` or `object.key`.
    pub unknown: Vec<String>,
    /// Keys of what is not implemented, with their values and the values that would do.
    pub unsupported: Vec<Unsupported>,
}

/// A key of what is not implemented.
#[derive(Debug, Clone, PartialEq)]
pub struct Unsupported {
    /// The key, as `key` or `object.key`.
    pub key: String,
    /// Its value, shortened.
    pub value: String,
    /// The values that leave the computation as it is.
    pub supported: String,
}

impl Account {
    /// One sentence that names the unknown keys, where there are any.
    ///
    /// # Errors
    /// [`Error::Unsupported`] naming the first key of what is not implemented.
    pub fn remarks(self) -> Result<Vec<String>> {
        match self.unsupported.into_iter().next() {
            Some(first) => Err(unsupported(format!("{} {}", first.key, first.value), &first.supported)),
            None => Ok(unknown_remark(&self.unknown).into_iter().collect()),
        }
    }
}

/// The sentence about keys that are unknown.
pub fn unknown_remark(names: &[String]) -> Option<String> {
    let (keys, them) = if names.len() == 1 { ("key", "it") } else { ("keys", "one of them") };
    (!names.is_empty())
        .then(|| format!("unknown {keys} ignored: {}; if {them} changes what is computed, the results differ", names.join(", ")))
}

/// An [`Error::Unsupported`] with no file yet.
pub fn unsupported(what: impl Into<String>, supported: &str) -> Error {
    Error::Unsupported { path: None, what: what.into(), supported: supported.to_owned() }
}

/// The map inside a `json!({...})`.
pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// A value for a message: on one line, and not long.
pub fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= LONGEST { text } else { text.chars().take(LONGEST).chain(['…']).collect() }
}

/// The keys of one JSON object, while a reader reads it.
pub struct Keys<'a> {
    map: &'a Map<String, Value>,
    /// What stands before a key's name in messages: the objects around this one.
    prefix: String,
    asked: RefCell<BTreeSet<&'a str>>,
    known: RefCell<Vec<&'static Known>>,
    account: Rc<RefCell<Account>>,
}

impl<'a> Keys<'a> {
    /// What `read` makes of an object, and the account of its keys.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read<T>(map: &'a Map<String, Value>, read: impl FnOnce(&Keys<'a>) -> Result<T>) -> Result<(T, Account)> {
        Self::read_within(map, String::new(), read)
    }

    /// [`Keys::read`] of an object whose keys are called `prefix` and their name in messages.
    ///
    /// # Errors
    /// Those of `read`.
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

    /// Adds a list of keys that are not asked for.
    pub fn know(&self, known: &'static Known) {
        self.known.borrow_mut().push(known);
    }

    /// Puts what was not asked for into the account.
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

    /// A key's name for messages. It comes from a file, so characters that a terminal would act on are escaped.
    pub fn name(&self, key: &str) -> String {
        format!("{}{}", self.prefix, key.escape_debug())
    }

    /// The value of `key` as it is.
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        let (key, value) = self.map.get_key_value(key)?;
        self.asked.borrow_mut().insert(key);
        Some(value).filter(|value| !value.is_null())
    }

    /// The value of `key` as `read` takes it, `what` saying what it should be.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the key where `read` gives none.
    pub fn typed<T>(&self, key: &str, what: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let wrong = || Error::bad_config(format!("{} must be {what}, not {}", self.name(key), shown(value)));
        read(value).map(Some).ok_or_else(wrong)
    }

    /// A whole number from 0, where the key is there.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the key.
    pub fn size(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a whole number", |value| usize::try_from(value.as_u64()?).ok())
    }

    /// A whole number from 0 that must be there.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the key.
    pub fn required_size(&self, key: &str) -> Result<usize> {
        self.size(key)?.ok_or_else(|| self.missing(key))
    }

    /// The error of a key that must be there.
    pub fn missing(&self, key: &str) -> Error {
        Error::bad_config(format!("{} is missing", self.name(key)))
    }

    /// Any number, where the key is there.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the key.
    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", Value::as_f64)
    }

    /// True or false, where the key is there.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the key.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// A string, where the key is there.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the key.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.typed(key, "a string", Value::as_str)
    }

    /// What `read` makes of the object at `key`, where the key is there. The object's keys are part of the account.
    ///
    /// # Errors
    /// [`Error::BadConfig`] where it is no object; those of `read`.
    pub fn object<T>(&self, key: &str, read: impl FnOnce(&Keys<'a>) -> Result<T>) -> Result<Option<T>> {
        let Some(map) = self.typed(key, "an object", Value::as_object)? else { return Ok(None) };
        Self::opened(map, format!("{}.", self.name(key)), &self.account, read).map(Some)
    }

    /// One token id, or a list of them; an id of −1 means none.
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

    /// The keys of the object in its order.
    pub fn all(&self) -> impl Iterator<Item = &'a str> {
        self.map.keys().map(String::as_str)
    }

    /// True if the file has the key, `null` included.
    pub fn mentions(&self, key: &str) -> bool {
        self.value(key).is_some() || self.map.contains_key(key)
    }

    /// An error where `key` has a value.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    pub fn refuse_present(&self, key: &str, supported: &str) -> Result<()> {
        match self.value(key) {
            Some(_) => Err(unsupported(self.name(key), supported)),
            None => Ok(()),
        }
    }

    /// An error where the flag `key` has the value that is not implemented.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    pub fn refuse_flag(&self, key: &str, refused: bool) -> Result<()> {
        if self.flag(key)? == Some(refused) {
            return Err(unsupported(format!("{} {refused}", self.name(key)), &format!("{}", !refused)));
        }
        Ok(())
    }

    /// An error where the number `key` is there and is not the `only` value that is implemented.
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
