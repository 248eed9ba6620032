//! `generation_config.json`: how the makers of a model mean it to be sampled, and what ends its texts.

use crate::error::{Error, Result};
use crate::generate::Sampling;
use serde_json::{Map, Value};
use std::path::Path;

/// The file's name in a model's folder.
pub const FILE: &str = "generation_config.json";

/// What of the file counts here. Missing settings are those of transformers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenerationConfig {
    /// Tokens that end a text; empty where the file names none.
    pub eos: Vec<u32>,
    /// How tokens are drawn, where the file asks for drawing (`do_sample`).
    pub sampling: Option<Sampling>,
}

impl GenerationConfig {
    /// Reads the file of a model's folder; a folder without one says nothing.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`]; [`Error::BadConfig`] naming the key.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = crate::files::read_text(&path, crate::files::SETTINGS)?;
        let keys: Map<String, Value> = serde_json::from_str(&text).map_err(Error::json(&path))?;
        Self::from_keys(&keys).map_err(|error| error.at(&path))
    }

    fn from_keys(keys: &Map<String, Value>) -> Result<Self> {
        let samples = keys.get("do_sample").and_then(Value::as_bool).unwrap_or(false);
        let sampling = if samples { Some(sampling(keys)?) } else { None };
        Ok(Self { eos: eos(keys)?, sampling })
    }
}

/// One id or a list of them.
fn eos(keys: &Map<String, Value>) -> Result<Vec<u32>> {
    let id = |value: &Value| {
        let id = value.as_u64().and_then(|id| id.try_into().ok());
        id.ok_or_else(|| Error::bad_config(format!("eos_token_id must be a token id or a list of them, not {value}")))
    };
    match keys.get("eos_token_id") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(ids)) => ids.iter().map(id).collect(),
        Some(one) => Ok(vec![id(one)?]),
    }
}

fn sampling(keys: &Map<String, Value>) -> Result<Sampling> {
    let number = |key: &str, otherwise: f64| match keys.get(key) {
        None | Some(Value::Null) => Ok(otherwise),
        Some(value) => value.as_f64().ok_or_else(|| Error::bad_config(format!("{key} must be a number, not {value}"))),
    };
    let sampling = Sampling {
        temperature: number("temperature", 1.0)?,
        top_k: number("top_k", 50.0)?.clamp(0.0, f64::from(u32::MAX)) as usize,
        top_p: number("top_p", 1.0)?,
    };
    sampling.validate()?;
    Ok(sampling)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<GenerationConfig> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), text).unwrap();
        GenerationConfig::read(folder.path())
    }

    #[test]
    fn one_end_or_several() {
        assert_eq!(read("{\"eos_token_id\": 2}").unwrap().eos, [2]);
        assert_eq!(read("{\"eos_token_id\": [7, 9]}").unwrap().eos, [7, 9]);
        assert_eq!(read("{}").unwrap(), GenerationConfig::default());
        assert_eq!(GenerationConfig::read(Path::new("no/such/folder")).unwrap(), GenerationConfig::default());
    }

    #[test]
    fn sampling_counts_only_where_it_is_asked_for() {
        assert_eq!(read("{\"temperature\": 0.6}").unwrap().sampling, None);
        let asked = read("{\"do_sample\": true, \"temperature\": 0.6, \"top_p\": 0.9}").unwrap();
        assert_eq!(asked.sampling, Some(Sampling { temperature: 0.6, top_k: 50, top_p: 0.9 }));
    }

    #[test]
    fn a_bad_value_is_named_with_its_file() {
        for (text, expected) in [
            ("{\"eos_token_id\": \"</s>\"}", "eos_token_id must be a token id"),
            ("{\"eos_token_id\": -1}", "eos_token_id must be a token id"),
            ("{\"do_sample\": true, \"top_p\": 3}", "top-p 3 must be above 0"),
            ("[]", "not valid JSON"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains(FILE), "{message}");
        }
    }
}
