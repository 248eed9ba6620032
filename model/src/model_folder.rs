//! A model as Hugging Face lays it out: `config.json`, `model.safetensors` and, where it has one, `tokenizer.json`.

use crate::atomic::{atomic_write, make_folder};
use crate::chat_template::{self, JinjaTemplate};
use crate::config::{Config, huggingface};
use crate::error::{Error, Result};
use crate::files;
use crate::safetensors_file::{self, INDEX_FILE, NamedTensors, SINGLE_FILE};
use crate::tokenizer::Tokenizer;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// Everything a model's folder holds.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    /// What the decoder computes.
    pub config: Config,
    /// The weights, under the file's own names and in its own layout (GPT-2's matrices are `[in, out]`).
    pub tensors: NamedTensors,
    /// The folder's tokenizer, or the byte tokenizer; without the BOS and EOS that the model's vocabulary does not have.
    pub tokenizer: Tokenizer,
}

impl ModelFolder {
    /// Reads a folder. Whether the tensors are those that the configuration asks for is for the decoder to say.
    ///
    /// # Errors
    /// [`Error::Io`] naming the file that is missing, and whatever [`Config::read`], [`Tokenizer::from_folder`] and
    /// [`safetensors_file::read_folder`] refuse.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_file() {
            let reason = "a model is a folder with config.json and model.safetensors, this is a file; \
                          `slpo convert` makes such a folder from other formats";
            return Err(Error::bad_file(path, reason));
        }
        let config = Config::read(&path.join(huggingface::FILE))?;
        let tokenizer = Tokenizer::from_folder(path)?.for_vocabulary(config.vocab_size);
        let tensors = safetensors_file::read_folder(path)?;
        Ok(Self { config, tensors, tokenizer })
    }

    /// Writes a folder, making it where it is missing. Each file is replaced in one step, the weights last.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::NonFinite`] where a weight is NaN or infinite.
    pub fn save(path: &Path, config: &Config, tensors: &NamedTensors, tokenizer: &Tokenizer) -> Result<()> {
        tokenizer.save(path)?;
        Self::save_without_tokenizer(path, config, tensors)
    }

    /// Writes a folder for a model whose tokenizer is not known.
    ///
    /// # Errors
    /// As [`ModelFolder::save`].
    pub fn save_without_tokenizer(path: &Path, config: &Config, tensors: &NamedTensors) -> Result<()> {
        make_folder(path)?;
        config.write(&path.join(huggingface::FILE))?;
        safetensors_file::write(&path.join(SINGLE_FILE), tensors)
    }
}

/// Files beside a tokenizer that say more of it. Its own, `tokenizer.json` and `tokenizer_config.json`, are written with it.
pub const TOKENIZER_COMPANIONS: [&str; 3] = ["special_tokens_map.json", "added_tokens.json", chat_template::FILE];
/// Files beside a model's weights that say how it is used.
pub const MODEL_COMPANIONS: [&str; 1] = [crate::generation_config::FILE];

/// Copies those of the files `names` that the folder `from` has into the folder `to`, which is made where it is missing. Each is read as what
/// it is before it is copied.
///
/// # Errors
/// [`Error::Io`]; [`Error::Json`] and [`Error::ChatTemplate`] for a file that is not what its name says.
pub fn carry(names: &[&str], from: &Path, to: &Path) -> Result<()> {
    make_folder(to)?;
    for name in names.iter().filter(|name| from.join(name).exists()) {
        let path = from.join(name);
        let text = match *name {
            chat_template::FILE => template(&path)?,
            _ => json_object(&path)?,
        };
        atomic_write(&to.join(name), text.as_bytes())?;
    }
    Ok(())
}

/// The text of a file that holds one JSON object.
fn json_object(path: &Path) -> Result<String> {
    let text = files::read_text(path, files::SETTINGS)?;
    serde_json::from_str::<Map<String, Value>>(&text).map_err(Error::json(path))?;
    Ok(text)
}

/// The text of a file that holds a chat template.
fn template(path: &Path) -> Result<String> {
    let text = files::read_text(path, files::TEMPLATE)?;
    JinjaTemplate::new(&text, BTreeMap::new(), path)?;
    Ok(text)
}

/// Files that are a model, an adapter or a tokenizer, in whatever form: a new model is never mixed with them. Weights are named in
/// [`is_model_file`].
const OF_A_MODEL: [&str; 22] = [
    "adapter_config.json",
    "added_tokens.json",
    chat_template::FILE,
    "config.json",
    "encoder.json",
    "generation_config.json",
    "merges.txt",
    "params.json",
    "pytorch_model.bin.index.json",
    "qwen.tiktoken",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tekken.json",
    "tf_model.h5",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.bpe",
    "vocab.json",
    "vocab.txt",
    INDEX_FILE,
];

/// Files by which a folder is known, the plainest first, and what it then holds.
const SIGNS: [(&str, &str); 6] = [
    (SINGLE_FILE, "a model"),
    (huggingface::FILE, "a model"),
    (crate::adapter::SETTINGS_FILE, "an adapter"),
    ("metrics.jsonl", "a run"),
    ("config.toml", "a run"),
    ("checkpoints", "a run"),
];

