//! `config.json` as Hugging Face writes it, in and out.
//!
//! Reads the keys of transformers 4 (`rope_theta`, `rope_scaling`, `rotary_pct`) and 5 (`rope_parameters`). Writes the
//! former, which both versions read. A key that is missing has the value that transformers gives it; sizes must be there.
//! Settings that would change the computation in a way this program does not know are refused, never ignored.

mod gpt;
mod keys;
mod llama;
mod rope;

use super::{Architecture, Config};
use crate::atomic::atomic_write;
use crate::error::{Error, Result};
use keys::Keys;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The file's name in a model's folder.
pub const FILE: &str = "config.json";

const FAMILIES: [(Architecture, &str, &str); 6] = [
    (Architecture::Llama, "llama", "LlamaForCausalLM"),
    (Architecture::Mistral, "mistral", "MistralForCausalLM"),
    (Architecture::Qwen2, "qwen2", "Qwen2ForCausalLM"),
    (Architecture::Qwen3, "qwen3", "Qwen3ForCausalLM"),
    (Architecture::Gpt2, "gpt2", "GPT2LMHeadModel"),
    (Architecture::GptNeoX, "gpt_neox", "GPTNeoXForCausalLM"),
];

impl Config {
    /// Reads and validates the `config.json` at `path`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`], [`Error::BadConfig`] naming the key, [`Error::Unsupported`].
    pub fn read(path: &Path) -> Result<Config> {
        let text = crate::files::read_text(path, crate::files::SETTINGS)?;
        let value: Value = serde_json::from_str(&text).map_err(Error::json(path))?;
        Config::from_json(&value).map_err(|error| error.at(path))
    }

    /// Reads and validates the contents of a `config.json`.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the key, [`Error::Unsupported`].
    pub fn from_json(value: &Value) -> Result<Config> {
        let Value::Object(map) = value else {
            return Err(Error::bad_config("config.json must hold one JSON object"));
        };
        let keys = Keys::new(map);
        keys.refuse_present("quantization_config", "unquantised weights")?;
        let mut config = match architecture(&keys)? {
            Architecture::Gpt2 => gpt::gpt2(&keys)?,
            Architecture::GptNeoX => gpt::gpt_neox(&keys)?,
            llama_like => llama::read(llama_like, &keys)?,
        };
        read_special_tokens(&keys, &mut config)?;
        config.validate()?;
        Ok(config)
    }

    /// The contents of a `config.json` that transformers 4 and 5 both load as this model.
    pub fn to_json(&self) -> Value {
        let mut map = match self.architecture {
            Architecture::Gpt2 => gpt::write_gpt2(self),
            Architecture::GptNeoX => gpt::write_gpt_neox(self),
            _ => llama::write(self),
        };
        let (model_type, class) = FAMILIES
            .iter()
            .find(|(architecture, ..)| *architecture == self.architecture)
            .map_or(("", ""), |&(_, model_type, class)| (model_type, class));
        map.insert("model_type".to_owned(), json!(model_type));
        map.insert("architectures".to_owned(), json!([class]));
        map.insert("vocab_size".to_owned(), json!(self.vocab_size));
        map.insert("tie_word_embeddings".to_owned(), json!(self.tied_head));
        map.insert("torch_dtype".to_owned(), json!("float32"));
        map.insert("bos_token_id".to_owned(), json!(self.bos));
        map.insert("eos_token_id".to_owned(), eos_json(&self.eos));
        map.sort_keys();
        Value::Object(map)
    }

    /// Writes [`Config::to_json`] to `path` in one step.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = format!("{:#}", self.to_json());
        text.push('\n');
        atomic_write(path, text.as_bytes())
    }
}

fn architecture(keys: &Keys) -> Result<Architecture> {
    let class = keys.0.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str);
    let name = keys.text("model_type")?.or(class);
    let found = FAMILIES.iter().find(|(_, model_type, class)| name == Some(*model_type) || name == Some(*class));
    match (found, name) {
        (Some(&(architecture, ..)), _) => Ok(architecture),
        (None, Some(name)) => Err(Error::Unsupported {
            path: None,
            what: format!("model_type {name:?}"),
            supported: FAMILIES.map(|(_, model_type, _)| model_type).join(", "),
        }),
        (None, None) => Err(Error::bad_config("model_type is missing")),
    }
}

/// An id outside the vocabulary can never be fed nor produced (GPT-2's 50256 in a cut-down model): it is left out.
fn read_special_tokens(keys: &Keys, config: &mut Config) -> Result<()> {
    let vocab_size = config.vocab_size;
    let ids = |key| -> Result<Vec<u32>> {
        let mut ids = keys.token_ids(key)?;
        ids.retain(|&id| (id as usize) < vocab_size);
        Ok(ids)
    };
    (config.bos, config.eos) = (ids("bos_token_id")?.first().copied(), ids("eos_token_id")?);
    Ok(())
}

fn eos_json(eos: &[u32]) -> Value {
    match eos {
        [] => Value::Null,
        [one] => json!(one),
        several => json!(several),
    }
}

/// The map inside a `json!({...})`.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests;
