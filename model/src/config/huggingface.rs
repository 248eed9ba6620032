//! The reading and writing of `config.json` as Hugging Face defines it.
//!
//! The reader knows the keys of transformers 4 (`rope_theta`, `rope_scaling`, `rotary_pct`) and 5 (`rope_parameters`). The writer uses the
//! keys of version 4, which both versions read. A missing key has the value that transformers gives it, but sizes must be present. Settings
//! that would change the computation in an unknown way are refused. Unknown keys are named in a remark.

mod gpt;
mod known;
mod llama;
mod rope;

use super::{Architecture, Config};
use crate::atomic::atomic_write;
use crate::error::{Error, Result};
use crate::keys::{Keys, shown, unsupported};
use serde_json::{Value, json};
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
        Config::read_with_remarks(path).map(|(config, _)| config)
    }

    /// Like [`Config::read`], but also returns a sentence about each thing in the file that was not used, naming the file and the key.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn read_with_remarks(path: &Path) -> Result<(Config, Vec<String>)> {
        let text = crate::files::read_text(path, crate::files::SETTINGS)?;
        let value: Value = serde_json::from_str(&text).map_err(Error::json(path))?;
        let (config, remarks) = Config::from_json_with_remarks(&value).map_err(|error| error.at(path))?;
        Ok((config, remarks.into_iter().map(|remark| format!("{}: {remark}", path.display())).collect()))
    }

    /// Reads and validates the contents of a `config.json`.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the key, [`Error::Unsupported`].
    pub fn from_json(value: &Value) -> Result<Config> {
        Config::from_json_with_remarks(value).map(|(config, _)| config)
    }

    /// Like [`Config::from_json`], but also returns a sentence about each thing that was not used, naming the key.
    ///
    /// # Errors
    /// As [`Config::from_json`].
    pub fn from_json_with_remarks(value: &Value) -> Result<(Config, Vec<String>)> {
        let Value::Object(map) = value else {
            return Err(Error::bad_config("config.json must hold one JSON object"));
        };
        let ((config, mut remarks), account) = Keys::read(map, read_keys)?;
        remarks.extend(account.remarks()?);
        config.validate()?;
        Ok((config, remarks))
    }

    /// Returns the contents of a `config.json` that transformers 4 and 5 both load as this model.
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

/// Reads the configuration. Also returns remarks on classes and code that the file names and that are not used.
fn read_keys(keys: &Keys) -> Result<(Config, Vec<String>)> {
    keys.know(&known::COMMON);
    refuse_meta_names(keys)?;
    keys.refuse_present("quantization_config", "unquantised weights")?;
    let mut remarks = Vec::new();
    let mut config = match architecture(keys, &mut remarks)? {
        Architecture::Gpt2 => gpt::gpt2(keys)?,
        Architecture::GptNeoX => gpt::gpt_neox(keys)?,
        llama_like => llama::read(llama_like, keys)?,
    };
    if let Some(map) = keys.value("auto_map").filter(|map| map.as_object().is_none_or(|map| !map.is_empty())) {
        let class = class_of(config.architecture);
        remarks.push(format!("auto_map names code of the model's own ({}), which is not run: the model is read as {class}", shown(map)));
    }
    read_special_tokens(keys, &mut config)?;
    Ok((config, remarks))
}

/// Refuses a file under Meta's names. The error names the command that converts its folder.
fn refuse_meta_names(keys: &Keys) -> Result<()> {
    let is_meta = !keys.mentions("model_type") && keys.mentions("dim") && keys.mentions("n_layers");
    if is_meta {
        let reason = "model_type is missing: these are Meta's names for the settings; slpo convert makes a model's folder from this one";
        return Err(Error::bad_config(reason));
    }
    Ok(())
}

/// Returns the family that `model_type` names, or else the class. If the two disagree, `model_type` decides, as in transformers.
fn architecture(keys: &Keys, remarks: &mut Vec<String>) -> Result<Architecture> {
    let classes = keys.typed("architectures", "a list of class names", Value::as_array)?;
    let class = classes.and_then(|list| list.first()).and_then(Value::as_str);
    let model_type = keys.text("model_type")?;
    let name = model_type.or(class);
    let found = FAMILIES.iter().find(|(_, model_type, class)| name == Some(*model_type) || name == Some(*class));
    let &(architecture, model_type, usual) = match (found, name) {
        (Some(family), _) => family,
        (None, Some(name)) => {
            return Err(unsupported(format!("model_type {name:?}"), &FAMILIES.map(|(_, model_type, _)| model_type).join(", ")));
        }
        (None, None) => return Err(Error::bad_config("model_type is missing")),
    };
    if let Some(class) = class.filter(|class| !is_class_of(class, usual)) {
        let class = class.escape_debug();
        remarks.push(format!("architectures names {class}, model_type {model_type}: the model is read as {usual}, as transformers does"));
    }
    Ok(architecture)
}

/// True if `class` is the language model's class `usual` or the class of its body, in upper or lower case.
fn is_class_of(class: &str, usual: &str) -> bool {
    let body = usual.trim_end_matches("ForCausalLM").trim_end_matches("LMHeadModel");
    class.eq_ignore_ascii_case(usual) || class.eq_ignore_ascii_case(&format!("{body}Model"))
}

fn class_of(architecture: Architecture) -> &'static str {
    FAMILIES.iter().find(|(known, ..)| *known == architecture).map_or("", |(_, _, class)| class)
}

/// Reads BOS and EOS. Leaves out an id outside the vocabulary (GPT-2's 50256 in a cut-down model), because it can never be fed or produced.
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

#[cfg(test)]
mod tests;
