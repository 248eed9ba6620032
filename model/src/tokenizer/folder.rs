//! The tokenizer's files in a model's folder, as Hugging Face lays them out.

use super::file_parts::{FILE, SETTINGS_FILE, token_name};
use super::{Tokenizer, additions, gpt2_files, read_text};
use crate::atomic::{atomic_write, make_folder};
use crate::chat_template::Source;
use crate::error::{Error, Result};
use crate::files::{first_there, is_folder, is_there};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The tokens that were added to the vocabulary, with their ids. transformers 4 wrote this file.
pub const ADDED_FILE: &str = "added_tokens.json";
/// The tokens that have a role. transformers 4 wrote this file.
pub const ROLES_FILE: &str = "special_tokens_map.json";

/// Vocabularies of SentencePiece, tiktoken, Mistral and BERT.
const OTHER_FORMS: [&str; 6] = ["tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "qwen.tiktoken", "tekken.json", "vocab.txt"];

impl Tokenizer {
    /// Reads a `tokenizer.json` of any name. A folder is read as [`Tokenizer::from_folder`] does. If the file is called `tokenizer.json`,
    /// the settings beside it are read too.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`] for the settings, [`Error::Tokenizer`].
    pub fn from_file(path: &Path) -> Result<Self> {
        if is_folder(path)? { Self::from_folder(path) } else { Self::read_file(path) }
    }

    fn read_file(path: &Path) -> Result<Self> {
        let mut tokenizer = Self::from_json(read_text(path)?).map_err(|error| error.at(path))?;
        tokenizer.remarks.iter_mut().for_each(|remark| *remark = format!("{}: {remark}", path.display()));
        match path.parent() {
            Some(folder) if path.file_name() == Some(FILE.as_ref()) => tokenizer.with_settings(folder),
            _ => Ok(tokenizer),
        }
    }

    /// Reads the tokenizer of a model's folder: `tokenizer.json`, else GPT-2's `vocab.json` and `merges.txt` (or `encoder.json` and
    /// `vocab.bpe`). A folder with neither has [`Tokenizer::absent`], which refuses text. Other files count as in transformers: they may
    /// add tokens (`tokenizer_config.json`, `added_tokens.json`) or set `add_prefix_space`.
    ///
    /// BOS is chosen as in transformers. It depends on `add_bos_token` in `tokenizer_config.json`:
    ///
    /// - If it is true, BOS is the token that the file names.
    /// - If it is false, there is no BOS.
    /// - If it is missing, BOS is the token that the tokenizer's post-processor adds.
    ///
    /// EOS is the token that `tokenizer_config.json`, `special_tokens_map.json` or `config.json` names, in this order, else the token with
    /// a usual name.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`], [`Error::Tokenizer`]. [`Error::Unsupported`] if the folder's only tokenizer is in another form.
    pub fn from_folder(folder: &Path) -> Result<Self> {
        let file = folder.join(FILE);
        if is_there(&file)? {
            return Self::read_file(&file);
        }
        refuse_other_forms(folder)?;
        match gpt2_files::in_folder(folder)? {
            Some((vocab, merges)) => gpt2_files::read(&vocab, &merges)?.with_settings(folder),
            None => Self::absent(folder).with_settings(folder),
        }
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json` into `folder`, so that [`Tokenizer::from_folder`] restores the tokenizer.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, folder: &Path) -> Result<()> {
        make_folder(folder)?;
        if self.is_absent() {
            return self.save_chat_template(folder);
        }
        atomic_write(&folder.join(FILE), self.json().as_bytes())?;
        let settings = self.settings.clone().unwrap_or_else(|| self.own_settings());
        let text = format!("{:#}\n", Value::Object(settings));
        atomic_write(&folder.join(SETTINGS_FILE), text.as_bytes())?;
        self.save_chat_template(folder)
    }

    fn own_settings(&self) -> Map<String, Value> {
        let name = |id: Option<u32>| id.and_then(|id| self.name(id));
        let pairs = [
            ("tokenizer_class", json!("PreTrainedTokenizerFast")),
            ("bos_token", json!(name(self.bos))),
            ("eos_token", json!(name(self.eos))),
            ("clean_up_tokenization_spaces", json!(false)),
        ];
        pairs.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
    }

    fn with_settings(mut self, folder: &Path) -> Result<Self> {
        let path = folder.join(SETTINGS_FILE);
        let settings = read_object(&path)?;
        self.chat = Source::read(folder, settings.as_ref().map(|settings| (path.as_path(), settings)))?;
        if self.is_bytes() || self.is_absent() {
            return Ok(self);
        }
        self.settings = settings;
        let named = read_object(&folder.join(ROLES_FILE))?;
        let added = read_object(&folder.join(ADDED_FILE))?;
        self.complete(folder, named.as_ref(), added.as_ref())?;
        let sources = [self.settings.clone(), named];
        let token = |key: &str| {
            let names = sources.iter().flatten().filter_map(|map| token_name(map.get(key)?));
            names.filter_map(|name| self.id(name)).next()
        };
        let eos = match token("eos_token") {
            Some(eos) => Some(eos),
            None => eos_of_model(folder)?.or(self.eos),
        };
        let adds_bos = sources[0].as_ref().and_then(|map| map.get("add_bos_token")?.as_bool());
        let bos = match adds_bos {
            Some(true) => token("bos_token"),
            Some(false) => None,
            None => self.bos,
        };
        (self.bos, self.eos) = (bos, eos);
        Ok(self)
    }
}

impl Tokenizer {
    /// Applies the files beside `tokenizer.json`.
    fn complete(&mut self, folder: &Path, roles: Option<&Map<String, Value>>, added: Option<&Map<String, Value>>) -> Result<()> {
        let super::Kind::File { inner, vocab_size, may_be_cut, .. } = &mut self.kind else { return Ok(()) };
        let empty = Map::new();
        let settings = self.settings.as_ref().unwrap_or(&empty);
        let path = folder.join(SETTINGS_FILE);
        let files = additions::Files { settings, roles, added };
        let remarks = additions::apply(inner, &files).map_err(|error| error.at(&path))?;
        self.remarks.extend(remarks.into_iter().map(|remark| format!("{}: {remark}", path.display())));
        *vocab_size = super::vocab_size(inner).unwrap_or(*vocab_size);
        *may_be_cut = std::sync::OnceLock::new();
        Ok(())
    }
}

/// Refuses a tokenizer that would be read as a different one, in a folder without a `tokenizer.json`:
///
/// - a vocabulary in a form that is not read,
/// - `vocab.json` with `merges.txt` whose class is not GPT-2's. Qwen's, for example, cuts a text differently.
fn refuse_other_forms(folder: &Path) -> Result<()> {
    let other = first_there(folder, &OTHER_FORMS)?.map(str::to_owned);
    let settings = read_object(&folder.join(SETTINGS_FILE))?;
    let class = settings.as_ref().and_then(|map| map.get("tokenizer_class")?.as_str());
    let has_files = gpt2_files::in_folder(folder)?.is_some();
    let foreign = class.filter(|class| has_files && !class.starts_with("GPT2Tokenizer"));
    match other.or_else(|| foreign.map(|class| format!("the tokenizer_class {class:?} without a tokenizer.json"))) {
        Some(what) => Err(Error::Unsupported {
            path: Some(folder.to_owned()),
            what,
            supported: "tokenizer.json, which AutoTokenizer.from_pretrained(…).save_pretrained(…) of transformers writes".to_owned(),
        }),
        None => Ok(()),
    }
}

fn eos_of_model(folder: &Path) -> Result<Option<u32>> {
    let Some(config) = read_object(&folder.join(crate::config::huggingface::FILE))? else {
        return Ok(None);
    };
    let eos = config.get("eos_token_id");
    let first = eos.map(|ids| ids.get(0).unwrap_or(ids));
    Ok(first.and_then(Value::as_u64).and_then(|id| id.try_into().ok()))
}

fn read_object(path: &Path) -> Result<Option<Map<String, Value>>> {
    if !is_there(path)? {
        return Ok(None);
    }
    serde_json::from_str(&read_text(path)?).map(Some).map_err(Error::json(path))
}