/// True if a file of this name is part of a model, an adapter or a tokenizer, so that another model in the same folder takes its place.
pub fn is_model_file(name: &str) -> bool {
    let is_weights = |start: &str, end: &str| name.starts_with(start) && name.ends_with(end);
    OF_A_MODEL.contains(&name)
        || is_weights("model", ".safetensors")
        || is_weights("adapter_model", ".safetensors")
        || is_weights("pytorch_model", ".bin")
}

/// What a folder holds that a new model must not be mixed with, and the file that tells.
pub fn what_is_in(folder: &Path) -> Option<(&'static str, String)> {
    let sign = SIGNS.into_iter().find(|(name, _)| folder.join(name).symlink_metadata().is_ok());
    if let Some((name, what)) = sign {
        return Some((what, name.to_owned()));
    }
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| is_model_file(name)).min().map(|name| ("files of a model", name))
}

impl Config {
    /// This configuration with the BOS and EOS of `tokenizer`, for a model that is to be trained with it.
    ///
    /// # Errors
    /// [`Error::BadConfig`] where the tokenizer has more tokens than `vocab_size`.
    pub fn for_tokenizer(mut self, tokenizer: &Tokenizer) -> Result<Self> {
        if tokenizer.vocab_size() > self.vocab_size {
            return Err(Error::bad_config(format!(
                "vocab_size {} is too small for a tokenizer of {} tokens",
                self.vocab_size,
                tokenizer.vocab_size()
            )));
        }
        self.bos = tokenizer.bos();
        self.eos = tokenizer.eos().into_iter().collect();
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::shared;

    const FOLDERS: [&str; 10] = [
        "tiny-random/gpt2",
        "tiny-random/gptneox-parallel-partial-rotary",
        "tiny-random/llama-gqa-untied",
        "tiny-random/llama3-rope-scaling",
        "tiny-random/mistral-sliding-window",
        "tiny-random/qwen2-qkv-bias",
        "tiny-random/qwen3-qk-norm",
        "stories260k/hf",
        "glassllm-en/hf",
        "gpt-nano-sort/hf",
    ];

    #[test]
    fn every_real_model_is_the_same_after_being_saved_and_opened() {
        let folder = tempfile::tempdir().unwrap();
        for name in FOLDERS {
            let Some(path) = shared(&format!("data/{name}")) else { return };
            let model = ModelFolder::open(&path).unwrap();
            let copy = folder.path().join(name);
            ModelFolder::save(&copy, &model.config, &model.tensors, &model.tokenizer).unwrap();
            let again = ModelFolder::open(&copy).unwrap();
            assert_eq!(again.config, model.config, "{name}");
            assert_eq!(again.tokenizer.is_bytes(), model.tokenizer.is_bytes());
            assert_eq!(again.tokenizer.bos(), model.tokenizer.bos());
            // Written sorted by name.
            let mut tensors = model.tensors;
            tensors.sort_keys();
            assert_eq!(again.tensors, tensors, "{name}");
        }
    }

    #[test]
    fn what_a_folder_holds_is_told_by_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let holds = || what_is_in(folder.path());
        std::fs::write(folder.path().join("notes.txt"), "").unwrap();
        std::fs::write(folder.path().join("other.safetensors"), "").unwrap();
        assert_eq!(holds(), None, "notes are no model");
        for (name, what) in [
            ("vocab.bpe", "files of a model"),
            ("model-00001-of-00002.safetensors", "files of a model"),
            ("metrics.jsonl", "a run"),
            ("adapter_config.json", "an adapter"),
            ("config.json", "a model"),
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
            assert_eq!(holds().unwrap().0, what, "{name}");
        }
    }

    #[test]
    fn what_is_carried_is_what_its_name_says() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let names = [TOKENIZER_COMPANIONS.as_slice(), &MODEL_COMPANIONS].concat();
        for name in &names {
            let path = from.path().join(name);
            for bad in [&b"{% if %}"[..], b"\xff", b"{{{"] {
                std::fs::write(&path, bad).unwrap();
                let message = carry(&[name], from.path(), to.path()).unwrap_err().to_string();
                assert!(message.contains(name), "{message}");
                assert!(!to.path().join(name).exists(), "{name}");
            }
            std::fs::write(&path, "{}").unwrap();
        }
        carry(&names, from.path(), to.path()).unwrap();
        assert!(names.iter().all(|name| std::fs::read(to.path().join(name)).unwrap() == b"{}"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = |path: &Path| ModelFolder::open(path).unwrap_err().to_string();
        assert!(message(folder.path()).contains("config.json"));
        let config = Config::preset("nano").unwrap();
        config.write(&folder.path().join("config.json")).unwrap();
        assert!(message(folder.path()).contains("model.safetensors"));
        assert!(message(&folder.path().join("config.json")).contains("a model is a folder"));
    }

    #[test]
    fn a_model_takes_the_tokens_of_a_tokenizer_that_fits() {
        let config = Config::preset("nano").unwrap().for_tokenizer(&Tokenizer::bytes()).unwrap();
        assert_eq!((config.bos, config.eos.as_slice()), (Some(256), &[257][..]));
        let small = Config { vocab_size: 98, ..Config::preset("nano").unwrap() };
        let message = small.for_tokenizer(&Tokenizer::bytes()).unwrap_err().to_string();
        assert!(message.contains("vocab_size 98 is too small for a tokenizer of 258"), "{message}");
    }
}
