//! `generation_config.json`: the tokens that end a text, and how its maker meant a model to be sampled.

use crate::atomic::atomic_write;
use crate::error::{Error, Result};
use crate::generate::Sampling;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The file's name in a model's folder.
pub const FILE: &str = "generation_config.json";

/// What the file says. A key that is missing, or `null`, is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenerationConfig {
    /// The tokens that end a text; chat models have several.
    pub eos: Vec<u32>,
    /// Whether tokens are drawn at all, or always the most likely one is taken.
    pub sample: Option<bool>,
    /// What logits are divided by, at least 0.
    pub temperature: Option<f64>,
    /// Only the k most likely tokens; 0 keeps all.
    pub top_k: Option<usize>,
    /// Only the most likely tokens that together reach this probability, in (0, 1].
    pub top_p: Option<f64>,
}

impl GenerationConfig {
    /// Reads the file in a model's folder; without one nothing is set.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`], [`Error::BadConfig`] naming the key.
    pub fn of_folder(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read(&path).map_err(Error::io(&path))?;
        let value: Value = serde_json::from_slice(&text).map_err(Error::json(&path))?;
        Self::from_json(&value).map_err(|error| error.at(&path))
    }

    /// Reads the contents of a file. Keys that say nothing about sampling or ends are passed over.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the key whose value is of the wrong type or out of range.
    pub fn from_json(value: &Value) -> Result<Self> {
        let map = value.as_object().ok_or_else(|| Error::bad_config("must hold one JSON object"))?;
        let config = Self {
            eos: ends(map)?,
            sample: read(map, "do_sample", "true or false", Value::as_bool)?,
            temperature: read(map, "temperature", "a number from 0", |v| v.as_f64().filter(|t| t.is_finite() && *t >= 0.0))?,
            top_k: read(map, "top_k", "a whole number", |v| usize::try_from(v.as_u64()?).ok())?,
            top_p: read(map, "top_p", "a number above 0 and at most 1", |v| v.as_f64().filter(|p| *p > 0.0 && *p <= 1.0))?,
        };
        Ok(config)
    }

    /// The sampling that the file asks for, where it asks for any: greedy where `do_sample` is false or missing, as in transformers, and
    /// otherwise its own temperature, top-k and top-p, each 1, all and 1 where it does not say.
    pub fn sampling(&self) -> Option<Sampling> {
        let says = self.sample.is_some() || self.temperature.is_some() || self.top_k.is_some() || self.top_p.is_some();
        let drawn = || Sampling {
            temperature: self.temperature.unwrap_or(1.0),
            top_k: self.top_k.unwrap_or(0),
            top_p: self.top_p.unwrap_or(1.0),
        };
        says.then(|| if self.sample == Some(true) { drawn() } else { Sampling::GREEDY })
    }

    /// The contents of a file that transformers reads as the same.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        let mut set = |key: &str, value: Option<Value>| drop(value.map(|value| map.insert(key.to_owned(), value)));
        set("eos_token_id", (!self.eos.is_empty()).then(|| json!(self.eos)));
        set("do_sample", self.sample.map(Value::from));
        set("temperature", self.temperature.map(Value::from));
        set("top_k", self.top_k.map(Value::from));
        set("top_p", self.top_p.map(Value::from));
        Value::Object(map)
    }

    /// Writes [`GenerationConfig::to_json`] into a model's folder in one step.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, folder: &Path) -> Result<()> {
        atomic_write(&folder.join(FILE), format!("{:#}\n", self.to_json()).as_bytes())
    }
}

fn read<T>(map: &Map<String, Value>, key: &str, what: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<Option<T>> {
    let Some(value) = map.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
    read(value).map(Some).ok_or_else(|| Error::bad_config(format!("{key} must be {what}, not {value}")))
}

fn ends(map: &Map<String, Value>) -> Result<Vec<u32>> {
    let one = |value: &Value| u32::try_from(value.as_u64()?).ok();
    let ids = read(map, "eos_token_id", "a token id or a list of them", |value| match value {
        Value::Array(list) => list.iter().map(one).collect(),
        single => one(single).map(|id| vec![id]),
    })?;
    Ok(ids.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_ends_and_the_defaults_of_sampling_are_read_and_written() {
        let value = json!({"eos_token_id": [128001, 128009], "do_sample": true, "temperature": 0.6, "top_p": 0.9, "_from_model_config": 1});
        let config = GenerationConfig::from_json(&value).unwrap();
        assert_eq!(config.eos, [128_001, 128_009]);
        assert_eq!(config.sampling(), Some(Sampling { temperature: 0.6, top_k: 0, top_p: 0.9 }));
        assert_eq!(GenerationConfig::from_json(&config.to_json()).unwrap(), config);
    }

    #[test]
    fn one_end_is_a_list_of_one_and_a_file_that_says_nothing_asks_for_nothing() {
        assert_eq!(GenerationConfig::from_json(&json!({"eos_token_id": 2})).unwrap().eos, [2]);
        assert_eq!(GenerationConfig::from_json(&json!({"eos_token_id": 2})).unwrap().sampling(), None);
        assert_eq!(GenerationConfig::from_json(&json!({"do_sample": false, "top_k": 5})).unwrap().sampling(), Some(Sampling::GREEDY));
    }

    #[test]
    fn a_value_out_of_range_is_refused_in_the_words_of_its_key() {
        for (key, value) in [("temperature", json!(-1)), ("top_p", json!(0)), ("top_k", json!(1.5)), ("eos_token_id", json!("</s>"))] {
            let message = GenerationConfig::from_json(&json!({ key: value })).unwrap_err().to_string();
            assert!(message.contains(&format!("{key} must be")), "{message}");
        }
        assert!(GenerationConfig::from_json(&json!([])).is_err());
    }
}
